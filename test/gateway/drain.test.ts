import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { takeFrames } from '../../gateway/edge/tcp-frames.js'
import { noReport, nodeRows } from '../../projections/nodes.js'
import { encodeFrame } from '../../schemas/frame-codec.js'
import type { ClientFrame, Frame } from '../../schemas/frames.js'
import { partitionOf } from '../../schemas/partitioning.js'
import { nodes } from '../../schemas/streams.js'
import { BusyClient } from '../faults/busy-client.js'
import { tokenFor, until } from '../faults/node-process.js'
import { tellOfNode } from '../../gateway/node.js'
import { freshMs } from '../../gateway/node-table.js'
import { startTestNode } from './node.js'
import { type TestEdge, TwoEdges } from './two-edges.js'

/** Who is asked last has a quarter of it to go, and another one to arrive: enough where the machine is slow. */
const inTimeMs = 10_000

t.test('A drain', async t => {
  t.test('has every client go on elsewhere, without a gap, and says where each is', async t => {
    const edges = await TwoEdges.start(t)
    const { clients, stop } = await busyOn(t, edges, edges.a, 20)
    const { drainId } = await edges.requestDrain('a', 100, inTimeMs)
    const report = await edges.drained('a', drainId)
    t.match(report, { total: 20, asked: 20, left: 20, closed: 0, resumed: 20, uplinksLost: 0, downlinksLost: 0 })
    const sent = await stop()
    const expected = clients.map(({ userId, connected }) => ({
      userId, closed: false, toNodeId: 'b', toConnectionId: connected!.connectionId, uplinksLost: 0, downlinksLost: 0,
    }))
    const byUser = (a: { userId: string }, b: { userId: string }) => a.userId < b.userId ? -1 : 1
    t.match([...report.moves!].sort(byUser), expected.sort(byUser))
    for (const { cuts, moves, complaints, seen } of clients) {
      t.match({ cuts, moves, complaints }, { cuts: 0, moves: 1, complaints: [] })
      t.strictSame(seen.map(({ messageId }) => messageId), sent, 'each downlink once, in order')
    }
    t.equal(await edges.a.state(), 'draining', 'the node stays as it is until it is stopped, or told otherwise')
    await edges.requestDrain('a', 0, 1_000)
    await until(async () => await edges.a.state() === 'up')
    t.equal(edges.a.role.draining, 0)
  })

  t.test('behind one URL asks its clients, at a pace, to connect again', async t => {
    const edges = await TwoEdges.start(t, {}, true)
    const { clients, stop } = await busyOn(t, edges, { tcp: edges.a.url, http: '' }, 40)
    const before = edges.a.role.connections
    t.equal(before, 20, 'the balancer deals them out')
    const seen = new Set<number>()
    const sampling = setInterval(() => { seen.add(edges.a.role.connections) }, 20)
    t.teardown(() => { clearInterval(sampling) })
    await edges.a.drains.leave(inTimeMs)
    clearInterval(sampling)
    t.equal(edges.b.role.connections, 40)
    t.match(await edges.drained('a'), { total: 20, asked: 20, left: 20, closed: 0, resumed: 20, uplinksLost: 0 })
    t.ok(seen.size > 5, 'not all at once')
    const sent = await stop()
    for (const { cuts, complaints, seen } of clients) {
      t.match({ cuts, complaints }, { cuts: 0, complaints: [] })
      t.strictSame(seen.map(({ messageId }) => messageId), sent, 'each downlink once, in order')
    }
  })

  t.test('of a part has so many go, and the node go on', async t => {
    const edges = await TwoEdges.start(t)
    const { clients } = await busyOn(t, edges, edges.a, 10)
    const { drainId } = await edges.requestDrain('a', 25, inTimeMs)
    const none = { closed: 0, uplinksLost: 0, downlinksLost: 0 }
    t.match(await edges.drained('a', drainId), { total: 3, left: 3, resumed: 3, ...none })
    t.equal(clients.filter(({ moves }) => moves === 1).length, 3)
    t.equal(edges.a.role.connections, 7)
    t.equal(await edges.a.state(), 'up')
  })

  t.test('closes who does not go, once what he has sent is acked', async t => {
    const edges = await TwoEdges.start(t)
    const client = await Stubborn.open(t, edges.a)
    const { drainId } = await edges.requestDrain('a', 100, 1_500)
    await until(() => client.frames.some(({ op }) => op === 'migrate'))
    t.match(client.frames.at(-1), { op: 'migrate', endpoints: [edges.b.tcp], withinMs: Number })
    const sending = setInterval(() => { for (let i = 0; i < 50; i++) client.uplink() }, 1)
    await until(() => client.ended)
    clearInterval(sending)
    t.match(client.frames.at(-1), { op: 'error', code: 'migrating' })
    const none = { resumed: 0, uplinksLost: 0, downlinksLost: 0 }
    t.match(await edges.drained('a', drainId), { total: 1, left: 1, closed: 1, ...none })
    const acked = client.frames.findLast(frame => frame.op === 'uplinkAck')
    t.ok(acked && acked.seq > 100, 'uplinks were acked until the end')
    const { uplinkSeq } = await Stubborn.open(t, edges.b).then(({ connected }) => connected)
    t.equal(uplinkSeq, acked!.seq, 'and what was taken from it was acked')
  })

  t.test('sends newcomers to other nodes', async t => {
    const edges = await TwoEdges.start(t)
    await Stubborn.open(t, edges.a)
    await edges.requestDrain('a', 100, 60_000)
    await until(() => edges.a.role.draining === 100)
    const client = new BusyClient({ userId: 'late', deviceId: 'd', transport: 'tcp', outstanding: 1 })
    t.teardown(() => { client.stop() })
    t.equal(await client.open(edges.a), false)
    const redirect = { op: 'redirect', code: 'redirected', endpoints: [edges.b.tcp] }
    t.match(client.complaints.map(text => JSON.parse(text)), [redirect])
    t.equal(await client.open(edges.b), true)
  })

  t.test('counts the members of rooms that left with their connections', async t => {
    const edges = await TwoEdges.start(t)
    const client = await Stubborn.open(t, edges.a, 'ann', { '*': 'r' })
    for (const roomId of ['one', 'two', 'three']) client.send({ op: 'join', roomId, roomSeq: -1 })
    client.send({ op: 'leave', roomId: 'two' })
    await until(() => client.frames.some(({ op }) => op === 'left'))
    await edges.requestDrain('a', 100, 1_000)
    const report = await edges.drained('a')
    t.match(report, { left: 1, closed: 1, members: 2, membersResumed: 0, moves: [{ rooms: 2 }] })
  })

  t.test('names a node that has only just come to who is sent away', async t => {
    const edges = await TwoEdges.start(t)
    const { log, tables } = edges.stores
    await tellOfNode(log, { nodeId: 'b', epoch: Date.now() + 1 }, { type: 'NodeStopped' }) // of an epoch without an address
    await new Promise(resolve => setTimeout(resolve, freshMs))
    await until(async () => {
      await edges.a.nodeTable.rows(0)
      return !edges.a.role.hasElsewhere()
    })
    edges.a.role.draining = 100
    await new Promise(resolve => setTimeout(resolve, freshMs + 10)) // the copy is old, and nobody makes a new one
    const tcpUrl = 'tcp://127.0.0.1:9'
    await tellOfNode(log, { nodeId: 'c', epoch: 1 }, {
      type: 'NodeStarted', region: 'local', roles: 'edge', version: '1', wsUrl: '', tcpUrl, connectionsMax: 9, leaseMs: 60_000,
    })
    await until(async () => (await tables.get('nodes', partitionOf('c', log.partitions(nodes)), 'c')).size > 0)
    const client = new BusyClient({ userId: 'late', deviceId: 'd', transport: 'tcp', outstanding: 1 })
    t.teardown(() => { client.stop() })
    t.equal(await client.open(edges.a), false)
    t.match(client.complaints.map(text => JSON.parse(text)), [{ op: 'redirect', endpoints: [tcpUrl] }])
  })

  t.test('that is ended leaves in peace who has not gone', async t => {
    const edges = await TwoEdges.start(t)
    const client = await Stubborn.open(t, edges.a)
    await edges.requestDrain('a', 100, 5_000)
    await until(() => client.frames.some(({ op }) => op === 'migrate'))
    await edges.requestDrain('a', 0, 1_000)
    await until(() => edges.a.role.draining === 0)
    await new Promise(resolve => setTimeout(resolve, 5_000))
    t.equal(client.ended, false)
    t.equal(await edges.a.state(), 'up')
  })

  t.test('can not be asked for where clients have nowhere to go, or of what is no edge', async t => {
    const edges = await TwoEdges.start(t)
    await t.rejects(edges.requestDrain('c', 100, 1_000), { code: 'not-found' })
    await Stubborn.open(t, edges.a)
    await edges.requestDrain('a', 100, 60_000)
    await until(async () => await edges.a.state() === 'draining')
    await t.rejects(edges.requestDrain('b', 100, 1_000), { code: 'bad-request', message: /nowhere to go/ })
  })

  t.test('can be asked for as soon as another edge is up, however often the node was asked before', async t => {
    const edges = await TwoEdges.start(t)
    await edges.requestDrain('b', 100, 1_000)
    await until(async () => await edges.b.state() === 'draining')
    await edges.requestDrain('b', 0, 1_000)
    await until(async () => {
      await edges.a.nodeTable.rows()
      return (await nodeOf(edges, 'b'))?.state === 'up'
    })
    t.match(await edges.requestDrain('a', 100, 1_000), { nodeId: 'a' })
  })
})

