import t from 'tap'
import { fold } from '../../actors/user/fold.js'
import type { AuditOptions, ViolationCode } from '../../evidence/audit.js'
import { sum } from '../../evidence/audit/books.js'
import type { AuditedLog } from '../../evidence/audit/derived.js'
import { namesOf } from '../../evidence/audit/violation.js'
import type { StoredLog } from '../../ledger/embedded/reader.js'
import type { Block } from '../../ledger/log.js'
import { countNames, unknownCounts } from '../../schemas/counts.js'
import type { Entry, Fact } from '../../schemas/facts.js'
import { opened, reported, requested, uplink } from '../actors/user/history.js'
import {
  auditOf, healthyStreams, inBlocks, nodeStarted, othersReports, partitions, readerOf, stored, type Streams,
} from './audit-given.js'

const healthy = await healthyStreams(t)
/** Long after the node has stopped: whoever was to close its connections has had his time. */
const nowMs = Date.now() + 3_600_000
/** A text of a record of each of these streams. */
const lastField = { presence: 'cause', receipts: 'reason', offline: 'service' }
/** An uplink with others before and behind it. */
const middle = { user: 'ann', userSeq: 10 }

t.test('The audit of what a gateway has left', async t => {
  const { books, violations } = await auditOf(await stored(t, healthy), { nowMs })
  t.test('finds nothing wrong', async t => { t.strictSame(violations, []) })
  t.test('balances the downlinks', async t => {
    const { carried, requested, duplicates, acked, expired, dropped, waiting } = books.downlinks
    t.strictSame({ carried, requested, duplicates, acked, expired, dropped, waiting }, {
      carried: 0, requested: 19, duplicates: 0, acked: 16, expired: 1, dropped: { 'no-target': 1 }, waiting: 1,
    })
  })
  t.test('finds in its stream all that tells business services of users', async t => {
    const { presence, receipts, offline } = books.told
    t.match(presence, { made: 8, published: 8, due: 0, repeats: 0 }, 'four connections came and went')
    t.match(receipts, { made: 18, published: 18, due: 0, repeats: 0 }, 'one downlink waits')
    t.match(offline, { made: 2, published: 2, due: 0, repeats: 0 }, 'one was handed over and taken back')
  })
  t.test('finds every accepted uplink in its stream, and every connection', async t => {
    const { uplinks, connections } = books
    t.ok(uplinks.accepted > 80)
    t.match(uplinks, { published: uplinks.accepted, due: 0, repeats: 0 })
    t.match(connections, { opened: 4, open: 0, recorded: 4, due: 0, closedAgain: 0 })
    t.equal(sum(connections.closed), 4)
    t.match(books.nodes, { alive: 0, stopped: 1 })
    t.match(books, { users: 4, unjudged: { partitions: 0, entries: 0, ends: 0, records: 0 } })
  })
})

interface Planted {
  readonly code: ViolationCode
  /** Where the violation must say that it is; the whole text of one position. */
  readonly at?: string
  readonly options?: Partial<AuditOptions>
}

/** The audit of a copy of what the gateway has left names the damage that `plant` does. */
function names (what: string, plant: (streams: Streams) => Planted): void {
  t.test(`The audit names ${what}`, async t => {
    const copy = copied()
    const { code, at, options } = plant(copy)
    const { violations } = await auditOf(await stored(t, copy), { nowMs, ...options })
    const found = violations.filter(violation => violation.code === code)
    t.ok(found.length > 0, `${code} is among ${JSON.stringify(violations.slice(0, 3))}`)
    if (at) t.ok(found.some(({ positions }) => positions.includes(at)), `at ${at}: ${found[0]?.positions.join(' ')}`)
    for (const { text, userId, roomId, nodeId } of found) {
      t.match(text, /^[A-Z].*\.$/, 'in a sentence')
      const [whose, ...others] = [userId, roomId, nodeId].filter(id => id !== undefined)
      t.ok(whose !== undefined && others.length === 0, `with whose it is: ${whose}`)
      t.ok(text.includes(whose!) || text.startsWith('Connection '), 'whom the sentence names')
    }
  })
}

names('an uplink that its stream has lost', streams => {
  const { user, userSeq } = middle
  const removed = find(streams.uplinks, ({ userId, userSeq: seq }) => userId === user && seq === userSeq)
  const source = findUplink(streams, user, userSeq)
  remove(streams.uplinks, removed)
  return { code: 'uplink-missing', at: `ledger ${source}` }
})

