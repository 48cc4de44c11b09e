import type { Cluster, Redis } from 'ioredis'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import type { AckKnown } from '../../actors/group-links.js'
import type { ConnectionMessage, NotHere, Resync, SharedSignal } from '../../actors/links.js'
import type { AskMembers, RoomMessage, RoomQuestion } from '../../actors/room-links.js'
import { redisLinks, type RedisLinks, type RedisLinksOptions } from '../../actors/links-redis.js'
import type { Health } from '../../schemas/conditions.js'
import { connectRedis, subscriberOf } from '../../gateway/redis.js'
import { redisMissing, startRedis, startRedisCluster, type TestRedis } from '../cluster/redis.js'
import { until } from './given.js'

const missing = redisMissing()
let server: TestRedis
let prefixes = 0
if (missing) {
  t.plan(0, missing)
} else {
  server = await startRedis(t)
  await all(t)
}

/** A node with everything that arrives at it. Nobody is connected to it but `here`. */
interface Node {
  readonly links: RedisLinks
  readonly publisher: Redis | Cluster
  readonly heard: ConnectionMessage[]
  readonly asked: Resync[]
  readonly sentBack: NotHere[]
  readonly failures: string[]
  /** Of the condition `links`. */
  readonly lasting: Set<string>
  /** Why it ever began. */
  readonly reasons: string[]
  readonly here: Set<string>
}

async function startNode (
  t: Test, at: string, prefix: string, nodeId: string, overrides: Partial<RedisLinksOptions> = {}
): Promise<Node> {
  const publisher = await connectRedis(at, { commandTimeoutMs: 2_000 })
  t.teardown(() => { publisher.disconnect() })
  const subscriber = await subscriberOf(publisher)
  t.teardown(() => { subscriber.disconnect() })
  const failures: string[] = []
  const failed = (what: string) => { failures.push(what) }
  const lasting = new Set<string>()
  const reasons: string[] = []
  const health: Health = {
    begin (_name, reason, what = '') {
      reasons.push(reason)
      lasting.add(what)
    },
    end (_name, what = '') { lasting.delete(what) },
  }
  const links = await redisLinks({ publisher, subscriber, prefix, nodeId, health, failed, ...overrides })
  t.teardown(() => links.stop())
  const node: Node = {
    links, publisher, heard: [], asked: [], sentBack: [], failures, lasting, reasons, here: new Set(['c1', 'c2']),
  }
  links.connections = message => {
    node.heard.push(message)
    return node.here.has(message.connectionId)
  }
  links.users = question => { if (question.type === 'resync') node.asked.push(question) }
  links.notHere = answer => { node.sentBack.push(answer) }
  return node
}

async function twoNodes (t: Test, at = server.url, overrides?: Partial<RedisLinksOptions>): Promise<[Node, Node]> {
  const prefix = `test${++prefixes}`
  return [await startNode(t, at, prefix, 'a', overrides), await startNode(t, at, prefix, 'b', overrides)]
}

function ack (nodeId: string, seq: number): ConnectionMessage {
  return { type: 'ackUplinks', nodeId, connectionId: 'c1', seq, userSeqs: [seq] }
}

function question (nodeId: string, partition: number, userId = 'u1'): Resync {
  return {
    type: 'resync',
    userId,
    partition,
    nodeId,
    connectionId: 'c1',
    welcomed: true,
    uplinkSeq: 1,
    downlinkSeq: 2,
    bytesMax: 1000,
  }
}

function signalOf (bytes: number): SharedSignal {
  return { service: 'chat', payload: Buffer.alloc(bytes, 7), encoded: new Map() }
}

/** Sends acks, each with the next seq, until one arrives. */
async function untilHeard (from: Node, to: Node, toNodeId: string): Promise<void> {
  const before = to.heard.length
  let seq = 1_000_000
  await until(async () => {
    from.links.toConnection(ack(toNodeId, seq++))
    await new Promise(resolve => setTimeout(resolve, 20))
    return to.heard.length > before
  })
}