/** From the table itself, without a copy of it. */
async function nodeOf ({ stores: { tables } }: TwoEdges, nodeId: string) {
  const rows = []
  for await (const row of tables.scan('nodes')) rows.push(row)
  return nodeRows(rows, Date.now()).find(row => row.nodeId === nodeId)
}

t.test('An edge that wants nobody', async t => {
  t.test('for it is full, names the others', async t => {
    const edges = await TwoEdges.start(t, { LEDGERLINE_CONNECTIONS_MAX: '1' })
    await Stubborn.open(t, edges.a)
    await t.rejects(Stubborn.open(t, edges.a, 'bob'), { message: new RegExp(`redirect.*"${edges.b.tcp}"`) })
  })

  t.test('for it is too busy, names the others, but lets in who would have nowhere to go', async t => {
    const edges = await TwoEdges.start(t)
    const load = { ...noReport, connections: 1, eventLoopUtilization: 0.99, rssBytes: 1, memoryBytesMax: 100 }
    const partition = partitionOf('a', 2)
    const { epoch } = (await edges.a.nodeTable.rows()).rows.find(({ nodeId }) => nodeId === 'a')!
    const fact = { type: 'NodeReported', ...load } as const
    await edges.stores.log.append(nodes, partition, [{ nodeId: 'a', epoch, atMs: Date.now(), fact }])
    await edges.a.state()
    await t.rejects(Stubborn.open(t, edges.a), { message: new RegExp(`redirect.*"${edges.b.tcp}"`) })
    await Stubborn.open(t, edges.b, 'bob')
    edges.b.drains.requested({ drainId: 'd', percent: 50, withinMs: 60_000, atMs: Date.now() })
    await until(async () => await edges.a.state() === 'up' && await edges.b.state() === 'draining')
    t.match(await Stubborn.open(t, edges.a), { connected: { nodeId: 'a' } })
  })
})

