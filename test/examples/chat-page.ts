import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { chromium, type BrowserContextOptions, type Page } from 'playwright-core'
import type { Test } from 'tap'
import { browserPath, flags, until } from '../client/page.js'
import { findPort } from '../cluster/server-process.js'

const program = fileURLToPath(new URL('../../../examples/chat/main.js', import.meta.url))
const patience = { timeout: 60_000 }

/** The example of a chat as `npm run example:chat` starts it, with ports and data of its own. */
export interface Chat {
  /** A window in which somebody is signed in and connected. Each is a browser of its own. */
  openWindow: (name: string, options?: BrowserContextOptions) => Promise<Page>
  /** The same, and nobody is signed in yet. */
  openEmpty: (options?: BrowserContextOptions) => Promise<Page>
}

export async function startChat (t: Test): Promise<Chat> {
  const directory = t.testdir({ data: {} })
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
  const open = async (query: string, options: BrowserContextOptions = {}): Promise<Page> => {
    const browser = await chromium.launch({ executablePath: browserPath, args: flags })
    t.teardown(() => browser.close())
    const page = await (await browser.newContext(options)).newPage()
    page.on('pageerror', error => t.fail(`the page failed: ${error.message}`))
    await page.goto(`http://localhost:${port}/${query}`)
    return page
  }
  return {
    async openWindow (name, options) {
      const page = await open(`?name=${name}`, options)
      await isConnected(page)
      return page
    },
    openEmpty: options => open('', options),
  }
}

export async function isConnected (page: Page): Promise<void> {
  await page.waitForFunction('document.getElementById("state").textContent === "connected"', undefined, patience)
}

export async function say (page: Page, text: string): Promise<void> {
  await page.fill('#text', text)
  await page.press('#text', 'Enter')
}

export async function killGateway (page: Page): Promise<void> {
  await page.click('#kill')
  await page.waitForSelector('#state.away', patience)
}

/** What is posted for good, in the order of the window. */
export function posted (page: Page): Promise<string[]> {
  return page.$$eval('#posts li:not(.pending) div', items => items.map(({ textContent }) => textContent ?? ''))
}

export async function showsPosts (page: Page, count: number): Promise<void> {
  await until(async () => (await posted(page)).length >= count)
}

export async function showsMembers (page: Page, count: number): Promise<void> {
  await until(async () => (await page.$$('#members li')).length === count)
}
