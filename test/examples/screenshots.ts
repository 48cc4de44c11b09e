import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'
import t from 'tap'
import { isConnected, killGateway, say, showsMembers, showsPosts, startChat } from './chat-page.js'

/*
  Makes the picture of the chat that README.md shows, from two windows of the example while its gateway is killed:

    npm run example:screenshots
*/

const file = fileURLToPath(new URL('../../../docs/images/chat.png', import.meta.url))
const viewport = { width: 440, height: 560 }

t.test('The picture of the chat', { timeout: 230_000 }, async t => {
  const chat = await startChat(t)
  const ann = await chat.openWindow('ann', { viewport, colorScheme: 'light' })
  const bob = await chat.openWindow('bob', { viewport, colorScheme: 'light' })
  const moments: Array<{ title: string, windows: string[] }> = []
  const shoot = async (title: string) => {
    const windows = await Promise.all([ann, bob].map(async page => (await page.screenshot()).toString('base64')))
    moments.push({ title, windows })
  }
  await say(ann, 'Is the parcel there?')
  await showsPosts(bob, 1)
  await say(bob, 'It just came.')
  await showsPosts(ann, 2)
  await showsMembers(ann, 2)
  await showsMembers(bob, 2)

  await killGateway(ann)
  await say(ann, 'Great! Open it.')
  await say(bob, 'Wait, I need a knife.')
  await shoot('The gateway got kill -9, and both write on')

  await isConnected(ann)
  await isConnected(bob)
  await showsPosts(ann, 4)
  await showsPosts(bob, 4)
  await showsMembers(ann, 2)
  await showsMembers(bob, 2)
  await shoot('It is back: each post once, in one order')
  await draw(ann, moments)
})

/** Moments from left to right, windows below each other. */
async function draw (page: Page, moments: Array<{ title: string, windows: string[] }>): Promise<void> {
  const columns = moments.map(({ title, windows }) =>
    `<section><h2>${title}</h2>${windows.map(png => `<img src="data:image/png;base64,${png}">`).join('')}</section>`)
  await page.setViewportSize({ width: moments.length * (viewport.width + 18) + 16, height: 100 })
  await page.setContent(`<style>
    body { margin: 8px; display: flex; gap: 16px; font: 15px sans-serif; background: white; color: #222 }
    h2 { margin: 4px 0 8px; font-size: 16px } img { display: block; margin-bottom: 10px; border: 1px solid #bbb }
  </style>${columns.join('')}`)
  await page.screenshot({ path: file, fullPage: true })
}
