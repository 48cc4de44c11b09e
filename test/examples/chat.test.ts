import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { chromium, type Page } from 'playwright-core'
import t from 'tap'
import { browserMissing, browserPath, flags, until } from '../client/page.js'
import { findPort } from '../cluster/server-process.js'

const program = fileURLToPath(new URL('../../../examples/chat/main.js', import.meta.url))

t.test('The example of a chat, in two windows', { skip: browserMissing, timeout: 230_000 }, async t => {
  const directory = t.testdir({ data: {}, ann: {}, bob: {} })
  const port = await findPort()
  const chat = spawn(process.execPath, [program], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      PATH: process.env['PATH'],
      CHAT_PORT: String(port),
      CHAT_GATEWAY_PORT: String(await findPort()),
      CHAT_DATA: `${directory}/data`,
    },
  })
  const exit = once(chat, 'exit')
  t.teardown(async () => {
    chat.kill('SIGTERM')
    await exit
  })
  await once(createInterface(chat.stdout), 'line')

  const openWindow = async (name: string): Promise<Page> => {
    const profile = `${directory}/${name}`
    const context = await chromium.launchPersistentContext(profile, { executablePath: browserPath, args: flags })
    t.teardown(() => context.close())
    const page = await context.newPage()
    page.on('pageerror', error => t.fail(`the page failed: ${error.message}`))
    await page.goto(`http://localhost:${port}/?name=${name}`)
    await page.waitForFunction('document.getElementById("state").textContent === "connected"', undefined, { timeout: 60_000 })
    return page
  }
  const say = async (page: Page, text: string) => {
    await page.fill('#text', text)
    await page.press('#text', 'Enter')
  }
  const said = (page: Page): Promise<string[]> =>
    page.$$eval('#posts li:not(.pending) div', items => items.map(({ textContent }) => textContent ?? ''))
  const sees = async (page: Page, texts: string[]) => {
    await until(async () => (await said(page)).length >= texts.length)
    t.strictSame(await said(page), texts)
  }

  const ann = await openWindow('ann')
  await say(ann, 'hello?')
  await sees(ann, ['hello?'])
  const bob = await openWindow('bob')
  await sees(bob, ['hello?'])
  await say(bob, 'hello!')
  await sees(ann, ['hello?', 'hello!'])
  await sees(bob, ['hello?', 'hello!'])
  await until(async () => (await ann.$$('#members li')).length === 2)

  await t.test('nothing is lost where the gateway is killed', async () => {
    await ann.click('#kill')
    await ann.waitForSelector('#state.away', { timeout: 60_000 })
    await say(ann, 'are you still there?')
    const both = ['hello?', 'hello!', 'are you still there?']
    await sees(bob, both)
    await say(bob, 'I am')
    await sees(ann, [...both, 'I am'])
    await sees(bob, [...both, 'I am'])
  })

  await t.test('who opens the page later reads what was said', async () => {
    await bob.reload()
    await bob.waitForFunction('document.getElementById("state").textContent === "connected"', undefined, { timeout: 60_000 })
    await sees(bob, ['hello?', 'hello!', 'are you still there?', 'I am'])
  })
})