t.test('A node that stops', async t => {
  t.test('drains first, and its report stays', async t => {
    const edges = await TwoEdges.start(t)
    const { clients } = await busyOn(t, edges, edges.a, 10)
    await edges.a.drains.leave(inTimeMs)
    t.match(await edges.drained('a'), { total: 10, left: 10, closed: 0, resumed: 10, uplinksLost: 0, downlinksLost: 0 })
    t.ok(clients.every(({ moves, cuts }) => moves === 1 && cuts === 0))
  })

  t.test('waits for nobody when all others stop too', async t => {
    const edges = await TwoEdges.start(t)
    const clients = [await Stubborn.open(t, edges.a), await Stubborn.open(t, edges.b, 'bob')]
    await Promise.all([edges.a.drains.leave(600_000), edges.b.drains.leave(600_000)])
    await until(() => clients.every(({ ended }) => ended))
    for (const { frames } of clients) t.match(frames.at(-1), { op: 'error', code: 'migrating' })
  })
})

t.test('A node on its own', async t => {
  t.test('refuses to drain over HTTP, and has no report', async t => {
    const node = await startTestNode(t)
    const path = `/v1/nodes/${node.nodeId}/drain`
    t.match(await node.request('POST', path, { percent: 50 }), { status: 400, json: { code: 'bad-request', message: /nowhere/ } })
    t.match(await node.request('POST', path, { percent: 101 }), { status: 400, json: { message: /percent/ } })
    t.match(await node.request('POST', '/v1/nodes/n9/drain', {}), { status: 404, json: { code: 'not-found' } })
    t.match(await node.request('POST', path, { percent: 0 }), { status: 202, json: { nodeId: node.nodeId, drainId: String } })
    t.match(await node.request('GET', path), { status: 404, json: { code: 'not-found' } })
    t.strictSame(node.logged, [])
  })
})

