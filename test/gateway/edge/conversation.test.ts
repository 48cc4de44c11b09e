import t from 'tap'
import { startTestNode, until } from '../node.js'
import { ackedUpTo, alive, connected, connectFrame, dialects, endsWith, speaker, uplinks } from './dialects.js'

for (const dialect of dialects) {
  t.test(`A client that speaks ${dialect}`, async t => {
    const node = await startTestNode(t, { LEDGERLINE_HEARTBEAT_MS: '7000', LEDGERLINE_UPLINK_WINDOW: '32' })

    t.test('is told all that it needs to know', async t => {
      const before = Date.now()
      const { client, welcome } = await connected(t, node, dialect, 'told')
      t.match(welcome, { connectionId: /^[\w-]{16}$/ })
      t.ok(welcome.serverTimeMs >= before && welcome.serverTimeMs <= Date.now(), 'the time of the server')
      const { connectionId, serverTimeMs, ...rest } = welcome
      t.strictSame(rest, {
        op: 'connected',
        nodeId: 'n1',
        userId: 'told',
        resumed: false,
        uplinkSeq: 0,
        downlinkSeq: 0,
        missed: 0,
        heartbeatMs: 7000,
        uplinkWindow: 32,
        frameBytesMax: 65536,
      })
      await alive(t, client)
    })

    t.test('may send uplinks right behind connect', async t => {
      const client = await speaker(t, node, dialect)
      client.sendAll([await connectFrame(node, 'eager'), ...uplinks(1, 20)])
      t.equal((await client.next()).op, 'connected', 'connect is answered first')
      t.strictSame(await ackedUpTo(client, 20), Array.from({ length: 20 }, (_, i) => i + 1))
    })

    t.test('may send anything right behind connect, and is answered in order', async t => {
      const { client: first } = await connected(t, node, dialect, 'eager-2')
      await node.push('eager-2', 'one')
      t.match(await first.next(), { op: 'downlink', seq: 1 })
      await node.gone(() => { first.destroy() })
      const client = await speaker(t, node, dialect)
      client.sendAll([
        await connectFrame(node, 'eager-2', { downlinkSeq: 1 }), { op: 'ping', downlinkSeq: 1 },
        { op: 'downlinkAck', seq: 1 }, ...uplinks(1, 1), { op: 'ping' },
      ])
      t.match(await client.next(), { op: 'connected', downlinkSeq: 1 })
      t.strictSame(await client.next(), { op: 'pong', uplinkSeq: 0 })
      const rest = [await client.next(), await client.next()]
      t.strictSame(rest.map(({ op }) => op).sort(), ['pong', 'uplinkAck'])
      await alive(t, client)
    })

    t.test('goes on where it was after it lost its connection', async t => {
      const { client: first } = await connected(t, node, dialect, 'resumer')
      first.sendAll(uplinks(1, 5))
      t.strictSame(await ackedUpTo(first, 5), [1, 2, 3, 4, 5])
      for (const payload of ['one', 'two', 'three']) await node.push('resumer', payload)
      for (const seq of [1, 2, 3]) t.match(await first.next(), { op: 'downlink', seq })
      await node.gone(() => { first.destroy() })
      for (const payload of ['four', 'five']) await node.push('resumer', payload)

      const { client, welcome } = await connected(t, node, dialect, 'resumer', { downlinkSeq: 1 })
      t.match(welcome, { resumed: true, uplinkSeq: 5, downlinkSeq: 1, missed: 0 })
      const texts = ['two', 'three', 'four', 'five']
      for (const [i, payload] of texts.entries()) t.match(await client.next(), { op: 'downlink', seq: 2 + i, payload })
      client.send({ op: 'downlinkAck', seq: 5 })
      client.sendAll(uplinks(6, 7))
      t.strictSame(await ackedUpTo(client, 7), [6, 7])
      await alive(t, client)
    })

    t.test('gets payloads as they were sent, whatever their bytes', async t => {
      const { client } = await connected(t, node, dialect, 'bytes')
      const odd = { base64: Buffer.of(0, 0xff, 0xc3).toString('base64') }
      await node.push('bytes', 'žluťoučký\u0000kůň')
      await node.push('bytes', odd)
      await node.push('bytes', '')
      t.match(await client.next(), { seq: 1, payload: 'žluťoučký\u0000kůň' })
      t.match(await client.next(), { seq: 2, payload: odd })
      t.match(await client.next(), { seq: 3, payload: '' })
    })

    t.test('gets a signal once, and never again', async t => {
      const { client: first } = await connected(t, node, dialect, 'signalled')
      await node.signal('signalled', 'now', { service: 'typing' })
      t.strictSame(await first.next(), { op: 'signal', service: 'typing', payload: 'now', roomId: '' })
      await alive(t, first)
      await node.gone(() => { first.destroy() })
      await until('the routing table has heard of it', async () =>
        (await node.push('signalled', 'then', { delivery: 'signal' })).status === 'offline')
      const { client, welcome } = await connected(t, node, dialect, 'signalled')
      t.match(welcome, { downlinkSeq: 0, missed: 0 })
      await alive(t, client)
    })

    t.test('may say goodbye and find everything as it was', async t => {
      const { client: first } = await connected(t, node, dialect, 'leaver')
      first.sendAll(uplinks(1, 2))
      await ackedUpTo(first, 2)
      await node.gone(() => { first.send({ op: 'disconnect' }) })
      const { left, closeCode } = await first.closed()
      t.strictSame(left, [], 'no frame answers a goodbye')
      if (closeCode !== undefined) t.equal(closeCode, 1000)
      await node.push('leaver', 'later')
      const { client, welcome } = await connected(t, node, dialect, 'leaver')
      t.match(welcome, { resumed: true, uplinkSeq: 2, downlinkSeq: 0, missed: 0 })
      t.match(await client.next(), { op: 'downlink', seq: 1, payload: 'later' })
    })

    t.test('may end its session and begin a new one', async t => {
      const { client: first } = await connected(t, node, dialect, 'ender')
      first.sendAll(uplinks(1, 2))
      await ackedUpTo(first, 2)
      await node.push('ender', 'unacked')
      t.match(await first.next(), { op: 'downlink', seq: 1 })
      await node.gone(() => { first.send({ op: 'disconnect', endSession: true }) })
      await first.closed()
      const { client, welcome } = await connected(t, node, dialect, 'ender')
      t.match(welcome, { resumed: false, uplinkSeq: 0, downlinkSeq: 0, missed: 0 })
      client.sendAll(uplinks(1, 1))
      t.strictSame(await ackedUpTo(client, 1), [3], 'numbers of the user go on')
    })

    t.test('is told when the node leaves', async t => {
      const leaving = await startTestNode(t)
      const { client } = await connected(t, leaving, dialect, 'ann')
      const stopped = leaving.stop()
      await endsWith(t, client, 'migrating')
      await stopped
    })

    t.test('leaves nothing in the log', async t => { t.strictSame(node.logged, []) })
  })
}
