import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import fc from 'fast-check'
import pino from 'pino'
import t, { type Test } from 'tap'
import { readConfig } from '../../gateway/read-config.js'
import { startProjectionsRole } from '../../gateway/roles/projections.js'
import { SetAsides } from '../../gateway/set-asides.js'
import { openEmbeddedStores } from '../../gateway/stores-embedded.js'
import type { Stores } from '../../gateway/stores.js'
import { EncodeError } from '../../ledger/encode-error.js'
import type { EventLog } from '../../ledger/log.js'
import { History } from '../../projections/history.js'
import { blocksBackMax } from '../../projections/ledger-counts.js'
import { unpack } from '../../projections/opening.js'
import type { Tables } from '../../projections/tables/tables.js'
import { unknownCounts } from '../../schemas/counts.js'
import type { ConnectionClosed, Entry } from '../../schemas/facts.js'
import { partitionOf } from '../../schemas/partitioning.js'
import { nobodyWatches } from '../../schemas/conditions.js'
import type { ConnectionEnded } from '../../schemas/records.js'
import { connections, ledger } from '../../schemas/streams.js'
import { closed, opened, story, uplink, withRepeats } from './given.js'
import { MemoryLog } from './memory-log.js'
import { MemoryTables } from './memory-tables.js'

const logger = pino({ enabled: false })
const partitions = 2

const mebibyte = new Uint8Array(1 << 20)

t.test('a connection that ended', async t => {
  t.test('has one record with its whole story, in the partition of its user', async t => {
    const world = await embedded(t)
    const { stores } = world
    const asides = new SetAsides({ log: stores.log, metrics: { setAside () {} }, logger })
    const projections = await startProjectionsRole({ stores, asides, logger, health: nobodyWatches })
    t.teardown(() => projections.stop())
    await world.append(opened('ann', 'c1', { atMs: 10, nodeId: 'n7', nodeEpoch: 3, client: 'app/2', transport: 'tcp' }))
    await world.append(uplink('ann', 'c1'), opened('ann', 'c2'))
    await world.append(closed('ann', 'c1', {
      atMs: 99, code: 'kicked', reason: 'again', writtenSeq: 5, ackedSeq: 4, framesIn: 3, framesOut: 6, bytesIn: 70, bytesOut: 80,
    }))
    await until(async () => (await world.records()).length > 0)
    t.strictSame(await world.records(partitionOf('ann', partitions)), [{
      userId: 'ann',
      connectionId: 'c1',
      deviceId: 'phone',
      platform: 'ios',
      client: 'app/2',
      sessionId: 's1',
      transport: 'tcp',
      address: '192.0.2.1:4000',
      nodeId: 'n7',
      nodeEpoch: 3,
      openedAtMs: 10,
      closedAtMs: 99,
      code: 'kicked',
      reason: 'again',
      writtenSeq: 5,
      ackedSeq: 4,
      framesIn: 3,
      framesOut: 6,
      bytesIn: 70,
      bytesOut: 80,
      uplinks: 0,
      downlinksWritten: 0,
      downlinksAcked: 0,
      roundTripMs: -1,
      resumedFrom: '',
      resumedTo: 'c2',
      by: '',
    }])
    await until(() => projections.lag().get('connections') === 0)
    t.strictSame(await openRows(world.stores.tables), ['c2'], 'and its row is gone')
  })

  t.test('has it although the process ended between the opening and the close', async t => {
    const world = await embedded(t)
    const first = await world.history()
    await world.append(opened('ann', 'c1'))
    await first.stop()
    await world.reopen()
    await world.append(closed('ann', 'c1'))
    const second = await world.history()
    await until(async () => (await world.records()).length > 0)
    t.match(await world.records(), [{ connectionId: 'c1', openedAtMs: 1000, closedAtMs: 2000 }])
    await second.stop()
  })

  t.test('has no second one when a repeat of a fact comes late', async t => {
    const world = await embedded(t)
    const history = await world.history()
    await world.append(opened('ann', 'c1'), opened('ann', 'c2'))
    await world.append(closed('ann', 'c1'))
    await world.append(opened('ann', 'c1'), closed('ann', 'c1', { atMs: 3000, code: 'node-lost' }))
    await world.append(closed('ann', 'c1'), closed('ann', 'c2'))
    await until(async () => (await world.records()).some(({ connectionId }) => connectionId === 'c2'))
    t.match(await world.records(), [{ connectionId: 'c1', code: 'disconnected' }, { connectionId: 'c2' }])
    t.equal((await world.records()).length, 2)
    t.equal(history.unopened, 0)
  })

  t.test('has none, and is counted, when nobody knows of its opening', async t => {
    const world = await embedded(t)
    const history = await world.history()
    await world.append(closed('ann', 'c1'), opened('ann', 'c2'), closed('ann', 'c2'))
    await until(async () => (await world.records()).length > 0)
    t.match(await world.records(), [{ connectionId: 'c2' }])
    await until(() => history.unopened === 1)
  })
})

