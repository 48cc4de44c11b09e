import t from 'tap'
import { readUplinks, request, startProcess, tokenFor } from '../faults/node-process.js'
import { findPort } from '../cluster/server-process.js'
import { browserMissing, givenBrowser, until } from './page.js'

const kinds = ['memory', 'json', 'indexedDb', 'localStorage']

t.test('In a browser', { skip: browserMissing, timeout: 230_000 }, async t => {
  const directory = t.testdir({ data: {}, profile: {}, bundle: {} })
  const httpPort = String(await findPort())
  const start = async () => await startProcess(t, `${directory}/data`, { LEDGERLINE_HTTP_PORT: httpPort })
  let node = await start()
  const { open: openPage } = await givenBrowser(t, `${directory}/profile`, `${directory}/bundle`)
  const ipConfig = `${node.http}/v1/ip-config`
  const open = async (kind: string, encoding?: string) => {
    const page = await openPage({ kind, ipConfig, token: await tokenFor('ann'), ...encoding ? { encoding } : {} })
    await page.event('connected')
    return page
  }
  const push = async (payload: string, deviceId: string) => await request(node, '/v1/downlinks',
    { to: { userIds: ['ann'] }, payload, exceptDevices: kinds.filter(each => each !== deviceId) })
  /** What the gateway published of one page, once it is as much: the stream is written a little later than acks are. */
  async function stored (kind: string, count: number): Promise<string[]> {
    let payloads: string[] = []
    await until(async () => {
      payloads = (await readUplinks(node)).map(({ payload }) => payload).filter(each => each.startsWith(kind))
      return payloads.length >= count
    })
    return payloads
  }

  for (const [kind, encoding] of [['memory', 'avro'], ['json', 'json']] as const) {
    await t.test(`it sends and receives ${encoding}, and survives that the gateway is killed`, async t => {
      const page = await open(kind, encoding)
      for (let i = 1; i <= 20; i++) await page.send(`${kind} ${i} ☃`)
      for (let i = 1; i <= 5; i++) await push(`down ${i} 🐸`, kind)
      await page.until(({ accepted, downlinks }) => accepted.length === 20 && downlinks.length === 5)
      await node.kill('SIGKILL')
      for (let i = 21; i <= 25; i++) await page.send(`${kind} ${i} ☃`)
      node = await start()
      for (let i = 6; i <= 8; i++) await push(`down ${i} 🐸`, kind)
      await page.until(({ accepted, downlinks }) => accepted.length === 25 && downlinks.length === 8)
      const { downlinks, accepted, failures } = await page.seen()
      t.strictSame(downlinks, [1, 2, 3, 4, 5, 6, 7, 8].map(i => `down ${i} 🐸`))
      t.strictSame(failures, [])
      const expected = Array.from({ length: 25 }, (_, i) => `${kind} ${i + 1} ☃`)
      t.strictSame(accepted.map(([text]) => text), expected)
      t.strictSame(await stored(kind, 25), expected, 'and the uplinks stream says the same')
      await page.page.close()
    })
  }

  for (const kind of ['indexedDb', 'localStorage']) {
    await t.test(`it goes on in ${kind} where the page was left`, async t => {
      const page = await open(kind)
      await push('down 1', kind)
      await page.send(`${kind} 1`)
      await page.until(({ accepted, downlinks }) => accepted.length === 1 && downlinks.length === 1)
      await node.kill('SIGKILL')
      await page.send(`${kind} 2`)
      await page.send(`${kind} 3`)
      await new Promise(resolve => setTimeout(resolve, 2_000)) // what is sent is kept within 500 ms
      await page.page.close()
      node = await start()
      await push('down 2', kind)
      const next = await open(kind)
      await next.send(`${kind} 4`)
      await next.until(({ accepted, downlinks }) => accepted.length === 1 && downlinks.length === 1)
      const { downlinks, events } = await next.seen()
      t.strictSame(downlinks, ['down 2'])
      t.strictSame(events.filter(({ name }) => name === 'accepted').map(({ seq }) => seq), [2, 3])
      t.strictSame(await stored(kind, 4), [1, 2, 3, 4].map(i => `${kind} ${i}`))

      await t.test('and a second page takes it over', async t => {
        const second = await open(kind)
        await next.event('disconnected', { code: 'superseded', willReconnect: false })
        await second.send(`${kind} 5`)
        await second.until(({ accepted }) => accepted.length === 1)
        t.strictSame((await second.seen()).events.map(({ name }) => name), ['connected'])
        await second.page.close()
      })
      await next.page.close()
    })
  }
})