names('an uplink with another userSeq', streams => {
  const { user, userSeq } = middle
  const source = findUplink(streams, user, userSeq)
  change(streams.uplinks, ({ userId, userSeq: seq }) => userId === user && seq === userSeq,
    record => ({ ...record, userSeq: 1_000_000 }))
  return { code: 'uplink-differs', at: `ledger ${source}` }
})

names('an uplink with another payload', streams => {
  const { user, userSeq } = middle
  const where = change(streams.uplinks, ({ userId, userSeq: seq }) => userId === user && seq === userSeq,
    record => ({ ...record, payload: Buffer.from('forged') }))
  return { code: 'uplink-differs', at: `uplinks ${where}` }
})

names('a repeat of an uplink with another payload, also where repeats are allowed', streams => {
  const { block, item } = find(streams.uplinks, () => true)
  const at = after(streams.uplinks, block, [{ ...item, payload: Buffer.from('forged') }])
  return { code: 'uplink-differs', at: `uplinks ${at}`, options: { exact: false } }
})

names('a repeat of an uplink where each must be there once', streams => {
  const { block, item } = find(streams.uplinks, () => true)
  return { code: 'uplink-repeated', at: `uplinks ${after(streams.uplinks, block, [item])}` }
})

names('two uplinks in the wrong order', streams => {
  const { user, userSeq } = middle
  const first = find(streams.uplinks, ({ userId, userSeq: seq }) => userId === user && seq === userSeq)
  const second = find(streams.uplinks, ({ userId, userSeq: seq }) => userId === user && seq === userSeq + 1)
  const at = findUplink(streams, user, userSeq)
  swap(first, second)
  return { code: 'uplink-out-of-order', at: `ledger ${at}` }
})

names('an uplink that nobody sent', streams => {
  const { block, item } = find(streams.uplinks, () => true)
  const at = after(streams.uplinks, block, [{ ...item, userSeq: 500, seq: 500 }])
  return { code: 'uplink-unexplained', at: `uplinks ${at}` }
})

names('an uplink that the ledger has lost', streams => {
  const { user, userSeq } = middle
  const record = find(streams.uplinks, ({ userId, userSeq: seq }) => userId === user && seq === userSeq)
  remove(streams.ledger, find(streams.ledger, ({ userId, fact }) =>
    userId === user && fact.type === 'UplinkReceived' && fact.seq === record.item.seq))
  return { code: 'uplink-unexplained' }
})

for (const name of ['presence', 'receipts', 'offline'] as const) {
  const of = (streams: Streams) => streams[name] as Array<Block<any>>
  const counter = { presence: 'presenceSeq', receipts: 'receiptSeq', offline: 'offlineSeq' }[name]

  names(`a record that the stream ${name} has lost`, streams => {
    // What nothing follows might be due.
    remove(of(streams), find(of(streams), ({ userId, [counter]: seq }) => userId === 'ann' && seq === 1))
    return { code: 'derived-missing' }
  })
  names(`a record of the stream ${name} that is another one`, streams => {
    const where = change(of(streams), ({ userId }) => userId === 'ann', record => ({ ...record, [lastField[name]]: 'forged' }))
    return { code: 'derived-differs', at: `${name} ${where}` }
  })
  names(`a record that stands twice in the stream ${name}`, streams => {
    const { block, item } = find(of(streams), () => true)
    return { code: 'derived-repeated', at: `${name} ${after(of(streams), block, [item])}` }
  })
  names(`two records of the stream ${name} in the wrong order`, streams => {
    swap(find(of(streams), ({ userId, [counter]: seq }) => userId === 'ann' && seq === 1),
      find(of(streams), ({ userId, [counter]: seq }) => userId === 'ann' && seq === 2))
    return { code: 'derived-out-of-order' }
  })
  names(`a record of the stream ${name} that no entry has made`, streams => {
    const { block, item } = find(of(streams), () => true)
    const at = after(of(streams), block, [{ ...item, [counter]: 500 }])
    return { code: 'derived-unexplained', at: `${name} ${at}` }
  })
}

