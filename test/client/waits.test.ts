import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { Backoff } from '../../client/backoff.js'
import { ipConfigOf } from '../../client/ip-config.js'
import type { ClientEvents } from '../../client/node.js'
import { boundedWait, retryAfterMsOf, waitMsMax } from '../../client/waits.js'
import { givenClient, givenEdge } from './given.js'

t.test('A wait', async t => {
  t.test('is never longer than 10 minutes, nor anything but a time', async t => {
    for (const ms of [600_001, 9_999_999_000, 2 ** 31, 1e12, Infinity]) t.equal(boundedWait(ms), 600_000)
    for (const ms of [0, -1, -Infinity, NaN, '5', undefined, null, {}]) t.equal(boundedWait(ms, 70), 70)
    t.strictSame([boundedWait(250), boundedWait(2, 0, 10)], [250, 10])
  })

  t.test('is what Retry-After says, in seconds or as a date', async t => {
    const nowMs = Date.parse('2026-01-01T00:00:00Z')
    const of = (header?: string) => retryAfterMsOf(header, nowMs)
    t.strictSame([of('3'), of(' 3 '), of('Thu, 01 Jan 2026 00:00:09 GMT')], [3000, 3000, 9000])
    t.strictSame([of('9999999'), of('1'.repeat(400)), of('Fri, 01 Jan 2027 00:00:00 GMT')], [600_000, 600_000, 600_000])
    t.strictSame([of(), of('soon'), of('-5'), of('Wed, 01 Jan 2025 00:00:00 GMT')], [0, 0, 0, 0])
  })

  t.test('that was told is spread a little, and does not lengthen those after it', async t => {
    let drawn = 0
    const backoff = new Backoff({ baseMs: 1000, capMs: 60_000, random: () => drawn })
    t.equal(backoff.toldMs(20_000), 20_000)
    drawn = 0.5
    t.strictSame([backoff.toldMs(20_000), backoff.toldMs(100)], [22_000, 600])
    t.ok(backoff.toldMs(waitMsMax) < waitMsMax)
    t.equal(backoff.nextMs(), 500)
  })

  t.test('of ip-config is bounded too', async t => {
    const answer = (ttlMs: unknown, baseMs: unknown, capMs: unknown) => ipConfigOf({
      urls: ['http://a'],
      transport: 'ws',
      region: '',
      getJson: async () => ({ endpoints: ['ws://a'], ttlMs, backoff: { baseMs, capMs } }),
    })()
    for (const bad of [0, -1, NaN, 'x']) {
      t.match(await answer(bad, bad, bad), { ttlMs: 60_000, backoff: { baseMs: 1000, capMs: 60_000 } })
    }
    t.match(await answer(1e12, 1e12, 1e12), { ttlMs: 600_000, backoff: { baseMs: 600_000, capMs: 600_000 } })
    t.match(await answer(1, 5_000, 100), { ttlMs: 1000, backoff: { baseMs: 5_000, capMs: 5_000 } })
  })
})

t.test('A client that is told to wait', async t => {
  for (const [told, waited] of [[300, 300], [2_147_483_647, 480_000], [-5, 0]] as const) {
    t.test(`for ${told} ms by an error waits ${waited} ms`, async t => {
      const edge = await givenEdge(t)
      const client = givenClient(t, [edge.url]).connect()
      const lost = client.once('disconnected')
      const peer = await edge.peer()
      await peer.next('connect')
      peer.send({ op: 'error', code: 'rate-limited', message: '', retryAfterMs: told })
      peer.end()
      t.match(await lost, { code: 'rate-limited', willReconnect: true, retryInMs: waited })
    })
  }

  t.test('does so as often as it is told, whatever attemptsMax is, and is no longer away for it later', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url], { attemptsMax: 2, random: () => 0.1 }).connect()
    const lost: Array<ClientEvents['disconnected']> = []
    client.on('disconnected', event => lost.push(event))
    for (let i = 0; i < 4; i++) {
      const peer = await edge.peer()
      await peer.next('connect')
      peer.send({ op: 'error', code: 'rate-limited', message: '', retryAfterMs: 10 })
      peer.end()
    }
    ;(await edge.peer()).cut()
    await edge.peer()
    t.strictSame(lost.map(({ retryInMs }) => Math.round(retryInMs)), [110, 110, 110, 110, 100])
  })

  t.test('is not called back by a change of network', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const lost = client.once('disconnected')
    const peer = await edge.peer()
    await peer.next('connect')
    const beforeMs = performance.now()
    peer.send({ op: 'error', code: 'ledger-unavailable', message: '', retryAfterMs: 400 })
    peer.end()
    await lost
    client.networkChanged()
    t.equal(client.state, 'waiting')
    await edge.peer()
    t.ok(performance.now() - beforeMs > 300)
  })

  for (const [retryAfter, least] of [['9999999', 480_000], ['1', 1000], ['never', 0]] as const) {
    t.test(`by HTTP 429 with Retry-After: ${retryAfter} does not come back before`, async t => {
      let asked = 0
      const server = createServer().on('upgrade', (_request, socket) => {
        asked++
        socket.end(`HTTP/1.1 429 Too Many Requests\r\nRetry-After: ${retryAfter}\r\nContent-Length: 0\r\n\r\n`)
      }).listen(0, '127.0.0.1')
      t.teardown(() => server.close())
      await once(server, 'listening')
      const client = givenClient(t, [`ws://127.0.0.1:${(server.address() as AddressInfo).port}`], { random: () => 0.5 })
      const lost = client.connect().once('disconnected')
      const { code, willReconnect, retryInMs } = await lost
      t.strictSame([code, willReconnect, asked], ['rate-limited', true, 1])
      t.ok(retryInMs >= least && retryInMs <= 600_000, `${retryInMs} ms`)
    })
  }

  for (const [status, retryAfter, least] of [[429, '9999999', 480_000], [503, '7', 7_000]] as const) {
    t.test(`by ip-config with ${status} and Retry-After: ${retryAfter} does not ask before`, async t => {
      let asked = 0
      const server = createServer((_request, response) => {
        asked++
        response.writeHead(status, { 'retry-after': retryAfter }).end()
      }).listen(0, '127.0.0.1')
      t.teardown(() => server.close())
      await once(server, 'listening')
      const ipConfig = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/ip-config`
      const client = givenClient(t, [], { endpoints: undefined, ipConfig, random: () => 0.5 })
      const { willReconnect, retryInMs } = await client.connect().once('disconnected')
      t.strictSame([willReconnect, asked], [true, 1])
      t.ok(retryInMs >= least && retryInMs <= 600_000, `${retryInMs} ms`)
    })
  }

  t.test('by a refusal of uplinks waits 10 minutes at most', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    client.send('a')
    for (const code of ['gap', 'throttled']) {
      const refused = client.once('refused')
      const peer = await edge.peer()
      await peer.accept()
      await peer.next('uplink')
      peer.send({ op: 'uplinkRefused', expectedSeq: 1, code, retryAfterMs: 2_147_483_647 })
      t.match(await refused, { code, waitMs: 600_000 })
      peer.cut()
    }
  })

  for (const heartbeatMs of [0, -1]) {
    t.test(`survives a heartbeat of ${heartbeatMs} ms`, async t => {
      const edge = await givenEdge(t)
      const client = givenClient(t, [edge.url]).connect()
      const ready = client.ready()
      const peer = await edge.peer()
      await peer.accept({ heartbeatMs })
      await ready
      client.send('a')
      t.equal((await peer.any()).op, 'uplink', 'and does not ping without end')
    })
  }
})