t.test('A connection of age', async t => {
  t.test('is asked to move, and closed where it does not', async t => {
    const edges = await TwoEdges.start(t, { LEDGERLINE_CONNECTION_AGE_MAX_MS: '2000', LEDGERLINE_HEARTBEAT_MS: '1000' })
    const beforeMs = performance.now()
    const client = await Stubborn.open(t, edges.a)
    const beats = setInterval(() => { client.send({ op: 'ping', downlinkSeq: 0, silentMs: 0 }) }, 500)
    t.teardown(() => { clearInterval(beats) })
    await until(() => client.frames.some(({ op }) => op === 'migrate'))
    t.ok(performance.now() - beforeMs >= 1_600, 'not before four fifths of the age')
    t.match(client.frames.find(({ op }) => op === 'migrate'), { withinMs: 500, endpoints: [edges.b.tcp] })
    await until(() => client.ended)
    t.match(client.frames.at(-1), { op: 'error', code: 'migrating' })
  })
})

/** Clients on one edge that never rest, and downlinks for them; `stop` ends both and tells what was sent to each. */
async function busyOn (t: Test, edges: TwoEdges, edge: Pick<TestEdge, 'tcp' | 'http'>, count: number) {
  const clients = Array.from({ length: count }, (_, i) =>
    new BusyClient({ userId: `user${i}`, deviceId: 'phone', transport: 'tcp', outstanding: 4 }))
  t.teardown(() => { for (const client of clients) client.stop() })
  await Promise.all(clients.map(client => client.open(edge)))
  await until(() => clients.every(({ acked }) => acked.size > 0))
  const userIds = clients.map(({ userId }) => userId)
  const sent: string[] = []
  const sending = setInterval(() => {
    sent.push(`m${sent.length}`)
    edges.send(userIds, sent.at(-1)!)
  }, 20)
  t.teardown(() => { clearInterval(sending) })
  return {
    clients,
    async stop () {
      clearInterval(sending)
      for (const client of clients) client.busy = false
      await until(() => clients.every(({ unacked, seen }) => unacked === 0 && seen.length >= sent.length))
      return sent
    },
  }
}

/** A client that hears `migrate` and stays. */
class Stubborn {
  readonly frames: Frame[] = []
  ended = false
  connected!: Frame & { op: 'connected' }
  #seq = 0
  #rest = Buffer.alloc(0)
  readonly #socket

  static async open (t: Test, edge: TestEdge, userId = 'ann', rooms = {}): Promise<Stubborn> {
    const client = new Stubborn(Number(new URL(edge.tcp).port))
    t.teardown(() => { client.#socket.destroy() })
    const token = await tokenFor(userId, { rooms })
    client.send({ op: 'connect', token, deviceId: 'd', platform: '', client: '', sessionId: 's', downlinkSeq: 0 })
    await until(() => client.frames.length > 0)
    const [connected] = client.frames
    if (connected?.op !== 'connected') throw new Error(`connect was answered with ${JSON.stringify(connected)}`)
    client.connected = connected
    return client
  }

  private constructor (port: number) {
    this.#socket = connect({ host: '127.0.0.1', port })
    this.#socket.on('data', chunk => {
      const { partial } = takeFrames(Buffer.concat([this.#rest, chunk]), 1 << 20, this.frames)
      this.#rest = Buffer.from(partial ?? [])
    })
    this.#socket.on('end', () => { this.ended = true })
    this.#socket.on('error', () => {})
  }

  send (frame: ClientFrame): void {
    const bytes = Buffer.alloc(2048)
    const end = encodeFrame(frame, bytes, 4)
    bytes.writeUInt32BE(end - 4, 0)
    this.#socket.write(bytes.subarray(0, end))
  }

  uplink (): void {
    this.send({ op: 'uplink', seq: ++this.#seq, service: '', payload: Buffer.from('up'), priority: 0, roomId: '' })
  }
}
