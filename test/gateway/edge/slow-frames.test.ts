import type { Socket } from 'node:net'
import t, { type Test } from 'tap'
import type { WebSocket } from 'ws'
import { hold } from '../../../actors/connection/reading.js'
import { startTestNode, until } from '../node.js'
import { alive, connected, dialects, endsWith, TcpSpeaker, type WebSocketSpeaker } from './dialects.js'
import { openConnection } from './given-connection.js'

const byteRateMin = 100

/** One that has begun a frame just now, and what has come of it. */
async function given (t: Test, rate = byteRateMin) {
  const client = await openConnection(t, { byteRateMin: rate, heartbeatMs: 60_000 })
  let kept = 0
  const feed = (bytes: number) => {
    kept += bytes
    client.reads(bytes)
    client.keepsPartial(kept)
  }
  await client.pass(100)
  feed(1)
  await client.pass(100)
  return { client, feed }
}

t.test('A frame that is not whole', async t => {
  t.test('ends its connection where it brings too little, and its client may come back', async t => {
    const { client, feed } = await given(t)
    for (let i = 0; i < 9; i++) {
      feed(99)
      await client.pass(1_000)
    }
    t.equal(client.phase(), 'open', 'not before its time')
    feed(99)
    await client.pass(1_000)
    await until('it is ended', () => client.phase() === 'closing')
    t.match(client.end(), { code: 'heartbeat-timeout', reason: 'a frame came with less than 100 bytes a second' })
    t.equal(client.connection.edge.count.slowFrames, 1)
  })

  t.test('may take as long as it needs where it brings enough', async t => {
    const { client, feed } = await given(t)
    for (let i = 0; i < 60; i++) {
      feed(110)
      await client.pass(1_000)
    }
    t.equal(client.phase(), 'open')
  })

  t.test('may be many small ones in a row, each cut by a read', async t => {
    const { client } = await given(t)
    for (let i = 0; i < 30; i++) {
      client.received({ op: 'ping', downlinkSeq: 0, silentMs: 0 })
      client.keepsPartial(3)
      await client.pass(1_000)
    }
    t.equal(client.phase(), 'open')
  })

  t.test('has as long again where we did not read it', async t => {
    const { client, feed } = await given(t)
    const { connection } = client
    await client.pass(9_000)
    connection.reading.hold(connection, hold.rate)
    await client.pass(30_000)
    connection.reading.release(connection, hold.rate)
    await client.pass(100)
    await client.pass(9_000)
    t.equal(client.phase(), 'open')
    feed(1)
    await client.pass(2_000)
    await until('it is ended', () => client.phase() === 'closing')
  })

  t.test('may be as slow as it likes where nothing is asked of it', async t => {
    const { client } = await given(t, 0)
    await client.pass(60_000)
    t.equal(client.phase(), 'open')
  })
})

t.test('Clients that feed a frame by the byte are ended over every dialect, their neighbour is served', async t => {
  const node = await startTestNode(t, { LEDGERLINE_HEARTBEAT_MS: '3600000' })
  const { client: neighbour } = await connected(t, node, 'TCP', 'neighbour')
  const slow = await Promise.all(dialects.map(async dialect => {
    const { client } = await connected(t, node, dialect, dialect)
    const isTcp = client instanceof TcpSpeaker
    const socket = isTcp ? client.client.socket : socketOf((client as WebSocketSpeaker).client.ws)
    // The beginning of a frame of 1,024 bytes; over WebSocket of a masked message.
    socket.write(isTcp ? Buffer.of(0, 0, 4, 0) : Buffer.of(0x82, 0xfe, 4, 0, 0, 0, 0, 0))
    const dripping = setInterval(() => { socket.write('a') }, 200)
    t.teardown(() => { clearInterval(dripping) })
    return client
  }))
  for (const client of slow) {
    t.match(await endsWith(t, client, 'heartbeat-timeout'), { message: /less than 512 bytes a second/ })
  }
  await alive(t, neighbour)
  t.match((await node.request('GET', '/metrics')).text, /^ledgerline_slow_frames_total 4$/m)
})

function socketOf (ws: WebSocket): Socket { return (ws as unknown as { _socket: Socket })._socket }
