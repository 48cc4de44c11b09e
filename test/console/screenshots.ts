import { mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { startTestNode } from '../gateway/node.js'
import { buildPages, givenBrowser, goTo, openConsole, signIn } from './console-page.js'
import { device, givenAnn } from './given-users.js'

/*
  Makes the pictures that docs/console.md shows, from pages of a gateway that runs:

    npm run console:screenshots
*/

const folder = fileURLToPath(new URL('../../../docs/images/', import.meta.url))
const size = { width: 1_000, height: 640 }

/** For lines to be lines. */
const chartMs = 30_000

t.test('The screenshots', { timeout: 230_000 }, async t => {
  buildPages()
  mkdirSync(folder, { recursive: true })
  const node = await startTestNode(t)
  await givenAnn(t, node)
  const context = await givenBrowser(t, { viewport: size, colorScheme: 'light' })
  const page = await openConsole(t, context, node.api)
  const shoot = async (name: string) => {
    await page.waitForLoadState('networkidle')
    await page.screenshot({ path: `${folder}console-${name}.png` })
  }
  await signIn(page)
  await goTo(page, '#/', 'Overview')
  await page.waitForSelector('.chart')
  // Of somebody else: the pictures of Ann are to stay readable.
  const talker = await device(t, node, 'bob', 'phone', 'android')
  for (const untilMs = Date.now() + chartMs; Date.now() < untilMs;) {
    await talker.send('hello')
    await node.push('bob', 'hello')
    await page.waitForTimeout(20 + 200 * Math.random())
  }
  await shoot('overview')
  await goTo(page, '#/message?user=ann&kind=message&id=order-2', 'Message')
  await page.waitForSelector('.step')
  await shoot('message')
  await goTo(page, '#/user/ann', 'User')
  await page.waitForSelector('.mark')
  await page.click('.mark[data-event=closed] .reach')
  await page.locator('section[aria-labelledby=timeline]').screenshot({ path: `${folder}console-timeline.png` })
})
