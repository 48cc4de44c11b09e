import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { embeddedLog } from '../../ledger/embedded/log.js'
import { openStore, type Store } from '../../ledger/embedded/store.js'
import { History } from '../../projections/history.js'
import { nodes as nodesProjection, noReport } from '../../projections/nodes.js'
import { presence } from '../../projections/presence.js'
import { rebuild } from '../../projections/rebuild.js'
import { routing, routingKey } from '../../projections/routing.js'
import { Runner } from '../../projections/runner.js'
import { embeddedTables } from '../../projections/tables/embedded.js'
import { prefixOf, tableKey } from '../../projections/tables/embedded-keys.js'
import { put, type TableName } from '../../projections/tables/tables.js'
import type { Entry } from '../../schemas/facts.js'
import { partitionOf } from '../../schemas/partitioning.js'
import type { ConnectionEnded } from '../../schemas/records.js'
import { connections, ledger, nodes } from '../../schemas/streams.js'
import { closed, opened } from './given.js'
import { scanned } from './tables-contract.js'

const tableNames = ['presence', 'routing', 'nodes', 'connections'] as const

/** Log and tables on one store, and everybody who keeps the tables. */
class Side {
  readonly log
  readonly tables
  readonly failures: unknown[] = []
  readonly #stops: Array<() => Promise<void>> = []
  /** Connections that are open: id by user. */
  readonly open = new Map<string, string>()
  #connections = 0

  static async start (t: Test, directory: string): Promise<Side> {
    const side = new Side(await openStore({ directory, headroomBytes: 1 << 20 }))
    t.teardown(() => side.stop())
    const { log, tables } = side
    const reports = {
      onPoison: (poison: unknown) => { side.failures.push(poison) },
      onFailed: (failure: unknown) => { side.failures.push(failure) },
      setAside: (record: ConnectionEnded) => { side.failures.push(record) },
      positionEveryMs: 20,
    }
    const runners = [
      await Runner.start<Entry>({ log, tables, stream: ledger, group: 'p', projections: [presence, routing], ...reports }),
      await Runner.start({ log, tables, stream: nodes, group: 'p', projections: [nodesProjection], ...reports }),
      await History.start({ log, tables, ...reports }),
    ]
    side.#stops.push(...runners.map(runner => () => runner.stop()))
    return side
  }

  private constructor (readonly store: Store) {
    this.log = embeddedLog(store, { partitions: 4 })
    this.tables = embeddedTables(store)
  }