t.test('a connection that was lost with its node', async t => {
  const report = (connectionId: string, writtenSeq: number, ackedSeq: number): Entry =>
    ({ userId: 'ann', atMs: 1600, fact: { type: 'DeliveryReported', connectionId, writtenSeq, ackedSeq } })
  const lost = (connectionId: string, more: Partial<ConnectionClosed> = unknownCounts) =>
    closed('ann', connectionId, { code: 'node-lost', told: false, ...more })
  const { uplinks, writtenSeq, ackedSeq, ...nobodyKnows } = unknownCounts
  const recorded = async (...blocks: Entry[][]) => {
    const world = await inMemory(t)
    for (const block of blocks) await world.log.hear(block)
    await until(() => behind(world.history) === 0)
    return world.records.map(record => ({
      connectionId: record.connectionId,
      ...pick(record, 'uplinks', 'writtenSeq', 'ackedSeq', ...Object.keys(nobodyKnows) as (keyof typeof nobodyKnows)[]),
    }))
  }

  t.test('has what the ledger tells of it, and of the rest that nobody knows', async t => {
    const block = [uplink('ann', 'c1', 7), uplink('ann', 'c2', 1), uplink('ann', 'c1', 8)]
    t.strictSame(await recorded(
      [opened('ann', 'c1'), opened('ann', 'c2', { deviceId: 'desk' })], block, [report('c1', 4, 2)], block,
      [uplink('ann', 'c1', 9), report('c1', 9, 6), lost('c1'), uplink('ann', 'c1', 10), report('c1', 12, 12)]
    ), [{ connectionId: 'c1', uplinks: 3, writtenSeq: 9, ackedSeq: 6, ...nobodyKnows }])
  })

  t.test('has no seq where none was reported', async t => {
    t.strictSame(await recorded([opened('ann', 'c1')], [lost('c1')]),
      [{ connectionId: 'c1', uplinks: 0, writtenSeq: -1, ackedSeq: -1, ...nobodyKnows }])
  })

  t.test('has the same where an earlier version told its end, with zeros', async t => {
    t.strictSame(await recorded([opened('ann', 'c1')], [uplink('ann', 'c1')], [lost('c1', {})]),
      [{ connectionId: 'c1', uplinks: 1, writtenSeq: -1, ackedSeq: -1, ...nobodyKnows }])
  })

  t.test('has an unknown number of uplinks where it opened too long ago, and what was reported since', async t => {
    const others = Array.from({ length: Number(blocksBackMax) }, () => [uplink('bob', 'c9')])
    t.strictSame(await recorded(
      [opened('ann', 'c1')], [report('c1', 1, 1)], ...others, [report('c1', 5, 5), uplink('ann', 'c1')], [lost('c1')]
    ), [{ connectionId: 'c1', uplinks: -1, writtenSeq: 5, ackedSeq: 5, ...nobodyKnows }])
  })

  t.test('has the same where few blocks before it are many bytes', async t => {
    const large = (seq: number) => {
      const entry = uplink('ann', 'c1', seq)
      return { ...entry, fact: { ...entry.fact, payload: mebibyte } } as Entry
    }
    const blocks = Array.from({ length: 80 }, (_, i) => [large(i + 1)])
    t.strictSame(await recorded([opened('ann', 'c1')], [report('c1', 1, 1)], ...blocks, [report('c1', 5, 5)], [lost('c1')]),
      [{ connectionId: 'c1', uplinks: -1, writtenSeq: 5, ackedSeq: 5, ...nobodyKnows }])
    t.strictSame(await recorded([opened('ann', 'c1')], ...blocks.slice(0, 40), [report('c1', 5, 5)], [lost('c1')]),
      [{ connectionId: 'c1', uplinks: 40, writtenSeq: 5, ackedSeq: 5, ...nobodyKnows }])
  })

  t.test('has what its edge has counted, where that one slept and told it first', async t => {
    t.match(await recorded([opened('ann', 'c1')],
      [closed('ann', 'c1', { framesIn: 3, bytesIn: 70, uplinks: 2 }), lost('c1')]),
    [{ connectionId: 'c1', framesIn: 3, bytesIn: 70, uplinks: 2 }])
  })
})