names('a connection that nobody closed when its node ended', streams => {
  const end = findFact(streams, 'ConnectionClosed')
  const { connectionId } = end.fact
  remove(streams.ledger, end)
  remove(streams.connections, find(streams.connections, record => record.connectionId === connectionId))
  const opening = find(streams.ledger, ({ fact }) =>
    fact.type === 'ConnectionOpened' && fact.connectionId === connectionId)
  const { partition } = find(streams.nodes, () => true).block
  streams.nodes.push(...othersReports(120_000).map(item => ({ partition, offset: 0n, items: [item] })))
  return { code: 'open-on-dead-node', at: `ledger ${placeOf(opening)}` }
})

names('a connection that closed for the end of a node that lived on', streams => {
  const first = find(streams.ledger, ({ userId, fact }) => userId === 'ann' && fact.type === 'ConnectionClosed')
  const at = change(streams.ledger, item => item === first.item, item =>
    ({ ...item, fact: { ...item.fact, code: 'node-lost' } as Fact }))
  return { code: 'lost-on-living-node', at: `ledger ${at}` }
})

names('a connection on a node that was never heard of', streams => {
  const end = findFact(streams, 'ConnectionClosed')
  remove(streams.ledger, end)
  streams.nodes = []
  return { code: 'open-on-unknown-node' }
})

names('a connection that closed twice with different codes', streams => {
  const end = findFact(streams, 'ConnectionClosed')
  const at = after(streams.ledger, end.block, [{ ...end.item, fact: { ...end.fact, code: 'kicked' } }])
  return { code: 'closed-twice', at: `ledger ${at}` }
})

names('a connection that closed and never opened', streams => {
  const opening = findFact(streams, 'ConnectionOpened')
  const end = find(streams.ledger, ({ fact }) =>
    fact.type === 'ConnectionClosed' && fact.connectionId === opening.fact.connectionId)
  remove(streams.ledger, opening)
  return { code: 'closed-unopened', at: `ledger ${placeOf(end)}` }
})

names('uplinks on a connection of nobody', streams => {
  const { item, block, fact } = findFact(streams, 'UplinkReceived')
  const at = after(streams.ledger, block, [{ ...item, fact: { ...fact, connectionId: 'nobody' } }])
  return { code: 'connection-unknown', at: `ledger ${at}` }
})

names('a connection that opened twice, for two devices', streams => {
  const { item, block, fact } = findFact(streams, 'ConnectionOpened')
  const at = after(streams.ledger, block, [{ ...item, fact: { ...fact, deviceId: 'another' } }])
  return { code: 'opened-twice', at: `ledger ${at}` }
})

names('an ack of what was not written', streams => {
  const { item, fact, place } = findFact(streams, 'DeliveryReported', ({ ackedSeq }) => ackedSeq > 0)
  change(streams.ledger, each => each === item, each => ({ ...each, fact: { ...fact, writtenSeq: fact.ackedSeq - 1 } }))
  return { code: 'ack-above-written', at: `ledger ${place}` }
})

names('an ack of a downlink that the ledger has lost', streams => {
  remove(streams.ledger, findFact(streams, 'DownlinkRequested', ({ messageId }) => messageId === 'm4'))
  return { code: 'ack-above-numbered' }
})

names('a downlink that was written without a number', streams => {
  const { item, fact, place } = findFact(streams, 'DeliveryReported')
  change(streams.ledger, each => each === item, each => ({ ...each, fact: { ...fact, writtenSeq: 1_000 } }))
  return { code: 'written-above-numbered', at: `ledger ${place}` }
})

names('an entry in the partition of others', streams => {
  const { item, block } = find(streams.ledger, () => true)
  const other = streams.ledger.findLast(({ partition }) => partition !== block.partition)!
  return { code: 'wrong-partition', at: `ledger ${after(streams.ledger, other, [item])}` }
})

names('a closed connection without a record', streams => {
  const record = find(streams.connections, ({ userId }) => userId === 'ann')
  const { connectionId } = record.item
  const end = find(streams.ledger, ({ fact }) => fact.type === 'ConnectionClosed' && fact.connectionId === connectionId)
  remove(streams.connections, record)
  return { code: 'record-missing', at: `ledger ${placeOf(end)}` }
})

names('a record with another code than the connection ended with', streams => {
  const at = change(streams.connections, () => true, record => ({ ...record, code: 'kicked' }))
  return { code: 'record-differs', at: `connections ${at}` }
})

names('a record that stands there twice', streams => {
  const { block, item } = find(streams.connections, () => true)
  return { code: 'record-repeated', at: `connections ${after(streams.connections, block, [item])}` }
})