  async stop (): Promise<void> {
    for (const stop of this.#stops.splice(0)) await stop()
    await this.log.close()
    await this.store.close()
  }

  /** Users come and go. */
  async traffic (steps: number): Promise<void> {
    for (let i = 0; i < steps; i++) {
      const n = this.#connections++
      const userId = `u${n % 50}`
      const connectionId = this.open.get(userId)
      if (connectionId === undefined) this.open.set(userId, `c${n}`)
      else this.open.delete(userId)
      const entry = connectionId === undefined
        ? opened(userId, `c${n}`, { atMs: n })
        : closed(userId, connectionId, { atMs: n })
      await this.log.append(ledger, partitionOf(userId, 4), [entry])
      if (n % 10 === 0) await this.tellNode(n)
    }
  }

  async tellNode (atMs: number): Promise<void> {
    await this.log.append(nodes, partitionOf('n1', 4), [{
      nodeId: 'n1',
      epoch: 1,
      atMs,
      fact: { type: 'NodeReported', ...noReport, connections: atMs },
    }])
  }

  /** Writes past the runner, as a defect would. */
  async damage (table: TableName, key: string, field: string, value: unknown): Promise<void> {
    const generation = JSON.parse(this.store.env.getBinary(tableKey(table))?.toString() ?? '{"generation":0}').generation
    const prefix = prefixOf(table, generation, partitionOf(key.replace('user:', ''), 4), { key, field })
    const row = Buffer.concat([Buffer.from(prefix, 'latin1'), Buffer.from(field)])
    if (value === undefined) await this.store.env.remove(row)
    else await this.store.env.put(row, Buffer.from(JSON.stringify(value)))
  }

  async rebuild (table: TableName, signal = new AbortController().signal, onRead = () => {}) {
    const { log, tables } = this
    return await rebuild({ table, log, tables, signal, onRead, onCaughtUp () {} })
  }

  /** Every table has all that is in its stream. */
  async settled (): Promise<void> {
    for (const table of tableNames) {
      const stream = table === 'nodes' ? nodes : ledger
      for (let partition = 0; partition < 4; partition++) {
        const { next } = await this.log.bounds(stream, partition)
        while ((await this.tables.position(table, partition)).next < next) await delay(5)
      }
    }
  }
}

t.test('Rebuilding', async t => {
  for (const table of tableNames) {
    t.test(`finds nothing wrong with ${table} while it is written to, and puts the same in its place`, async t => {
      const side = await Side.start(t, t.testdir())
      await side.traffic(200)
      const writing = new AbortController()
      const traffic = (async () => { while (!writing.signal.aborted) await side.traffic(5) })()
      const { missing, extra, differing, unsettled, rows } = await side.rebuild(table)
      await side.traffic(50)
      writing.abort()
      await traffic
      t.strictSame({ missing, extra, differing, unsettled }, { missing: 0, extra: 0, differing: 0, unsettled: 0 })
      t.ok(rows > 0)
      await side.settled()
      const live = await scanned(side.tables, table)
      const again = await side.rebuild(table)
      t.match(again, { missing: 0, extra: 0, differing: 0 }, 'which goes on to be kept')
      t.strictSame(await scanned(side.tables, table), live)
      t.strictSame(side.failures, [])
    })
  }

  t.test('names what is missing, extra and differing, and puts it right', async t => {
    const side = await Side.start(t, t.testdir())
    await side.traffic(225)
    await side.settled()
    await side.store.settled()
    const right = await scanned(side.tables, 'routing')
    const [[user, connectionId], [other, otherId]] = [...side.open] as [[string, string], [string, string]]
    const route = { nodeId: 'n9', nodeEpoch: 1, platform: 'ios', deviceId: 'phone' }
    const again = embeddedTables(side.store) // its cache knows nothing of the rows yet
    await side.damage('routing', routingKey(user), connectionId, undefined)
    await side.damage('routing', routingKey(other), otherId, route)
    await side.damage('routing', routingKey('nobody'), 'c0', route)
    const { log } = side
    const { differences, ...counts } = await rebuild({
      table: 'routing', log, tables: again, signal: new AbortController().signal, onRead () {}, onCaughtUp () {},
    })
    t.match(counts, { missing: 1, extra: 1, differing: 1, unsettled: 0 })
    t.match(differences.toSorted((a, b) => a.kind < b.kind ? -1 : 1), [
      { kind: 'differing', key: routingKey(other), field: otherId, live: route, rebuilt: { nodeId: 'n1' } },
      { kind: 'extra', key: routingKey('nobody'), field: 'c0', live: route },
      { kind: 'missing', key: routingKey(user), field: connectionId, rebuilt: { nodeId: 'n1' } },
    ])
    t.strictSame(await scanned(again, 'routing'), right)
  })

  t.test('that is given up leaves the table as it was, and no rows behind', async t => {
    const directory = t.testdir()
    const side = await Side.start(t, directory)
    await side.traffic(225)
    await side.settled()
    const before = await scanned(side.tables, 'presence')
    const caller = new AbortController()
    let blocks = 0
    await t.rejects(side.rebuild('presence', caller.signal, () => { if (++blocks === 100) caller.abort() }), { name: 'AbortError' })
    t.strictSame(await scanned(side.tables, 'presence'), before)
    await t.resolves(side.rebuild('presence'), 'and the next one begins anew')
    t.strictSame(await scanned(side.tables, 'presence'), before)
    for (let i = 0; i < 10; i++) { side.store.request(false); await side.store.settled() }
    const generations = new Set<number>()
    for (const key of side.store.env.getKeys({ start: Buffer.from([6, 1]), end: Buffer.from([6, 2]) })) {
      generations.add(key.readUInt16BE(2))
    }
    t.equal(generations.size, 1)
  })

  t.test('that a crash ended leaves the table as it was, and the next start removes its rows', async t => {
    const directory = t.testdir()
    const store = await openStore({ directory, headroomBytes: 1 << 20 })
    const tables = embeddedTables(store)
    await tables.apply('routing', 0, [put('user:ann', 'c1', 1)], { from: 0n, next: 5n, atMs: 5 })
    const draft = await tables.draft('routing')
    await draft.apply('routing', 0, [put('user:ann', 'c2', 2)], { from: 0n, next: 3n, atMs: 3 })
    await store.close() // without `discard`
    const again = await openStore({ directory, headroomBytes: 1 << 20 })
    t.teardown(() => again.close())
    const survivors = embeddedTables(again)
    t.strictSame(await scanned(survivors, 'routing'), { '0/user:ann': { c1: 1 } })
    t.match(await survivors.position('routing', 0), { next: 5n })
    for (let i = 0; i < 4; i++) { again.request(false); await again.settled() }
    t.equal([...again.env.getKeys({ start: Buffer.from([6]), end: Buffer.from([7]) })].length, 1)
    t.strictSame(JSON.parse(again.env.getBinary(tableKey('routing'))!.toString()), { generation: 0 })
  })

  t.test('takes the table from whoever remembers rows of the old one', async t => {
    const store = await openStore({ directory: t.testdir(), headroomBytes: 1 << 20 })
    t.teardown(() => store.close())
    const tables = embeddedTables(store)
    const { generation } = await tables.position('routing', 0)
    const draft = await tables.draft('routing')
    await tables.apply('routing', 0, [], { from: 0n, next: 5n, atMs: 5, generation })
    t.strictSame(await draft.adopt([0], 4n), [0], 'but not while it is further behind than it may be')
    t.strictSame(await draft.adopt([0], 5n), [])
    await t.rejects(tables.apply('routing', 0, [put('user:ann', 'c1', 1)], { from: 0n, next: 6n, atMs: 6, generation }),
      { name: 'GenerationReplaced' })
    t.match(await tables.position('routing', 0), { next: 0n })
  })

  t.test('leaves it to whoever writes the stream connections to record what ended since the table was kept', async t => {
    const store = await openStore({ directory: t.testdir(), headroomBytes: 1 << 20 })
    const log = embeddedLog(store, { partitions: 1 })
    const tables = embeddedTables(store)
    t.teardown(async () => {
      await log.close()
      await store.close()
    })
    const setAside = ({ connectionId }: ConnectionEnded) => { t.fail(connectionId) }
    const reports = { onPoison: t.fail, onFailed: t.fail, setAside, positionEveryMs: 20 }
    const kept = async () => {
      const { next } = await log.bounds(ledger, 0)
      while ((await tables.position('connections', 0)).next < next) await delay(5)
    }
    const end = async (id: string) => { await log.append(ledger, 0, [opened('ann', id), closed('ann', id)]) }
    const before = await History.start({ log, tables, ...reports })
    await end('c1')
    await kept()
    await before.stop()

    await end('c2')
    await rebuild({ table: 'connections', log, tables, signal: new AbortController().signal, onRead () {}, onCaughtUp () {} })
    const after = await History.start({ log, tables, ...reports })
    await end('c3')
    await kept()
    await after.stop()
    const recorded: string[] = []
    for await (const { items } of log.read(connections, 0, { from: 0n })) {
      recorded.push(...items.map(({ connectionId }) => connectionId))
    }
    t.strictSame(recorded, ['c1', 'c2', 'c3'])
  })

  t.test('of one table happens once at a time', async t => {
    const side = await Side.start(t, t.testdir())
    await side.traffic(20)
    const first = side.rebuild('routing')
    await t.rejects(side.rebuild('routing'), { code: 'not-ready' })
    await t.resolves(first)
  })

  t.test('keeps what was there before the beginning of its stream', async t => {
    const directory = t.testdir()
    const store = await openStore({ directory, headroomBytes: 1 << 20 })
    t.teardown(() => store.close())
    let nowMs = 1_000
    const retention = { retentionMs: 1_000 }
    const clock = () => nowMs
    const log = embeddedLog(store, { partitions: 1, streams: { ledger: retention }, now: clock, steady: clock })
    const tables = embeddedTables(store)
    const runner = await Runner.start<Entry>({
      log,
      tables,
      stream: ledger,
      group: 'p',
      projections: [presence],
      onPoison () {},
      onFailed () {},
    })
    t.teardown(() => runner.stop())
    const hourMs = 3_600_000
    await log.append(ledger, 0, [opened('ann', 'c1', { atMs: nowMs }), opened('bob', 'c2', { atMs: nowMs })])
    nowMs += 10 * hourMs
    await log.append(ledger, 0, [closed('bob', 'c2', { atMs: nowMs })])
    await log.append(ledger, 0, [opened('eve', 'c3', { atMs: nowMs })])
    await log.sweep()
    t.equal((await log.bounds(ledger, 0)).first, 1n, 'the first block is gone')
    const options = { table: 'presence', log, tables, signal: new AbortController().signal } as const
    t.match(await rebuild({ ...options, onRead () {}, onCaughtUp () {} }), { missing: 0, extra: 0, differing: 0 })
    t.match(await scanned(tables, 'presence'), { '0/ann': { c1: {} }, '0/eve': { c3: {} }, '0/bob': { lastSeen: {} } })
    t.notOk((await tables.get('presence', 0, 'bob')).has('c2'))
  })
})