t.test('the connection before and the one after', async t => {
  const resumed = async (...blocks: Entry[][]) => {
    const world = await inMemory(t)
    await world.log.hear(...blocks)
    await until(() => behind(world.history) === 0)
    return world.records.map(({ connectionId, resumedFrom, resumedTo }) => [resumedFrom, connectionId, resumedTo].join(' < '))
  }

  t.test('are those of the same device', async t => {
    t.strictSame(await resumed(
      [opened('ann', 'c1'), opened('ann', 'c2', { deviceId: 'desk' }), opened('bob', 'c3')],
      [closed('ann', 'c1'), closed('ann', 'c2'), closed('bob', 'c3'), opened('ann', 'c4'), closed('ann', 'c4')]
    ), [' < c1 < ', ' < c2 < ', ' < c3 < ', 'c1 < c4 < '])
  })

  t.test('name each other where the device moved over', async t => {
    t.strictSame(await resumed(
      [opened('ann', 'c1')], [opened('ann', 'c2')], [closed('ann', 'c1', { code: 'migrating' })], [closed('ann', 'c2')]
    ), [' < c1 < c2', 'c1 < c2 < '])
  })

  t.test('are in the order of their openings, whatever the order of their ends', async t => {
    t.strictSame(await resumed(
      [opened('ann', 'c1'), opened('ann', 'c2')], [closed('ann', 'c2')], [closed('ann', 'c1')],
      [opened('ann', 'c3'), closed('ann', 'c3')]
    ), ['c1 < c2 < ', ' < c1 < c2', 'c2 < c3 < '])
  })

  t.test('are none where the session ended in between', async t => {
    t.strictSame(await resumed(
      [opened('ann', 'c1'), closed('ann', 'c1', { endSession: true })], [opened('ann', 'c2'), closed('ann', 'c2')]
    ), [' < c1 < ', ' < c2 < '])
  })

  t.test('are known after a restart', async t => {
    const world = await embedded(t)
    const first = await world.history()
    await world.append(opened('ann', 'c1'), closed('ann', 'c1'), opened('bob', 'c2'), opened('bob', 'c3'))
    await world.append(opened('cleo', 'c4'), closed('cleo', 'c4', { endSession: true }))
    await first.stop()
    await world.reopen()
    await world.history()
    await world.append(opened('ann', 'c5'), closed('ann', 'c5'))
    await world.append(closed('bob', 'c2'), closed('bob', 'c3'), opened('bob', 'c6'), closed('bob', 'c6'))
    await world.append(opened('cleo', 'c7'), closed('cleo', 'c7'))
    await until(async () => (await world.records()).length === 7)
    t.strictSame(
      Object.fromEntries((await world.records()).map(({ connectionId, resumedFrom, resumedTo }) =>
        [connectionId, `${resumedFrom},${resumedTo}`])),
      { c1: ',', c2: ',c3', c3: 'c2,', c4: ',', c5: 'c1,', c6: 'c3,', c7: ',' })
  })
})

function withApply (tables: Tables, apply: Tables['apply']): Tables {
  return {
    get: (table, partition, key) => tables.get(table, partition, key),
    scan: table => tables.scan(table),
    position: (table, partition) => tables.position(table, partition),
    apply,
  }
}