names('a record of a connection that never was', streams => {
  const { block, item } = find(streams.connections, () => true)
  const at = after(streams.connections, block, [{ ...item, connectionId: 'never was' }])
  return { code: 'record-unexplained', at: `connections ${at}` }
})

names('a node that went back to an older epoch', streams => {
  const { block, item } = find(streams.nodes, ({ fact }) => fact.type === 'NodeStarted')
  const at = after(streams.nodes, block, [{ ...item, epoch: item.epoch - 1, fact: { type: 'NodeStopped' } }])
  return { code: 'epoch-went-back', at: `nodes ${at}` }
})

names('a connection in an epoch that its node had left', streams => {
  const { block, item, fact } = findFact(streams, 'ConnectionOpened')
  const at = after(streams.ledger, block, [
    { ...item, fact: { ...fact, connectionId: 'late', nodeEpoch: fact.nodeEpoch - 1 } },
  ])
  return { code: 'epoch-went-back', at: `ledger ${at}` }
})

names('a downlink that a fold forgets without a word', ({ ledger }) => {
  const { place } = findFact({ ledger }, 'DownlinkRequested', ({ messageId }) => messageId === 'm3')
  return {
    code: 'downlink-unaccounted',
    at: `ledger ${place}`,
    options: {
      fold (state, entry) {
        const { fact } = entry
        if (fact.type === 'DownlinkRequested' && fact.messageId === 'm3') return []
        return fold(state, entry)
      },
    },
  }
})

names('a downlink that is acked in place of another', () => ({
  code: 'downlink-unaccounted',
  options: {
    fold (state, entry) {
      return fold(state, entry).map(effect => effect.type === 'settle' && effect.messageId === 'm2'
        ? { ...effect, messageId: 'm1' }
        : effect)
    },
  },
}))

names('an entry that the fold can not take', ({ ledger }) => {
  const { place } = findFact({ ledger }, 'DownlinkRequested')
  return {
    code: 'fold-failed',
    at: `ledger ${place}`,
    options: {
      fold (state, entry) {
        if (entry.fact.type === 'DownlinkRequested') throw new Error('planted')
        return fold(state, entry)
      },
    },
  }
})

t.test('The audit of a connection that was lost with its node', async t => {
  // Ann came again while the node lived, so it is not her first one.
  const { item } = find(healthy.ledger, ({ userId, fact }) => userId === 'bob' && fact.type === 'ConnectionClosed')
  const end = item.fact as Fact & { type: 'ConnectionClosed' }
  const { connectionId } = end
  const facts = healthy.ledger.flatMap(({ items }) => items.map(({ fact }) => fact))
    .filter(fact => 'connectionId' in fact && fact.connectionId === connectionId)
  const reports = facts.filter(fact => fact.type === 'DeliveryReported')
  const told = {
    ...unknownCounts,
    uplinks: new Set(facts.flatMap(fact => fact.type === 'UplinkReceived' ? [fact.seq] : [])).size,
    writtenSeq: Math.max(-1, ...reports.map(({ writtenSeq }) => writtenSeq)),
    ackedSeq: Math.max(-1, ...reports.map(({ ackedSeq }) => ackedSeq)),
  }
  const zeros = { ...Object.fromEntries(countNames.map(name => [name, 0])), roundTripMs: -1 }
  const cases: Array<[what: string, counts: object, recorded: object, codes: string[]]> = [
    ['takes a record that has what the ledger tells', unknownCounts, told, []],
    ['takes a record that knows less', unknownCounts, unknownCounts, []],
    ['takes the zeros of earlier versions', zeros, zeros, []],
    ['takes a record that was made of the zeros of earlier versions', zeros, told, []],
    ['names a record with other uplinks', unknownCounts, { ...told, uplinks: told.uplinks + 1 }, ['record-differs']],
    ['names a record with another seq', unknownCounts, { ...told, writtenSeq: 77 }, ['record-differs']],
  ]
  for (const [what, counts, recorded, codes] of cases) {
    await t.test(what, async t => {
      const copy = copied()
      change(copy.ledger, ({ fact }) => fact === end, item =>
        ({ ...item, fact: { ...end, code: 'node-lost', told: false, ...counts } }))
      change(copy.connections, record => record.connectionId === connectionId, record =>
        ({ ...record, code: 'node-lost', ...recorded }))
      change(copy.presence!, record => record.connectionId === connectionId && record.change === 'offline', record =>
        ({ ...record, cause: 'node-lost' }))
      const { violations } = await auditOf(await stored(t, copy), { nowMs })
      t.strictSame(violations.map(({ code }) => code), codes)
    })
  }
})

