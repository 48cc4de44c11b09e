import { spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { chromium, type Page } from 'playwright-core'
import type { Test } from 'tap'
import { findPort } from '../cluster/server-process.js'
import { until } from '../faults/node-process.js'
import { browserPath, flags } from './page.js'

/** That of docs/streams.md, which stands between pages and the gateway. */
export const program = /```js\n(import \{ createServer, request \}[^]*?\n)```/.exec(
  readFileSync(fileURLToPath(new URL('../../../docs/streams.md', import.meta.url)), 'utf8'))![1]!
/* What it says of one stream, and what of each. */
const [path, anyPath] = ["from.url !== '/uplinks'", "!from.url.startsWith('/streams/')"]
const [asked, anyAsked] = ['/v1/streams/uplinks?after=now`', '/v1` + from.url']

/** A page with an `EventSource` for each of some streams, from their first records on. */
export class EventSources {
  readonly #page: Page

  private constructor (page: Page) { this.#page = page }

  /**
   * @param directory where the program of docs/streams.md is written to, which stands in front of the gateway; here it
   *   has a path for each stream
   */
  static async open (
    t: Test, directory: string, gateway: { url: string, key: string }, streams: readonly string[]
  ): Promise<EventSources> {
    const port = String(await findPort())
    if (!program.includes(path) || !program.includes(asked)) {
      throw new Error('the program of docs/streams.md is another one')
    }
    writeFileSync(`${directory}/server.mjs`, program.replace(path, anyPath).replace(asked, anyAsked))
    const env = { PATH: process.env['PATH'], LEDGERLINE_URL: gateway.url, LEDGERLINE_API_KEY: gateway.key, PORT: port }
    const child = spawn(process.execPath, [`${directory}/server.mjs`], { stdio: ['ignore', 'inherit', 'inherit'], env })
    t.teardown(() => child.kill('SIGKILL'))
    const site = `http://127.0.0.1:${port}/`
    await until(async () => await fetch(site).catch(() => undefined), 50)
    const options = { executablePath: browserPath, args: flags }
    const context = await chromium.launchPersistentContext(`${directory}/profile`, options)
    t.teardown(() => context.close())
    const page = await context.newPage()
    await page.route('**/', route => route.fulfill({ contentType: 'text/html', body: '<!doctype html>' }))
    await page.goto(site)
    await page.evaluate(streams => {
      const page = globalThis as unknown as { came: Record<string, string[]>, EventSource: typeof EventSource }
      page.came = {}
      for (const stream of streams) {
        const came = page.came[stream] = [] as string[]
        const source = new page.EventSource(`/streams/${stream}`)
        source.onmessage = ({ data }) => { came.push(data) }
        source.addEventListener('hole', ({ data }) => { came.push(data) })
      }
    }, streams)
    return new EventSources(page)
  }

  /** What has come of a stream, without cursors; a hole has the field `hole`. */
  async lines (stream: string): Promise<any[]> {
    const came = await this.#page.evaluate(stream =>
      (globalThis as unknown as { came: Record<string, string[]> }).came[stream]!, stream)
    return came.map(data => {
      const { cursor, ...line } = JSON.parse(data)
      return line
    })
  }
}