t.test('a crash between the append of a record and the step of the table', async t => {
  t.test('leaves one record, when the same process goes on', async t => {
    const world = await embedded(t)
    const { tables } = world.stores
    let crashes = 3
    await world.history(withApply(tables, async (table, partition, writes, step) => {
      if (writes.some(({ type }) => type === 'remove') && crashes-- > 0) throw new Error('the store is away')
      await tables.apply(table, partition, writes, step)
    }))
    await world.append(opened('ann', 'c1'), opened('ann', 'c2'))
    await world.append(closed('ann', 'c1'))
    await until(() => crashes < 3)
    await world.append(closed('ann', 'c2'))
    await until(async () => (await openRows(tables)).length === 0)
    t.match(await world.records(), [{ connectionId: 'c1' }, { connectionId: 'c2' }])
    t.equal((await world.records()).length, 2)
  })

  t.test('leaves one record, when the next process goes on, whatever else its step holds', async t => {
    const world = await embedded(t)
    const { tables } = world.stores
    const history = await world.history(withApply(tables, async () => { throw new Error('the store is away') }))
    await world.append(opened('ann', 'c1'), opened('ann', 'c2'), closed('ann', 'c1'))
    await until(async () => (await world.records()).length === 1)
    await history.stop()
    await world.reopen()
    await world.append(closed('ann', 'c2'))
    await world.history()
    await until(async () => (await world.records()).length > 1)
    t.match(await world.records(), [{ connectionId: 'c1' }, { connectionId: 'c2' }])
    t.equal((await world.records()).length, 2)
  })
})

t.test('a table that is emptied', async t => {
  t.test('is filled again, and no connection loses its record', async t => {
    const { history, log, tables, records } = await inMemory(t)
    await log.hear([opened('ann', 'c1'), opened('bob', 'c2'), opened('ann', 'c3')], [closed('ann', 'c1')])
    await until(() => behind(history) === 0)
    tables.clear('connections')
    // The opening of one is lost with the table, that of the other is in the same step.
    await log.hear([closed('bob', 'c2'), opened('ann', 'c4'), closed('ann', 'c4')])
    await until(() => records.length >= 3 && behind(history) === 0)
    t.strictSame(records.map(({ connectionId }) => connectionId), ['c1', 'c2', 'c4'])
    t.strictSame(await openRows(tables), ['c3'])
    t.equal(history.unopened, 0)
  })
})

t.test('a log that takes no appends', async t => {
  t.test('makes the partition wait, and gets every record in order once it takes them', async t => {
    const { history, log, tables, records } = await inMemory(t)
    log.refusals = 4
    await log.hear([opened('ann', 'c1'), opened('ann', 'c2')], [closed('ann', 'c1')], [closed('ann', 'c2')])
    await until(() => records.length === 2 && behind(history) === 0)
    t.strictSame(records.map(({ connectionId }) => connectionId), ['c1', 'c2'])
    t.strictSame(await openRows(tables), [])
  })
})

t.test('a record that the stream will never take', async t => {
  t.test('is set aside, and those before and behind it are there', async t => {
    const { history, log, tables, records, aside } = await inMemory(t)
    log.never = ['c2', 'c4']
    const ids = ['c1', 'c2', 'c3', 'c4']
    await log.hear(ids.map(id => opened('ann', id)), ids.map(id => closed('ann', id)))
    await log.hear([opened('ann', 'c5')], [closed('ann', 'c5')])
    await until(() => records.length === 3 && behind(history) === 0)
    t.strictSame(records.map(({ connectionId }) => connectionId), ['c1', 'c3', 'c5'])
    t.strictSame(aside, ['c2', 'c4'])
    t.strictSame(await openRows(tables), [])
  })
})

t.test('many entries about anything else', async t => {
  t.test('ask nothing of the store, one by one or by block', async t => {
    const { history, log, tables, records } = await inMemory(t)
    const block = Array.from({ length: 100 }, (_, seq) => uplink('ann', 'c1', seq))
    await log.hear([opened('ann', 'c1')], ...Array.from({ length: 1000 }, () => block), [closed('ann', 'c1')])
    await until(() => records.length === 1 && behind(history) === 0)
    t.ok(tables.applies.length < 10, `${tables.applies.length} applies`)
  })
})

