import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { chromium, type BrowserContext, type BrowserContextOptions, type Page } from 'playwright-core'
import type { Test } from 'tap'
import { browserPath, flags } from '../client/page.js'
import { until } from '../gateway/node.js'

export const apiKey = 'the-key-of-a-test-node'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** The pages as `npm run build:console` makes them; a node reads them when it starts. */
export function buildPages (): void {
  execFileSync(process.execPath, ['console/build.js'], { cwd: root })
}

/** A browser in which nobody is signed in yet. It reaches this machine alone, as one without internet does. */
export async function givenBrowser (t: Test, options: BrowserContextOptions = {}): Promise<BrowserContext> {
  const browser = await chromium.launch({ executablePath: browserPath, args: flags })
  t.teardown(() => browser.close())
  return await browser.newContext(options)
}

/** A tab of the console. What a script of it fails at, or what the content security policy refuses, fails the test. */
export async function openConsole (t: Test, context: BrowserContext, url: string): Promise<Page> {
  const page = await context.newPage()
  page.setDefaultTimeout(60_000)
  page.on('pageerror', error => t.fail(`the page failed: ${error.message}`))
  page.on('console', message => {
    if (/Content Security Policy|Refused to/.test(message.text())) t.fail(message.text())
  })
  page.on('request', request => {
    if (!request.url().startsWith(url) && !request.url().startsWith('data:')) t.fail(`the page asks ${request.url()}`)
  })
  await page.goto(`${url}/console`)
  return page
}

export async function signIn (page: Page, key = apiKey): Promise<void> {
  await page.fill('#apiKey', key)
  await page.click('button[type=submit]')
}

/** Goes to a page by its address and waits for its heading. */
export async function goTo (page: Page, hash: string, heading: string): Promise<void> {
  await page.evaluate(hash => { location.hash = hash }, hash)
  await page.waitForSelector(`h1:text-is("${heading}")`)
}

/** As people read it: blanks alone between words. */
export async function textOf (page: Page, selector: string): Promise<string> {
  return (await page.locator(selector).first().innerText()).replace(/\s+/g, ' ')
}

/**
 * Waits until a part of the page says all of this at once: what is told may go again before the next look.
 *
 * @throws Error with what it says instead
 */
export async function says (t: Test, page: Page, selector: string, ...all: readonly RegExp[]): Promise<void> {
  let text = ''
  try {
    await until('the page says it', async () => {
      text = await textOf(page, selector)
      return all.every(words => words.test(text))
    })
  } catch (cause) {
    throw new Error(`${selector} does not say ${all.filter(words => !words.test(text)).join(' or ')} but ${text}`, { cause })
  }
  t.pass(`${selector} says ${all.join(' and ')}`)
}

interface Violation { readonly id: string, readonly impact: string, readonly nodes: Array<{ readonly html: string }> }

/** What axe-core finds that keeps somebody from using the page; one line each. */
export async function seriousFindings (page: Page): Promise<string[]> {
  // The policy of the page refuses script elements; what the debugger evaluates it does not see.
  await page.evaluate(axe)
  const { violations } = await page.evaluate('axe.run()') as { violations: Violation[] }
  return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`))
}
