import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { chromium } from 'playwright-core'
import type { Page } from 'playwright-core'
import type { Test } from 'tap'
import { until as untilSoon } from '../faults/node-process.js'
import { buildBundle } from './bundle.js'

export const browserPath = '/usr/bin/chromium'
export const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-proxy-server',
  '--host-resolver-rules=MAP *.example 127.0.0.1']

/** One line that says what to install for the tests in a browser; false where they can run. */
export const browserMissing = existsSync(browserPath) ? false : `no ${browserPath}: apt-get install chromium`

/** What the page does with the bundle, told to `globalThis.seen`. */
const script = `
import { createClient, inIndexedDb, inLocalStorage } from './ledgerline-client.min.js'
globalThis.seen = { downlinks: [], events: [], accepted: [], failures: [] }
globalThis.begin = ({ kind, token, ...options }) => {
  const storage = { indexedDb: inIndexedDb, localStorage: inLocalStorage }[kind]?.(options.deviceId ?? kind)
  globalThis.kept = async () => {
    await client.close()
    return [...await storage.open(() => {})]
  }
  const getToken = () => token
  const client = globalThis.client = createClient({ deviceId: kind, ...options, storage, getToken })
  for (const name of ['connected', 'disconnected', 'migrated', 'missed', 'accepted', 'failed', 'storageFailed']) {
    client.on(name, event => seen.events.push({ name, ...event, payload: undefined }))
  }
  for (const name of ['pagehide', 'pageshow']) {
    addEventListener(name, ({ persisted }) => seen.events.push({ name, persisted }))
  }
  for (const name of ['freeze', 'resume']) document.addEventListener(name, () => seen.events.push({ name }))
  client.on('downlink', ({ payload }) => { seen.downlinks.push(new TextDecoder().decode(payload)) })
  client.connect()
}
globalThis.send = text => {
  client.send(text).then(({ userSeq }) => seen.accepted.push([text, userSeq]), err => seen.failures.push(err.code))
}
globalThis.isReady = true
`

export interface Seen {
  readonly downlinks: string[]
  readonly events: Array<{ name: string, [field: string]: any }>
  /** Text and userSeq. */
  readonly accepted: Array<[string, number]>
  readonly failures: string[]
}

/** A page in which a client of the built bundle runs. */
export class ClientPage {
  constructor (readonly page: Page) {}

  async seen (): Promise<Seen> {
    return await this.page.evaluate('globalThis.seen')
  }

  /** Waits until what was seen is as `isSo` wants it. */
  async until (isSo: (seen: Seen) => boolean): Promise<void> {
    await until(async () => isSo(await this.seen()))
  }

  /** Waits for an event of this name that has these fields. */
  async event (name: string, fields: object = {}): Promise<void> {
    await this.until(({ events }) => events.some(event => event.name === name &&
      Object.entries(fields).every(([field, value]) => event[field] === value)))
  }

  async send (text: string): Promise<void> {
    await this.page.evaluate(text => (globalThis as any).send(text), text)
  }
}

/** Each look is a call into a page or a request, so there are few. */
export async function until (condition: () => unknown): Promise<void> {
  await untilSoon(condition, 50)
}

/**
 * A browser with a profile of its own, and a site with the bundle.
 *
 * @returns `open`: opens a page and makes a client in it, with options as `createClient` takes them; `kind` names the
 *   device unless `deviceId` does, and the storage where it is one of a browser's. `/denied` is a page that may keep
 *   nothing, `/away` another one of the site; `host` is that of its origin, any below `.example` will do
 */
export async function givenBrowser (t: Test, profile: string, bundleFolder: string) {
  const bundle = buildBundle(bundleFolder)
  const site = createServer((request, response) => {
    const { url } = request
    response.setHeader('access-control-allow-origin', '*') // for the page without an origin
    response.setHeader('content-type', url!.endsWith('.js') ? 'text/javascript' : 'text/html')
    if (url === '/denied') response.setHeader('content-security-policy', 'sandbox allow-scripts')
    const html = url === '/away'
      ? '<!doctype html>elsewhere'
      : '<!doctype html><link rel=icon href=data:,><script type=module src=page.js></script>'
    response.end(url === '/page.js' ? script : url!.endsWith('.js') ? bundle : html)
  }).listen(0, '127.0.0.1')
  t.teardown(() => site.close())
  await once(site, 'listening')
  const url = `http://127.0.0.1:${(site.address() as AddressInfo).port}/`
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: browserPath,
    args: flags,
    ignoreDefaultArgs: ['--disable-back-forward-cache'],
  })
  t.teardown(() => context.close())
  async function open (
    options: { kind: string, token: string, [option: string]: unknown }, path = '', host = '127.0.0.1'
  ) {
    const page = await context.newPage()
    page.on('pageerror', err => t.fail(`the page failed: ${err.message}`))
    await page.goto(url.replace('127.0.0.1', host) + path)
    await page.waitForFunction('globalThis.isReady')
    await page.evaluate(options => (globalThis as any).begin(options), options)
    return new ClientPage(page)
  }
  return { open, context, url }
}
