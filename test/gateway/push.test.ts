import t from 'tap'
import { type ConnectionMessage, localLinks, type SharedSignal } from '../../actors/links.js'
import { Push } from '../../gateway/push.js'
import { parsePosition, type Position } from '../../ledger/log.js'
import { routing } from '../../projections/routing.js'
import { GatewayError } from '../../schemas/errors.js'
import type { Entry } from '../../schemas/facts.js'
import type { DownlinkCommand } from '../../schemas/records.js'
import { bytesOfValue } from '../../schemas/sizes.js'
import type { Stream } from '../../schemas/streams.js'
import { until } from '../faults/node-process.js'
import { closed, opened } from '../projections/given.js'
import { MemoryLog } from '../projections/memory-log.js'
import { MemoryTables } from '../projections/memory-tables.js'

t.test('A signal that its node could not hand on', async t => {
  t.test('goes to the connection that has taken the place of the one it was for', async t => {
    const { push, links, sent, write } = given()
    await write(opened('ann', 'c1', { nodeId: 'n1' }), opened('ann', 'c2', { nodeId: 'n2' }))
    t.match(await push.push(signal), { users: [{ status: 'sent' }] })
    t.strictSame(sent.map(whither), ['c1 at n1', 'c2 at n2'])
    await write(closed('ann', 'c1'), opened('ann', 'c3', { nodeId: 'n2' }))
    links.notHere({ type: 'notHere', nodeId: 'n1', connectionId: 'c1', signal: signalOf(sent) })
    await until(() => sent.length > 2)
    t.strictSame(sent.slice(2).map(whither), ['c3 at n2'], 'and to no other again')
    t.equal(signalOf(sent.slice(2)), signalOf(sent), 'as the very object, which is encoded once')
  })

  t.test('is looked for once more and no further', async t => {
    const { push, links, sent, write } = given()
    await write(opened('ann', 'c1', { nodeId: 'n1' }))
    await push.push(signal)
    links.notHere({ type: 'notHere', nodeId: 'n1', connectionId: 'c1', signal: signalOf(sent) })
    links.notHere({ type: 'notHere', nodeId: 'n1', connectionId: 'nobody', signal: signalOf(sent) })
    await new Promise(resolve => setTimeout(resolve, 700))
    t.equal(sent.length, 1)
  })
})

const signal: DownlinkCommand = {
  messageId: 'm1',
  userIds: ['ann'],
  service: '',
  payload: Buffer.from('hello'),
  ttlMs: 1,
  delivery: 'signal',
  platforms: [],
  exceptDevices: [],
  devices: [],
  app: '',
  receipts: true,
  offlineAfterMs: -1,
  replaces: '',
}

function given () {
  const tables = new MemoryTables()
  const links = localLinks()
  const sent: ConnectionMessage[] = []
  links.connections = message => sent.push(message) > 0
  const push = new Push({ log: new MemoryLog<Entry>(), tables, links, nodeId: 'n1', outboxBytesMax: () => 1 << 20, receipts: false, offlineAfterMs: undefined })
  let next = 0n
  return {
    push,
    links,
    sent,
    /** What the routing projection makes of these. */
    async write (...entries: Entry[]) {
      const writes = entries.flatMap(entry => [...routing.project(entry)])
      await tables.apply('routing', 0, writes, { next: ++next, atMs: 1 })
    },
  }
}

t.test('A signal for some devices goes to those alone', async t => {
  const { push, sent, write } = given()
  await write(opened('ann', 'c1', { deviceId: 'phone' }), opened('ann', 'c2', { deviceId: 'pad' }))
  t.match(await push.push({ ...signal, devices: ['pad'] }), { users: [{ status: 'sent' }] })
  t.match(await push.push({ ...signal, devices: ['tv'] }), { users: [{ status: 'offline' }] })
  t.strictSame(sent.map(({ connectionId }) => connectionId), ['c2'])
})

t.test('A request to many users', async t => {
  const userIds = Array.from({ length: 300 }, (_, i) => `user-${i}`)
  const request: DownlinkCommand = { ...signal, userIds, payload: Buffer.alloc(60_000), delivery: 'durable' }

  t.test('goes to the ledger in appends that a block has room for, one after the other in each partition', async t => {
    const log = new AppendingLog(2)
    const { users } = await pushTo(log).push(request)
    t.ok(log.appends.length > 30)
    t.ok(log.appends.every(({ items }) => bytesOfValue(items) <= 512 << 10), 'whatever the size of all of them')
    t.ok(log.underWayMost <= 2, 'so that it holds no more memory than one append for each partition')
    for (const [i, { userId, status, position }] of users.entries()) {
      const { partition, offset, index } = parsePosition(position!)
      const stored = log.appends.find(append => append.partition === partition && append.offset === offset)!
      if (status === 'queued' && stored.items[index]!.userId === userId && userId === userIds[i]) continue
      t.fail(`${userId} is ${status} at ${position}`)
    }
  })

  t.test('says of each user whether his was stored where the ledger fills up halfway', async t => {
    const log = new AppendingLog(1)
    log.appendsMax = 3
    const { users } = await pushTo(log).push(request)
    const queued = log.appends.flatMap(({ items }) => items).length
    t.strictSame(users.map(({ status }) => status),
      userIds.map((_, i) => i < queued ? 'queued' : 'rejected'))
    t.equal(users.at(-1)!.code, 'ledger-unavailable')
    log.appendsMax = 0
    await t.rejects(pushTo(log).push(request), { code: 'ledger-unavailable' }, 'and fails where none was')
  })
})

/** Takes appends a turn later, and remembers them. */
class AppendingLog extends MemoryLog<Entry> {
  readonly appends: Array<{ partition: number, offset: bigint, items: readonly Entry[] }> = []
  appendsMax = Infinity
  underWayMost = 0
  #underWay = 0

  constructor (partitions: number) { super({ partitions }) }

  override async append<U> (_stream: Stream<U>, partition: number, items: readonly U[]): Promise<Position> {
    this.underWayMost = Math.max(this.underWayMost, ++this.#underWay)
    await new Promise(resolve => setImmediate(resolve))
    this.#underWay--
    if (this.appends.length >= this.appendsMax) throw new GatewayError('ledger-unavailable', 'no room')
    const offset = BigInt(this.appends.length)
    this.appends.push({ partition, offset, items: items as unknown as readonly Entry[] })
    return { partition, offset, index: 0 }
  }
}

function pushTo (log: AppendingLog): Push {
  return new Push({ log, tables: new MemoryTables(), links: localLinks(), nodeId: 'n1', outboxBytesMax: () => 1 << 20, receipts: false, offlineAfterMs: undefined })
}

function whither ({ connectionId, nodeId }: ConnectionMessage): string { return `${connectionId} at ${nodeId}` }

function signalOf ([message]: readonly ConnectionMessage[]): SharedSignal {
  if (message?.type !== 'signal') throw new Error('no signal was sent')
  return message.signal
}