/** Between a node and Redis, so that the way can be cut, or end in silence. */
async function startProxy (t: Test): Promise<{ url: string, cut (): Promise<void>, mend (): void, freeze (): void }> {
  const sockets = new Set<Socket>()
  const proxy = createServer(socket => {
    const onward = connect(Number(new URL(server.url).port), '127.0.0.1')
    for (const end of [socket, onward]) {
      sockets.add(end)
      end.on('error', () => {})
      end.on('close', () => {
        sockets.delete(end)
        socket.destroy()
        onward.destroy()
      })
    }
    socket.pipe(onward).pipe(socket)
  })
  const destroy = () => { for (const socket of sockets) socket.destroy() }
  proxy.listen(0, '127.0.0.1')
  t.teardown(() => {
    proxy.close()
    destroy()
  })
  await once(proxy, 'listening')
  const { port } = proxy.address() as AddressInfo
  return {
    url: `redis://127.0.0.1:${port}`,
    async cut () {
      destroy()
      await new Promise(resolve => proxy.close(resolve))
    },
    mend () { proxy.listen(port, '127.0.0.1') },
    freeze () {
      for (const socket of sockets) {
        socket.unpipe()
        socket.pause()
      }
    },
  }
}

async function all (t: Test) {
  const { url, pid } = server
  t.test('messages between nodes', async t => {
    for (const kind of ['one Redis', 'a Redis Cluster']) {
      t.test(`arrive equal and in order over ${kind}`, async t => {
        const at = kind === 'one Redis' ? url : (await startRedisCluster(t)).url
        const [a, b] = await twoNodes(t, at)
        const to = { nodeId: 'b', connectionId: 'c1' }
        const downlink = { messageId: 'm1', service: 'chat', payload: Buffer.from('hi'), requestedAtMs: 1 }
        const messages: ConnectionMessage[] = [
          { type: 'welcome', ...to, resumed: true, uplinkSeq: 1, downlinkSeq: 2, lastSeq: 3, missed: 0 },
          { type: 'deliver', ...to, seq: 3, downlink },
          { type: 'ackUplinks', ...to, seq: 7, userSeqs: [4, 5] },
          { type: 'refuseUplink', ...to, expectedSeq: 8, code: 'gap' },
          { type: 'gone', ...to },
          { type: 'closeConnection', ...to, code: 'superseded', reason: 'newer', by: '' },
        ]
        for (const message of messages) a.links.toConnection(message)
        for (let seq = 1; seq <= 20_000; seq++) a.links.toConnection(ack('b', seq))
        await until(() => b.heard.length >= 20_006)
        t.strictSame(b.heard.slice(0, 6), messages)
        t.ok(b.heard.slice(6).every((message, i) => message.type === 'ackUplinks' && message.seq === i + 1))
        await until(() => a.links.metrics.sent === 20_006)
        t.match(b.links.metrics, { received: 20_006, undecoded: 0 })

        await Promise.all([1, 2, 3, 4, 5].map(partition => b.links.owns('ledger', partition)))
        for (const partition of [1, 2, 3, 4, 5]) a.links.toUser(question('a', partition))
        await until(() => b.asked.length === 5)
        t.strictSame(b.asked.map(({ partition }) => partition).sort(), [1, 2, 3, 4, 5])
        t.strictSame([a.failures, b.failures], [[], []])
      })
    }
    t.test('of one tick are one publish', async t => {
      const [a, b] = await twoNodes(t)
      let publishes = 0
      const { spublish } = a.publisher
      a.publisher.spublish = (...args: any[]) => { publishes++; return (spublish as any).apply(a.publisher, args) }
      for (let seq = 1; seq <= 100; seq++) a.links.toConnection(ack('b', seq))
      await until(() => b.heard.length === 100)
      t.equal(publishes, 1)
    })
    t.test('of one tick that are many bytes are several publishes, none of which is longer than a message too many', async t => {
      const [a, b] = await twoNodes(t)
      const lengths: number[] = []
      const { spublish } = a.publisher
      a.publisher.spublish = (...args: any[]) => {
        lengths.push(args[1].length)
        return (spublish as any).apply(a.publisher, args)
      }
      for (let i = 0; i < 100; i++) {
        a.links.toConnection({ type: 'signal', nodeId: 'b', connectionId: 'c1', signal: signalOf(60_000) })
      }
      await until(() => b.heard.length === 100)
      t.equal(a.links.metrics.dropped, 0)
      t.ok(lengths.length >= 6_000_000 / (640 << 10), `${lengths.length} publishes`)
      t.ok(lengths.every(length => length < 640 << 10), `${lengths.join()} bytes`)
    })
    t.test('of one signal carry it once, and arrive with one object', async t => {
      const [a, b] = await twoNodes(t)
      const signal = signalOf(400_000) // ten of them would be many batches
      for (let i = 0; i < 10; i++) {
        a.links.toConnection({ type: 'signal', nodeId: 'b', connectionId: `c${1 + i % 2}`, signal })
      }
      await until(() => b.heard.length === 10)
      const signals = b.heard.map(message => message.type === 'signal' && message.signal)
      t.equal(new Set(signals).size, 1)
      t.same((signals[0] as SharedSignal).payload, signal.payload)
      t.equal(a.links.metrics.dropped, 0)
    })
    t.test('that can not be decoded are counted and reported, and the next ones arrive', async t => {
      const [a, b] = await twoNodes(t)
      await a.publisher.spublish(`test${prefixes}:node:b`, Buffer.from('nonsense'))
      await untilHeard(a, b, 'b')
      t.equal(b.links.metrics.undecoded, 1)
      t.strictSame(b.failures, ['a link batch could not be decoded'])
    })
    t.test('that break their receiver do not break the connection to Redis', async t => {
      const [a, b] = await twoNodes(t)
      const { connections } = b.links
      b.links.connections = () => { throw new Error('a defect') }
      a.links.toConnection(ack('b', 1))
      await until(() => b.failures.length > 0)
      b.links.connections = connections
      await untilHeard(a, b, 'b')
      t.strictSame(b.failures, ['a link message could not be handled'])
    })
  })

  t.test('a message to this very node', async t => {
    t.test('is a call', async t => {
      const [a] = await twoNodes(t)
      await a.links.owns('ledger', 1)
      a.publisher.disconnect()
      a.links.toConnection(ack('a', 1))
      a.links.toUser(question('a', 1))
      t.strictSame(a.heard, [ack('a', 1)])
      t.strictSame(a.asked, [question('a', 1)])
      t.match(a.links.metrics, { sent: 0, dropped: 0, received: 0 })
      t.notOk(a.links.mayLose('a'), 'and can not be lost')
      t.ok(a.links.mayLose('b'))
    })
    t.test('is answered as well when it is a signal for nobody', async t => {
      const [a] = await twoNodes(t)
      const signal = signalOf(1)
      a.links.toConnection({ type: 'signal', nodeId: 'a', connectionId: 'gone', signal })
      t.strictSame(a.sentBack, [{ type: 'notHere', nodeId: 'a', connectionId: 'gone', signal }])
      t.equal(a.sentBack[0]!.signal, signal)
    })
  })

  t.test('a question', async t => {
    t.test('reaches the owner of the partition, and after `disowns` no longer', async t => {
      const [a, b] = await twoNodes(t)
      await b.links.owns('ledger', 7)
      a.links.toUser(question('a', 7, 'first'))
      await until(() => b.asked.length === 1)
      t.strictSame(b.asked, [question('a', 7, 'first')])
      b.links.disowns('ledger', 7)
      a.links.toUser(question('a', 7, 'second'))
      await until(() => a.links.metrics.dropped === 1) // nobody listens
      await b.links.owns('ledger', 7)
      a.links.toUser(question('a', 7, 'third'))
      await until(() => b.asked.length === 2)
      t.equal(b.asked[1]!.userId, 'third')
    })
    t.test('reaches both owners where there are two', async t => {
      const [a, b] = await twoNodes(t)
      const c = await startNode(t, url, `test${prefixes}`, 'c')
      await Promise.all([b.links.owns('ledger', 7), c.links.owns('ledger', 7)])
      a.links.toUser(question('a', 7))
      await until(() => b.asked.length === 1 && c.asked.length === 1)
    })
    t.test('for a partition whose channel could not be subscribed arrives once it can', async t => {
      const proxy = await startProxy(t)
      const [a] = await twoNodes(t)
      const b = await startNode(t, proxy.url, `test${prefixes}`, 'b')
      await proxy.cut()
      await b.links.owns('ledger', 7)
      t.ok(b.reasons.some(reason => reason.startsWith('it could not be subscribed')))
      proxy.mend()
      await until(async () => {
        a.links.toUser(question('a', 7))
        await new Promise(resolve => setTimeout(resolve, 20))
        return b.asked.length > 0
      })
    })
  })

  t.test('what is about a room', async t => {
    const roomId = 'chat:7'
    const posts = [{
      roomSeq: 1, messageId: 'm1', from: 'ann', service: '', payload: Buffer.from('hi'), postedAtMs: 5, encoded: new Map(),
    }]
    const roomPosts: RoomMessage = { type: 'roomPosts', nodeId: 'b', roomId, posts }
    const question = (partition: number): RoomQuestion =>
      ({ type: 'askRoomInfo', roomId, partition, nodeId: 'a', askId: 7, asOf: 3n })
    t.test('reaches the node with its members, and questions who owns the partition of rooms', async t => {
      const [a, b] = await twoNodes(t)
      const members: Array<RoomMessage | AskMembers> = []
      const asked: RoomQuestion[] = []
      const known: unknown[] = []
      b.links.members = message => { members.push(message) }
      b.links.rooms = asking => { asked.push(asking) }
      a.links.roomKnown = answer => { known.push(answer) }
      a.links.postsKnown = answer => { known.push(answer) }
      a.links.membersKnown = answer => { known.push(answer) }
      await b.links.owns('ledger', 7)
      await b.links.owns('rooms', 8)
      a.links.toMembers(roomPosts)
      const ask: AskMembers = { type: 'askMembers', nodeId: 'b', askNodeId: 'a', askId: 9, roomId, after: '', limit: 10 }
      a.links.toMembers(ask)
      a.links.toRoom(question(7)) // b owns this one of the ledger alone
      a.links.toRoom(question(8))
      const askPosts: RoomQuestion = { type: 'askPosts', roomId, partition: 8, nodeId: 'a', askId: 8, afterSeq: 0, postsMax: 9, asOf: 3n }
      a.links.toRoom(askPosts)
      await until(() => members.length === 2 && asked.length === 2)
      t.strictSame(members, [roomPosts, ask])
      t.strictSame(asked, [question(8), askPosts])
      const answers = [
        { type: 'roomKnown', nodeId: 'a', askId: 7, roomSeq: 1, keptAfter: 0, nodes: ['b'], closed: false },
        { type: 'postsKnown', nodeId: 'a', askId: 8, keptAfter: 0, posts },
        { type: 'membersKnown', nodeId: 'a', askId: 9, members: [], total: 0 },
      ] as const
      for (const answer of answers) b.links.toAsker(answer)
      await until(() => known.length === 3)
      t.strictSame(known, answers)
    })
    t.test('is a call where it is for this very node', async t => {
      const [a] = await twoNodes(t)
      const heard: unknown[] = []
      a.links.members = message => { heard.push(message) }
      a.links.rooms = asking => { heard.push(asking) }
      await a.links.owns('rooms', 1)
      a.links.toMembers({ ...roomPosts, nodeId: 'a' })
      a.links.toRoom(question(1))
      t.strictSame(heard, [{ ...roomPosts, nodeId: 'a' }, question(1)])
    })
  })

  t.test('a signal', async t => {
    t.test('whose connection is not there is answered to its sender alone', async t => {
      const [a, b] = await twoNodes(t)
      const signal = signalOf(10)
      for (const connectionId of ['c1', 'gone', 'c2']) {
        a.links.toConnection({ type: 'signal', nodeId: 'b', connectionId, signal })
      }
      a.links.toConnection({ type: 'gone', nodeId: 'b', connectionId: 'gone' }) // others are not answered
      await until(() => a.sentBack.length === 1 && b.heard.length === 4)
      t.strictSame(a.sentBack, [{ type: 'notHere', nodeId: 'b', connectionId: 'gone', signal }])
      t.equal(a.sentBack[0]!.signal, signal)
      t.equal(b.links.metrics.notHere, 1)
      t.strictSame(b.sentBack, [])
    })
    t.test('to a node that does not listen is answered by Redis', async t => {
      const [a] = await twoNodes(t)
      const signal = signalOf(10)
      a.links.toConnection({ type: 'signal', nodeId: 'stopped', connectionId: 'c1', signal })
      await until(() => a.sentBack.length === 1)
      t.strictSame(a.sentBack, [{ type: 'notHere', nodeId: 'stopped', connectionId: 'c1', signal }])
      t.equal(a.links.metrics.dropped, 1)
    })
  })

  t.test('an ack to a node that does not listen is answered at once, by Redis', async t => {
    const [a] = await twoNodes(t)
    const answers: AckKnown[] = []
    a.links.ackKnown = answer => { answers.push(answer) }
    a.links.toReaders({
      type: 'askAck',
      nodeId: 'stopped',
      askNodeId: 'a',
      askId: 7,
      app: '',
      group: 'orders',
      stream: 'posts',
      partition: 3,
      next: 7n,
      index: 0,
      epoch: 5,
    })
    await until(() => answers.length === 1)
    t.strictSame(answers, [{ type: 'ackKnown', nodeId: 'a', askId: 7, code: 'not-leased' }])
  })

  t.test('while Redis is away', async t => {
    t.test('messages are dropped and counted, later ones arrive', async t => {
      const proxy = await startProxy(t)
      const [a, b] = await twoNodes(t, proxy.url)
      await b.links.owns('ledger', 7)
      await proxy.cut()
      for (let seq = 1; seq <= 100; seq++) {
        a.links.toConnection(ack('b', seq))
        a.links.toUser(question('a', 7))
        await new Promise(resolve => setTimeout(resolve, 20))
      }
      t.strictSame([b.heard, b.asked], [[], []])
      t.ok(a.links.metrics.dropped >= 198, `${a.links.metrics.dropped} dropped`)
      t.ok(a.lasting.has('messages to other nodes'), 'which is told')
      proxy.mend()
      await untilHeard(a, b, 'b')
      await until(async () => {
        a.links.toUser(question('a', 7))
        await new Promise(resolve => setTimeout(resolve, 20))
        return b.asked.length > 0
      })
      await untilHeard(b, a, 'a')
      await until(() => !a.lasting.has('messages to other nodes'))
      t.strictSame(a.failures, [], 'by a condition with a beginning and an end, and by no line for each')
    })
    t.test('that it is back is found out also while there is nothing to send', async t => {
      const proxy = await startProxy(t)
      const [a] = await twoNodes(t, proxy.url)
      await proxy.cut()
      a.links.toConnection(ack('b', 1))
      await until(() => a.lasting.has('messages to other nodes'))
      proxy.mend()
      await until(() => !a.lasting.has('messages to other nodes'))
      t.equal(a.links.metrics.dropped, 1)
    })
    t.test('what finds out that it is back is not the first message', async t => {
      const proxy = await startProxy(t)
      const prefix = `test${++prefixes}`
      const a = await startNode(t, proxy.url, prefix, 'a')
      const b = await startNode(t, url, prefix, 'b')
      await proxy.cut()
      a.links.toConnection(ack('b', 1))
      await until(() => a.links.metrics.dropped === 1)
      proxy.mend()
      await until(() => a.publisher.status === 'ready')
      a.links.toConnection(ack('b', 2))
      await until(() => b.heard.length > 0)
      t.strictSame(b.heard, [ack('b', 2)])
    })
    t.test('nothing piles up: what is pending is bounded, and a frozen Redis gets almost nothing more', async t => {
      const pendingBytesMax = 1 << 20
      const [a, b] = await twoNodes(t, url, { pendingBytesMax })
      let bytes = 0
      const { spublish } = a.publisher
      a.publisher.spublish = (...args: any[]) => {
        bytes += args[1].length
        return (spublish as any).apply(a.publisher, args)
      }
      process.kill(pid, 'SIGSTOP')
      t.teardown(() => { process.kill(pid, 'SIGCONT') })
      const endMs = performance.now() + 2_000
      let sent = 0
      while (performance.now() < endMs || sent < 500) {
        for (let i = 0; i < 10; i++, sent++) {
          const signal = signalOf(60_000)
          a.links.toConnection({ type: 'signal', nodeId: 'b', connectionId: 'c1', signal })
        }
        await new Promise(resolve => setTimeout(resolve, 5))
      }
      t.ok(bytes <= pendingBytesMax + 1_000, `${bytes} of ${sent * 60_000} bytes published`)
      t.ok(a.links.metrics.dropped > 100)
      process.kill(pid, 'SIGCONT')
      await untilHeard(a, b, 'b')
    })
  })

  t.test('a node whose subscriber is connected to silence subscribes anew', async t => {
    const proxy = await startProxy(t)
    const [a] = await twoNodes(t)
    const behind = await connectRedis(proxy.url)
    t.teardown(() => { behind.disconnect() })
    const b = await startNode(t, url, `test${prefixes}`, 'behind', { subscriber: behind, helloEveryMs: 200 })
    await untilHeard(a, b, 'behind')
    proxy.freeze()
    await untilHeard(a, b, 'behind')
    t.match(b.reasons[0], /own messages are not heard/)
  })

  t.test('stop', async t => {
    t.test('sends what is collected first, and drops what comes later', async t => {
      const [a, b] = await twoNodes(t)
      a.links.toConnection(ack('b', 1))
      await a.links.stop()
      a.links.toConnection(ack('b', 2))
      await until(() => b.heard.length === 1)
      t.match(a.links.metrics, { sent: 1, dropped: 1 })
    })
    t.test('leaves the channels', async t => {
      const [a, b] = await twoNodes(t)
      await b.links.owns('ledger', 7)
      await b.links.stop()
      t.equal(await a.publisher.spublish(`test${prefixes}:node:b`, ''), 0)
      t.equal(await a.publisher.spublish(`test${prefixes}:partition:7`, ''), 0)
    })
  })
}