t.test('any order of openings and ends, with any repeats and any crashes', async t => {
  const crashes = fc.record({
    applies: fc.array(fc.nat(20), { maxLength: 4 }),
    appends: fc.array(fc.nat(20), { maxLength: 4 }),
    restarts: fc.array(fc.nat(20), { maxLength: 3 }),
  })

  t.test('gives one record to each connection that ended, in order', async t => {
    await fc.assert(fc.asyncProperty(withRepeats(storyWithLost), crashes, async ({ items, blocks }, crashes) => {
      assert.deepEqual(await recordsOf(blocks, crashes, true), model(items))
    }))
  })

  t.test('gives the same record again, if any, where the log does not know what was derived', async t => {
    await fc.assert(fc.asyncProperty(withRepeats(storyWithLost), crashes, async ({ items, blocks }, crashes) => {
      const records = await recordsOf(blocks, crashes, false)
      const firsts = new Map<string, ConnectionEnded>()
      for (const record of records) {
        const { connectionId } = record
        if (!firsts.has(connectionId)) firsts.set(connectionId, record)
        assert.deepEqual(record, firsts.get(connectionId))
      }
      assert.deepEqual([...firsts.values()], model(items))
    }))
  })
})

/** Half of its connections are lost with their nodes, after an uplink and a report. */
const storyWithLost = story.map(entries => entries.flatMap(entry => {
  const { userId, atMs, fact } = entry
  if (fact.type !== 'ConnectionClosed' || Number(fact.connectionId.slice(1)) % 2 === 0) return [entry]
  const { connectionId } = fact
  return [
    uplink(userId, connectionId, 1, atMs),
    { userId, atMs, fact: { type: 'DeliveryReported', connectionId, writtenSeq: 3, ackedSeq: 2 } } as Entry,
    closed(userId, connectionId, { atMs, code: 'node-lost', told: false, ...unknownCounts }),
  ]
}))

interface Crashes { readonly applies: number[], readonly appends: number[], readonly restarts: number[] }

/**
 * What the stream has after a history that failed at these applies and appends, and was followed by another one after
 * these blocks.
 *
 * @param derives the log knows what was derived, and who is followed has ended; else it may still be at work
 */
async function recordsOf (blocks: readonly Entry[][], { applies, appends, restarts }: Crashes, derives: boolean) {
  const { log, tables, records, start } = memory(derives)
  const stale: History[] = []
  let history = await start()
  for (const [i, block] of blocks.entries()) {
    if (applies.includes(i)) tables.failures++
    if (appends.includes(i)) log.refusals++
    await log.hear(block)
    if (!restarts.includes(i)) continue
    if (derives) await history.stop()
    else stale.push(history)
    history = await start()
  }
  tables.failures = log.refusals = 0
  await log.hear()
  await until(() => behind(history) === 0)
  for (const each of [...stale, history]) await each.stop()
  if (derives) assert.equal(history.unopened, 0)
  return records
}

/** The records, by hand: what one would write down while reading the entries. */
function model (entries: readonly Entry[]): ConnectionEnded[] {
  const openings = new Map<string, { entry: Entry, isOpen: boolean, resumedFrom: string, resumedTo: string }>()
  const newest = new Map<string, string>() // of each user's device, whether open or closed; '' where its session ended
  const records: ConnectionEnded[] = []
  for (const entry of entries) {
    const { userId, atMs: closedAtMs, fact } = entry
    if (fact.type === 'ConnectionOpened') {
      const device = JSON.stringify([userId, fact.deviceId])
      const resumedFrom = newest.get(device) ?? ''
      const before = openings.get(resumedFrom)
      if (before?.isOpen) before.resumedTo = fact.connectionId
      openings.set(fact.connectionId, { entry, isOpen: true, resumedFrom, resumedTo: '' })
      newest.set(device, fact.connectionId)
    }
    if (fact.type !== 'ConnectionClosed') continue
    const opened = openings.get(fact.connectionId)!
    const { entry: { atMs: openedAtMs, fact: opening }, resumedFrom, resumedTo } = opened
    assert.ok(opening.type === 'ConnectionOpened')
    const { type, downlinkSeq, loginPolicy, uplinkWindow, tokenId, presence: _told, takesOver, ...first } = opening
    const { type: _, endSession, told, presenceGraceMs: _grace, ...ending } = fact
    const last = fact.code === 'node-lost' ? { ...ending, uplinks: 1, writtenSeq: 3, ackedSeq: 2 } : ending
    records.push({ userId, openedAtMs, closedAtMs, ...first, ...last, resumedFrom, resumedTo })
    opened.isOpen = false
    if (endSession && resumedTo === '') newest.set(JSON.stringify([userId, opening.deviceId]), '')
  }
  return records
}