t.test('The audit of a part of the ledger', async t => {
  const copy = copied()
  const end = find(copy.ledger, ({ fact }) => fact.type === 'ConnectionClosed')
  after(copy.ledger, end.block, [{ ...end.item, fact: { ...end.item.fact, code: 'kicked' } as Fact }])
  const { partition } = end.block
  const log = await stored(t, copy)
  const blocks = copy.ledger.filter(block => block.partition === partition)
  const at = BigInt(blocks.findIndex(({ items }) => items.some(item => item === end.item)))
  await t.test('names what lies in it', async t => {
    const { violations } = await auditOf(log, { nowMs, ranges: [{ partition, from: at }] })
    t.strictSame(violations.map(({ code }) => code), ['closed-twice'])
  })
  await t.test('is silent about what lies before and behind, which it has read', async t => {
    const later = await auditOf(log, { nowMs, ranges: [{ partition, from: at + 2n }] })
    t.strictSame(later.violations, [])
    const earlier = await auditOf(log, { nowMs, ranges: [{ partition, from: 0n, to: at }] })
    t.strictSame(earlier.violations, [])
  })
  await t.test('carries over what waits where it begins, so that its books balance', async t => {
    for (let from = 0n; from <= BigInt(blocks.length); from++) {
      const { downlinks } = (await auditOf(log, { nowMs, ranges: [{ partition, from }] })).books
      const { carried, requested, acked, expired, dropped, waiting } = downlinks
      t.equal(carried + requested, acked + expired + sum(dropped) + waiting)
    }
  })
})

t.test('The audit of a ledger whose beginning is gone', async t => {
  const copy = copied()
  const log = await stored(t, copy)
  const cut = withoutBeginning(log)
  await t.test('finds nothing wrong, and says what it can not judge', async t => {
    const { books, violations } = await auditOf(cut, { nowMs })
    t.strictSame(violations, [])
    t.match(books.unjudged, { partitions, entries: books.entries })
    t.ok(books.unjudged.ends > 0)
  })
  await t.test('names a gap in the numbers of the uplinks', async t => {
    const { user, userSeq } = middle
    remove(copy.uplinks, find(copy.uplinks, ({ userId, userSeq: seq }) => userId === user && seq === userSeq))
    const log = await stored(t, copy)
    const { violations } = await auditOf(withoutBeginning(log), { nowMs })
    t.strictSame(violations.map(({ code }) => code), ['uplink-gap'])
  })
})

/** The log as it is once retention has taken the first blocks of the ledger. */
function withoutBeginning (log: StoredLog): AuditedLog {
  const first = 5n
  return {
    partitions: stream => log.partitions(stream),
    async bounds (stream, partition) {
      const { next } = await log.bounds(stream, partition)
      return { first: stream.name === 'ledger' ? first : 0n, next }
    },
    read: (stream, partition, range) => log.read(stream, partition, range),
  }
}

t.test('The audit of more users than it keeps at hand', async t => {
  const users = 60_000
  const userId = (i: number) => `user${i}`
  const entries: Entry[] = []
  for (let i = 0; i < users; i++) {
    const deviceId = 'phone'
    entries.push({ userId: userId(i), atMs: i, fact: opened(`c${i}`, { deviceId }) })
    entries.push({ userId: userId(i), atMs: i, fact: uplink(`c${i}`, 1) })
    entries.push({ userId: userId(i), atMs: i, fact: requested('m1') })
  }
  for (let i = 0; i < users; i += 100) entries.push({ userId: userId(i), atMs: users, fact: reported(`c${i}`, 1) })
  const published = entries.flatMap(({ userId, atMs, fact }, i) => fact.type === 'UplinkReceived'
    ? [{
        ...fact,
        userId,
        userSeq: 1,
        deviceId: 'phone',
        platform: 'ios',
        sessionId: 's1',
        receivedAtMs: atMs,
        ...i === 4 ? { payload: Buffer.from('forged') } : {},
      }]
    : [])
  const log = readerOf({
    ledger: inBlocks(entries, [100]),
    uplinks: inBlocks([...published, published[0]!], [100]),
    connections: [],
    nodes: inBlocks([nodeStarted], [1]),
  })
  const { books, violations } = await auditOf(log)
  t.strictSame(books.downlinks, {
    carried: 0,
    requested: users,
    duplicates: 0,
    acked: users / 100,
    skipped: 0,
    expired: 0,
    dropped: {},
    waiting: users - users / 100,
  })
  t.match(books, { users, uplinks: { accepted: users, published: users }, connections: { open: users } })
  t.strictSame(violations.map(({ code }) => code), ['uplink-differs', 'uplink-repeated'], 'and names what is wrong')
})

