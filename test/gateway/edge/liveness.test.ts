import { connect } from 'node:net'
import t from 'tap'
import { startTestNode, TcpClient, until } from '../node.js'
import {
  ackedUpTo, alive, connected, dialects, endsWith, speaker, TcpSpeaker, uplinks, WebSocketSpeaker,
} from './dialects.js'
import { upgradeRequest } from './raw-websocket.js'

/** A machine that is busy stands still for a second now and then, and must not for 2.5 of these. */
const heartbeatMs = 2_000

// By itself: what stands still here is the process, and with it all that the other tests wait for.
await t.test('A connection whose node stands still for a while lives on by what came meanwhile', async t => {
  const node = await startTestNode(t, { LEDGERLINE_HEARTBEAT_MS: String(heartbeatMs) })
  const { client } = await connected(t, node, 'TCP', 'patient')
  await new Promise(resolve => setTimeout(resolve, heartbeatMs))
  // Each time long enough to be silent for 2.5 heartbeats, were it not for the ping that lies in the socket.
  for (let times = 0; times < 2; times++) {
    client.send({ op: 'ping' })
    for (const since = performance.now(); performance.now() - since < 3 * heartbeatMs;);
    await new Promise(resolve => setTimeout(resolve, 50)) // the node looks at its connections, once
  }
  for (let times = 0; times < 2; times++) t.equal((await client.next()).op, 'pong')
  await alive(t, client)
})

t.jobs = dialects.length // they wait, mostly

for (const dialect of dialects) {
  t.test(`A connection over ${dialect}`, { jobs: 5, buffered: true }, async t => {
    const node = await startTestNode(t, { LEDGERLINE_HEARTBEAT_MS: String(heartbeatMs) })
    /** Its heartbeat is long: nobody here is silent for too long, however slow the machine is. */
    const calm = await startTestNode(t, { LEDGERLINE_CLOCK_TOLERANCE_MS: '1000' })

    t.test('is closed when it is silent for 2.5 heartbeats', async t => {
      const since = performance.now()
      const { client } = await connected(t, node, dialect, 'silent')
      await endsWith(t, client, 'heartbeat-timeout')
      t.ok(performance.now() - since >= 2.5 * heartbeatMs, 'not before')
    })

    t.test('lives on by any frame', async t => {
      const { client } = await connected(t, node, dialect, 'lively')
      await node.push('lively', 'ack me')
      t.match(await client.next(), { op: 'downlink', seq: 1 })
      const kinds = [
        () => { client.sendAll(uplinks(1, 1)) },
        () => { client.send({ op: 'ping' }) },
        () => { client.send({ op: 'downlinkAck', seq: 1 }) },
      ]
      for (const kind of kinds) {
        const since = Date.now()
        while (Date.now() - since < 3 * heartbeatMs) {
          kind()
          await new Promise(resolve => setTimeout(resolve, heartbeatMs / 4))
        }
      }
      while (client.waiting > 0) t.match((await client.next()).op, /uplinkAck|pong/)
      await alive(t, client)
    })

    for (const kind of ['ping', 'pong'] as const) {
      t.test(`lives on by WebSocket's own ${kind}`, async t => {
        const { client } = await connected(t, node, dialect, `protocol-${kind}`)
        if (!(client instanceof WebSocketSpeaker)) return
        const { ws } = client.client
        for (const since = Date.now(); Date.now() - since < 4 * heartbeatMs;) {
          ws[kind]()
          await new Promise(resolve => setTimeout(resolve, heartbeatMs / 4))
        }
        t.equal(client.waiting, 0)
        await alive(t, client)
      })
    }

    t.test('says in every pong what is acked', async t => {
      const { client } = await connected(t, calm, dialect, 'pinger')
      client.send({ op: 'ping' })
      t.strictSame(await client.next(), { op: 'pong', uplinkSeq: 0 })
      client.sendAll(uplinks(1, 3))
      await ackedUpTo(client, 3)
      client.send({ op: 'ping', downlinkSeq: 0 })
      t.strictSame(await client.next(), { op: 'pong', uplinkSeq: 3 })
    })

    t.test('is closed when its token expires', async t => {
      const exp = Math.trunc(Date.now() / 1000) + 6
      const { client } = await connected(t, calm, dialect, 'expiring', { token: await calm.token('expiring', { exp }) })
      const pings = setInterval(() => { client.send({ op: 'ping' }) }, 300)
      t.teardown(() => { clearInterval(pings) })
      await until('the token expires', () => Date.now() > exp * 1000)
      await endsWith(t, client, 'token-expired')
      clearInterval(pings)
      t.ok(Date.now() >= exp * 1000 + 1_000, 'not within the tolerance')
      const { welcome } = await connected(t, calm, dialect, 'expiring')
      t.equal(welcome.resumed, true, 'a fresh token goes on')
    })

    t.test('goes on with a fresh token', async t => {
      const exp = Math.trunc(Date.now() / 1000) + 6
      const { client } = await connected(t, calm, dialect, 'lasting', { token: await calm.token('lasting', { exp }) })
      const later = exp + 3_600
      client.send({ op: 'token', token: await calm.token('lasting', { exp: later }) })
      t.strictSame(await client.next(), { op: 'tokenAccepted', expiresAtMs: later * 1_000 })
      while (Date.now() < exp * 1_000 + 2_500) { // long after the old one is over
        await alive(t, client)
        await new Promise(resolve => setTimeout(resolve, 300))
      }
      client.send({ op: 'token', token: await calm.token('somebody else') })
      await endsWith(t, client, 'bad-token')
    })

    t.test('is closed when no connect comes in 10 s', async t => {
      const since = performance.now()
      const client = await speaker(t, calm, dialect)
      await endsWith(t, client, 'handshake-timeout')
      t.ok(performance.now() - since >= 10_000, 'not before')
    })

    t.test('has no more than 10 s from its accept, whenever it is upgraded', async t => {
      if (dialect !== 'WebSocket JSON') return
      const late = connect({ host: '127.0.0.1', port: calm.httpPort, allowHalfOpen: true })
      t.teardown(() => { late.destroy() })
      await new Promise(resolve => setTimeout(resolve, 4_000))
      let closed = false
      late.on('end', () => { closed = true })
      late.on('error', () => { closed = true })
      late.resume().write(upgradeRequest('ledgerline.v1.json'))
      const client = await speaker(t, calm, dialect)
      await endsWith(t, client, 'handshake-timeout')
      t.ok(closed, 'it went before one that was accepted when it was upgraded')
    })

    t.test('is not kept by a connect that never ends', async t => {
      if (dialect !== 'TCP') return
      const client = await TcpClient.open(t, calm)
      client.send('00000100 01')
      const drip = setInterval(() => { client.send('aa') }, 200)
      t.teardown(() => { clearInterval(drip) })
      await endsWith(t, new TcpSpeaker(client), 'handshake-timeout')
    })
  })
}