/** A log of one partition that takes records, and tables, in memory. */
function memory (derives: boolean) {
  const heard = new MemoryLog<Entry>({ gap: 2n })
  const records: ConnectionEnded[] = []
  const aside: string[] = []
  const tables = new MemoryTables()
  let derived = -1n
  const log = {
    refusals: 0,
    /** Records of these connections can't be encoded. */
    never: [] as string[],
    partitions: () => 1,
    follow: heard.follow.bind(heard),
    read: heard.read.bind(heard),
    async append (_stream: unknown, _partition: number, items: readonly any[], { derivedFrom = -1n } = {}) {
      await delay(0)
      if (log.refusals > 0) {
        log.refusals--
        throw new Error('the log is away')
      }
      if (items.some(({ connectionId }) => log.never.includes(connectionId))) throw new EncodeError(new Error('no'))
      assert.ok(derivedFrom > derived || derivedFrom < 0n || !derives)
      records.push(...items)
      if (derivedFrom >= 0n) derived = derivedFrom
      return { partition: 0, offset: 0n, index: 0 }
    },
    derivedFrom: async () => derives ? derived : -1n,
    bounds: heard.bounds.bind(heard),
    offsetAt: heard.offsetAt.bind(heard),
    health: heard.health.bind(heard),
    close: heard.close.bind(heard),
    async hear (...blocks: Entry[][]) {
      for (const block of blocks) heard.add(block)
      await heard.pump()
    },
  } satisfies EventLog & Record<string, unknown>
  const start = () => History.start({
    log,
    tables,
    onPoison: ({ error }) => { throw error },
    onFailed () {},
    setAside ({ connectionId }) { aside.push(connectionId) },
    retryMs: 1,
    positionEveryMs: 5,
  })
  return { log, tables, records, aside, start }
}

async function inMemory (t: Test) {
  const { start, ...world } = memory(true)
  const history = await start()
  t.teardown(() => history.stop())
  return { history, ...world }
}

/** A node's stores in a directory, which can be closed and opened again. */
async function embedded (t: Test) {
  const config = readConfig({ LEDGERLINE_DATA: t.testdir(), LEDGERLINE_PARTITIONS: `${partitions}` })
  const open = () => openEmbeddedStores(config, logger)
  const histories: History[] = []
  let stores = await open()
  t.teardown(async () => {
    for (const history of histories) await history.stop()
    await stores.close()
  })
  return {
    get stores (): Stores { return stores },
    async reopen () {
      await stores.close()
      stores = await open()
    },
    async append (...entries: Entry[]) {
      await stores.log.append(ledger, partitionOf(entries[0]!.userId, partitions), entries)
    },
    async history (tables: Tables = stores.tables) {
      const { log } = stores
      const onPoison = ({ error }: { error: unknown }) => { throw error }
      const setAside = (_record: ConnectionEnded, _partition: number, error: Error) => { throw error }
      const history = await History.start({ log, tables, onPoison, setAside, onFailed () {}, retryMs: 5 })
      histories.push(history)
      return history
    },
    /** Of one partition or of all. */
    async records (partition?: number) {
      const found: ConnectionEnded[] = []
      for (let i = 0; i < partitions; i++) {
        if (partition !== undefined && i !== partition) continue
        for await (const { items } of stores.log.read(connections, i, { from: 0n })) found.push(...items)
      }
      return found
    },
  }
}

function pick<T, K extends keyof T> (from: T, ...names: K[]): Pick<T, K> {
  return Object.fromEntries(names.map(name => [name, from[name]])) as Pick<T, K>
}

/** The connections that wait for their end. */
async function openRows (tables: Tables): Promise<string[]> {
  const found = []
  for await (const { fields } of tables.scan('connections')) {
    for (const [field, value] of fields) if (unpack(value)) found.push(field)
  }
  return found.sort()
}

function behind (history: History): number {
  return history.lag().reduce((sum, { blocks }) => sum + blocks, 0)
}

async function until (holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = performance.now() + 60_000; performance.now() < end && !await holds();) await delay(5)
  assert.ok(await holds(), 'it never came to be')
}