interface Found<T> { readonly block: Block<T>, readonly item: T, readonly blocks: Array<Block<T>> }

function copied (): Streams {
  const copy = <T> (blocks: ReadonlyArray<Block<T>>) => blocks.map(block => ({ ...block, items: [...block.items] }))
  const { ledger, uplinks, connections, nodes, presence = [], receipts = [], offline = [] } = healthy
  return {
    ledger: copy(ledger),
    uplinks: copy(uplinks),
    connections: copy(connections),
    nodes: copy(nodes),
    presence: copy(presence),
    receipts: copy(receipts),
    offline: copy(offline),
  }
}

function find<T> (blocks: Array<Block<T>>, is: (item: T) => boolean): Found<T> {
  for (const block of blocks) {
    const item = block.items.find(is)
    if (item) return { block, item, blocks }
  }
  throw new Error('the gateway has left none such')
}

function findFact<K extends Fact['type']> (
  { ledger }: Pick<Streams, 'ledger'>, type: K, is: (fact: Fact & { type: K }) => boolean = () => true
) {
  const found = find(ledger, ({ fact }) => fact.type === type && is(fact as Fact & { type: K }))
  return { ...found, fact: found.item.fact as Fact & { type: K }, place: placeOf(found) }
}

/** Where the ledger has the uplink that got this number. */
function findUplink (streams: Streams, user: string, userSeq: number): string {
  const { item: { seq } } = find(streams.uplinks, record => record.userId === user && record.userSeq === userSeq)
  return placeOf(find(streams.ledger, ({ userId, fact }) =>
    userId === user && fact.type === 'UplinkReceived' && fact.seq === seq))
}

/** As the block will stand once it is stored: offsets go on without holes. */
function placeOf<T> ({ block, item, blocks }: Found<T>): string {
  const { partition } = block
  const offset = blocks.filter(each => each.partition === partition && each.items.length > 0).indexOf(block)
  return `${partition}@${offset}.${block.items.indexOf(item)}`
}

function remove<T> (blocks: Array<Block<T>>, { block, item }: Found<T>): void {
  blocks[blocks.indexOf(block)] = { ...block, items: block.items.filter(each => each !== item) }
}

function change<T> (blocks: Array<Block<T>>, is: (item: T) => boolean, to: (item: T) => T): string {
  const { block, item } = find(blocks, is)
  const place = placeOf({ block, item, blocks })
  blocks[blocks.indexOf(block)] = { ...block, items: block.items.map(each => each === item ? to(each) : each) }
  return place
}

/** Puts a block behind this one. @returns where its first item will stand */
function after<T> (blocks: Array<Block<T>>, block: Block<T>, items: T[]): string {
  const added = { ...block, items }
  blocks.splice(blocks.indexOf(block) + 1, 0, added)
  return placeOf({ block: added, item: items[0]!, blocks })
}

function swap<T> (a: Found<T>, b: Found<T>): void {
  const places = [a, b].map(({ blocks, item }) => {
    const block = blocks.find(({ items }) => items.includes(item))!
    return { items: block.items as T[], index: block.items.indexOf(item) }
  })
  places[0]!.items[places[0]!.index] = b.item
  places[1]!.items[places[1]!.index] = a.item
}

t.test('A violation names its app apart from its user or room', async t => {
  t.strictSame(namesOf({ userId: 'shop\u001fann' }), { app: 'shop', userId: 'ann' })
  t.strictSame(namesOf({ roomId: 'shop\u001flobby' }), { app: 'shop', roomId: 'lobby' })
  t.strictSame(namesOf({ roomId: 'lobby' }), { roomId: 'lobby' })
  t.strictSame(namesOf({ nodeId: 'n1' }), { nodeId: 'n1' })
})
