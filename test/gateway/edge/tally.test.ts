import t from 'tap'
import { startTestNode, until } from '../node.js'
import { ackedUpTo, alive, connected, uplinks } from './dialects.js'
import { factsOf } from './facts.js'

t.test('The end of a connection tells', async t => {
  const node = await startTestNode(t)

  t.test('how much went over it, and how fast the client was at best', async t => {
    const { client } = await connected(t, node, 'TCP', 'ann')
    client.sendAll(uplinks(1, 3))
    await ackedUpTo(client, 3)
    const tookMs: number[] = []
    for (const waitMs of [200, 50]) {
      const beforeMs = performance.now()
      await node.push('ann', 'hi')
      const { seq } = await client.next()
      await new Promise(resolve => setTimeout(resolve, waitMs))
      client.send({ op: 'downlinkAck', seq })
      await alive(t, client)
      tookMs.push(performance.now() - beforeMs)
    }
    await node.push('ann', 'never acked')
    await client.next()
    await node.gone(() => { client.destroy() })
    const closed = await until('it has ended', async () => (await factsOf(node, 'ann')).find(isClosed))
    t.match(closed, { uplinks: 3, downlinksWritten: 3, downlinksAcked: 2, writtenSeq: 3, ackedSeq: 2 })
    const leastMs = Math.min(...tookMs)
    t.ok(closed.roundTripMs >= 40 && closed.roundTripMs <= leastMs + 1, `${closed.roundTripMs} of ${leastMs} ms`)
  })

  t.test('nothing of what went over the one before it', async t => {
    const { client } = await connected(t, node, 'TCP', 'ann', { downlinkSeq: 2 })
    t.match(await client.next(), { op: 'downlink', seq: 3 })
    client.sendAll(uplinks(4, 4))
    await ackedUpTo(client, 4)
    client.send({ op: 'downlinkAck', seq: 3 })
    await alive(t, client)
    await node.gone(() => { client.destroy() })
    const closed = await until('it has ended', async () => (await factsOf(node, 'ann')).filter(isClosed)[1])
    t.match(closed, { uplinks: 1, downlinksWritten: 1, downlinksAcked: 1, writtenSeq: 3, ackedSeq: 3 })
  })

  t.test('nothing of one that was idle', async t => {
    const { client } = await connected(t, node, 'TCP', 'idle')
    await node.gone(() => { client.destroy() })
    const closed = await until('it has ended', async () => (await factsOf(node, 'idle')).find(isClosed))
    t.match(closed, { uplinks: 0, downlinksWritten: 0, downlinksAcked: 0, roundTripMs: -1 })
  })
})

t.test('Uplinks over the rate', async t => {
  const node = await startTestNode(t, { LEDGERLINE_FRAME_RATE: '1', LEDGERLINE_FRAME_BURST: '3' })

  t.test('stand in the ledger as refused, once a second however many they are', async t => {
    const { client } = await connected(t, node, 'TCP', 'ann')
    client.sendAll(uplinks(1, 8))
    const refused = await until('it is told', async () => (await factsOf(node, 'ann')).find(isRefused))
    t.match(refused, { code: 'throttled', fromSeq: 4, toSeq: 8, count: 5 })
    client.sendAll(uplinks(9, 10))
    const again = await until('it is told again', async () => (await factsOf(node, 'ann')).filter(isRefused)[1])
    t.match(again, { code: 'throttled', fromSeq: 4, toSeq: 10, count: 2 })
  })

  t.test('stand in the ledger before the end of their connection, if that comes first', async t => {
    const { client } = await connected(t, node, 'TCP', 'bob')
    client.sendAll(uplinks(1, 5))
    while ((await client.next()).op !== 'uplinkRefused');
    client.send({ op: 'ping' })
    while ((await client.next()).op !== 'pong');
    await node.gone(() => { client.destroy() })
    const facts = await until('it has ended', async () => {
      const facts = await factsOf(node, 'bob')
      return facts.some(isClosed) && facts
    })
    t.strictSame(facts.slice(-2).map(({ type }) => type), ['UplinksRefused', 'ConnectionClosed'])
    t.match(facts.at(-2), { fromSeq: 4, toSeq: 5, count: 2 })
  })
})

function isClosed ({ type }: { type: string }): boolean { return type === 'ConnectionClosed' }

function isRefused ({ type }: { type: string }): boolean { return type === 'UplinksRefused' }
