import pino from 'pino'
import t, { type Test } from 'tap'
import { connectionHistory } from '../../evidence/history/streams.js'
import { historyOf, historyRanges } from '../../evidence/history.js'
import { readConfig } from '../../gateway/read-config.js'
import { Lifecycle } from '../../gateway/lifecycle.js'
import { identify, type NodeIdentity, NodeReporter } from '../../gateway/node.js'
import { startProjectionsRole } from '../../gateway/roles/projections.js'
import { SetAsides } from '../../gateway/set-asides.js'
import { openEmbeddedStores } from '../../gateway/stores-embedded.js'
import type { Stores } from '../../gateway/stores.js'
import { noReport } from '../../projections/nodes.js'
import type { IndexedTables } from '../../projections/tables/tables.js'
import { nobodyWatches } from '../../schemas/conditions.js'
import type { Entry } from '../../schemas/facts.js'
import { partitionOf } from '../../schemas/partitioning.js'
import type { NodeFact } from '../../schemas/node-facts.js'
import { ledger, nodes } from '../../schemas/streams.js'
import { until } from '../faults/node-process.js'
import { opened, reported, started, uplink } from '../projections/given.js'

const leaseMs = 300
const logger = pino({ enabled: false })

t.test('Lifecycle', async t => {
  t.test('declares a silent node lost, once, and closes its connections and no others', async t => {
    const world = await given(t)
    await world.report('n1')
    await world.tell('n2', 5, { ...start, connectionsMax: 1 })
    await world.open('ann', 'c1', 'n2', 5)
    await world.open('bob', 'c2', 'n1', world.identity.epoch)
    await world.watch()
    await until(async () => !(await world.routes()).includes('c1'))
    t.strictSame(await world.routes(), ['c2'])
    t.strictSame(await world.lost(), ['n2 5'])
    await new Promise(resolve => setTimeout(resolve, 4 * leaseMs))
    t.strictSame(await world.lost(), ['n2 5'])
    t.strictSame(await world.closed(), ['c1 node-lost'])
  })

  t.test('leaves to the history of a lost node what the ledger knows, and says of the rest that nobody does', async t => {
    const world = await given(t)
    await world.report('n1')
    await world.tell('n2', 5, start)
    await world.open('ann', 'c1', 'n2', 5)
    await world.add(uplink('ann', 'c1', 1), uplink('ann', 'c1', 2), {
      userId: 'ann', atMs: 1700, fact: { type: 'DeliveryReported', connectionId: 'c1', writtenSeq: 4, ackedSeq: 3 },
    })
    await world.watch()
    await until(async () => (await world.history()).length > 0)
    t.match(await world.history(), [{
      connectionId: 'c1',
      code: 'node-lost',
      writtenSeq: 4,
      ackedSeq: 3,
      framesIn: null,
      framesOut: null,
      bytesIn: null,
      bytesOut: null,
      uplinks: 2,
      downlinksWritten: null,
      downlinksAcked: null,
      roundTripMs: null,
    }])
  })

  t.test('declares nobody lost while its own reports do not come back', async t => {
    const world = await given(t)
    await world.tell('n2', 5, start)
    await world.watch()
    await new Promise(resolve => setTimeout(resolve, 2_000))
    t.strictSame(await world.lost(), [])
  })

  t.test('declares no more than half of the nodes lost at once', async t => {
    const world = await given(t)
    await world.report('n1')
    for (const nodeId of ['n2', 'n3', 'n4', 'n5']) await world.tell(nodeId, 5, start)
    await world.watch()
    let lost: string[] = []
    await until(async () => {
      lost = await world.lost()
      return lost.length > 0
    })
    t.equal(lost.length, 2)
    await until(async () => (await world.lost()).length === 4)
  })

  t.test('closes what an older start of a node had open', async t => {
    const world = await given(t)
    await world.report('n1')
    await world.tell('n1', 5, start)
    await world.open('ann', 'c1', 'n1', 5)
    await world.open('ann', 'c2', 'n1', world.identity.epoch)
    await world.watch()
    await until(async () => (await world.routes()).length === 1)
    t.strictSame(await world.routes(), ['c2'])
    t.strictSame(await world.lost(), [])
  })

  t.test('closes what an older start of a node had still under way when it ended', async t => {
    const world = await given(t)
    const { tables } = world.stores
    await world.report('n1')
    await until(async () => {
      for await (const { key } of tables.scan('nodes')) if (key === 'n1') return true
      return false
    })
    // It is stored once the lifecycle has read who is connected there.
    let isStored = false
    const watched: IndexedTables = {
      apply: (...args) => tables.apply(...args),
      index: (...args) => tables.index(...args),
      scan: table => tables.scan(table),
      position: (...args) => tables.position(...args),
      async get (table, ...args) {
        const row = await tables.get(table, ...args)
        if (table === 'routing' && !isStored) {
          isStored = true
          await world.open('ann', 'c1', 'n1', 5)
        }
        return row
      },
    }
    await world.watch(watched, 300)
    await until(async () => (await world.closed()).includes('c1 node-lost'))
    await until(async () => (await world.routes()).length === 0)
  })

  t.test('closes what a node left that stopped as asked', async t => {
    const world = await given(t)
    await world.report('n1')
    await world.tell('n2', 5, start)
    await world.open('ann', 'c1', 'n2', 5)
    await world.watch()
    await world.tell('n2', 5, { type: 'NodeStopped' })
    await until(async () => (await world.routes()).length === 0)
  })

  t.test('leaves alone what is on a node that it does not know yet', async t => {
    const world = await given(t)
    await world.report('n1')
    await world.open('ann', 'c1', 'n9', Date.now())
    await world.watch()
    await new Promise(resolve => setTimeout(resolve, 1_500))
    t.strictSame(await world.routes(), ['c1'])
  })

  t.test('leaves connections alone while the table of nodes was emptied and is being read again', async t => {
    const world = await given(t)
    const hourAgo = Date.now() - 3_600_000
    world.identity.epoch = hourAgo
    await world.report('n1')
    await world.tell('n2', hourAgo, { ...start, leaseMs: 60_000 })
    await world.open('ann', 'c1', 'n2', hourAgo)
    await world.open('bob', 'c2', 'n1', hourAgo)
    const emptied = emptyable(world.stores.tables)
    await world.watch(emptied.tables)
    await until(() => emptied.scans > 2)
    for (const state of ['empty', 'half', 'whole'] as const) {
      emptied.state = state
      const before = emptied.scans
      await until(() => emptied.scans > before + 3)
    }
    t.strictSame(await world.lost(), [])
    t.strictSame(await world.closed(), [])
    t.strictSame(await world.routes(), ['c1', 'c2'])
  })

  t.test('declares nobody lost whose part of the table stands still', async t => {
    const world = await given(t)
    await world.report('n1')
    const sleeping = partitionOf('n1', 2) === 0 ? 1 : 0
    const nodeId = ['n2', 'n3', 'n4', 'n5', 'n6'].find(nodeId => partitionOf(nodeId, 2) === sleeping)!
    await world.tell(nodeId, 5, start)
    await until(async () => (await world.stores.tables.position('nodes', sleeping)).next > 0n)
    const { tables } = world.stores
    const row = await tables.get('nodes', sleeping, nodeId)
    const position = await tables.position('nodes', sleeping)
    await world.tell(nodeId, 5, reported(1))
    const asleep: IndexedTables = {
      get: (...args) => tables.get(...args),
      apply: (...args) => tables.apply(...args),
      index: (...args) => tables.index(...args),
      async * scan (table) {
        for await (const each of tables.scan(table)) yield each.key === nodeId ? { ...each, fields: row } : each
      },
      position: async (table, partition) =>
        table === 'nodes' && partition === sleeping ? position : await tables.position(table, partition),
    }
    await world.watch(asleep)
    await new Promise(resolve => setTimeout(resolve, 8 * leaseMs))
    t.strictSame(await world.lost(), [])
  })

  t.test('leaves alone what a lost node has opened since it began anew, before its start is in the table', async t => {
    const world = await given(t)
    await world.report('n1')
    await world.tell('n2', 5, start)
    await world.tell('n2', 5, { type: 'NodeLost' })
    await world.open('ann', 'c1', 'n2', 5)
    await world.open('bob', 'c2', 'n2', 6)
    await world.watch()
    await until(async () => !(await world.routes()).includes('c1'))
    await new Promise(resolve => setTimeout(resolve, 1_000))
    t.strictSame(await world.routes(), ['c2'])
  })
})

t.test('NodeReporter', async t => {
  t.test('begins a new epoch when others have taken its node for lost', async t => {
    const world = await given(t)
    const { epoch } = world.identity
    await world.report('n1')
    await world.tell('n1', epoch, { type: 'NodeLost' })
    await until(() => world.events.length > 0)
    t.strictSame(world.events, ['lost'])
    t.ok(world.identity.epoch > epoch)
    await until(async () => (await world.told('n1')).includes(`NodeStarted ${world.identity.epoch}`))
  })

  t.test('renews its lease though the time of day is set back', async t => {
    const world = await given(t)
    await world.report('n1')
    const { now } = Date
    t.teardown(() => { Date.now = now })
    Date.now = () => now() - 3_600_000
    const before = (await world.timesTold('n1')).length
    await until(async () => (await world.timesTold('n1')).length > before + 2)
    const times = await world.timesTold('n1')
    t.strictSame(times, [...new Set(times)].sort((a, b) => a - b), 'each fact is later than the one before it')
    t.ok(times[0]! > Date.now() + 3_000_000, 'for the table drops what is older than what it has')
  })

  t.test('ends when a younger process has its name', async t => {
    const world = await given(t)
    await world.report('n1')
    await world.tell('n1', world.identity.epoch + 1, start)
    await until(() => world.events.includes('replaced'))
    t.pass()
  })

  t.test('has an epoch above all that the table knows of its name', async t => {
    const world = await given(t)
    const future = Date.now() + 1e9
    await world.tell('n1', future, start)
    await until(async () => (await identify('n1', world.stores.log, world.stores.tables)).epoch === future + 1)
    t.pass()
  })

  t.test('has one above all that the stream says of its name, where the table has yet to take that', async t => {
    const world = await given(t)
    const future = Date.now() + 1e9
    await world.tell('n1', future, start)
    await world.tell('n2', future + 5, start)
    const { stores: { log, tables } } = world
    const behind: IndexedTables = Object.assign(Object.create(tables), {
      get: async () => new Map(),
      position: async () => ({ next: 0n, atMs: 0 }),
    })
    t.equal((await identify('n1', log, behind)).epoch, future + 1)
  })
})

const start = { ...started, leaseMs } as NodeFact & { type: 'NodeStarted' }

/** Tables whose nodes can be gone, or half there, as after FLUSHALL. */
function emptyable (tables: IndexedTables) {
  const emptied: { state: 'whole' | 'half' | 'empty', scans: number, tables: IndexedTables } = {
    state: 'whole',
    /** Of the nodes. */
    scans: 0,
    tables: {
      get: (...args) => tables.get(...args),
      apply: (...args) => tables.apply(...args),
      index: (...args) => tables.index(...args),
      async * scan (table) {
        if (table === 'nodes') emptied.scans++
        for await (const row of tables.scan(table)) {
          if (table !== 'nodes' || emptied.state === 'whole' || (emptied.state === 'half' && row.key === 'n1')) yield row
        }
      },
      async position (table, partition) {
        const position = await tables.position(table, partition)
        return table !== 'nodes' || emptied.state === 'whole' ? position : { next: 0n, atMs: 0 }
      },
    },
  }
  return emptied
}

/** The log, the tables and the projections of a node in one process. */
async function given (t: Test) {
  const config = readConfig({ LEDGERLINE_DATA: t.testdir(), LEDGERLINE_PARTITIONS: '2' })
  const stores: Stores = await openEmbeddedStores(config, logger)
  const asides = new SetAsides({ log: stores.log, metrics: { setAside () {} }, logger })
  const projections = await startProjectionsRole({ stores, asides, logger, health: nobodyWatches })
  t.teardown(async () => {
    await projections.stop()
    await stores.close()
  })
  const { log, tables } = stores
  const identity: NodeIdentity = { nodeId: 'n1', epoch: Date.now() }
  const events: string[] = []
  const facts = async () => {
    const found = []
    for (let partition = 0; partition < 2; partition++) {
      for await (const { items } of log.read(nodes, partition, { from: 0n })) found.push(...items)
    }
    return found
  }
  return {
    stores,
    identity,
    events,
    async tell (nodeId: string, epoch: number, fact: NodeFact) {
      const partition = partitionOf(nodeId, log.partitions(nodes))
      await log.append(nodes, partition, [{ nodeId, epoch, atMs: Date.now(), fact }])
    },
    /** Of the facts of a node, in the order of the log. */
    async timesTold (nodeId: string) {
      return (await facts()).filter(each => each.nodeId === nodeId).map(({ atMs }) => atMs)
    },
    async open (userId: string, connectionId: string, nodeId: string, nodeEpoch: number) {
      const partition = partitionOf(userId, log.partitions(ledger))
      await log.append(ledger, partition, [opened(userId, connectionId, { nodeId, nodeEpoch })])
    },
    async add (...entries: Entry[]) {
      await log.append(ledger, partitionOf(entries[0]!.userId, log.partitions(ledger)), entries)
    },
    /** As it is exported. */
    async history () {
      const found = []
      for (const range of await historyRanges(log, connectionHistory, {})) {
        for await (const { rows } of historyOf(log, connectionHistory, range, {})) found.push(...rows)
      }
      return found
    },
    async report (nodeId: string) {
      const { type, ...rest } = start
      t.equal(nodeId, identity.nodeId)
      const reporter = await NodeReporter.start(identity, {
        log,
        tables,
        started: rest,
        load: async () => ({ ...noReport, connections: reported().type.length }),
        lost: () => { events.push('lost') },
        replaced: () => { events.push('replaced') },
        drainRequested: ({ drainId }) => { events.push(drainId) },
        health: { begin: (name, reason) => { events.push(`${name}: ${reason}`) }, end () {} },
      })
      t.teardown(() => reporter.stop())
    },
    async watch (watched: IndexedTables = tables, lateMs = 30_000) {
      const health = nobodyWatches
      const lifecycle = await Lifecycle.start({
        log, tables: watched, identity, leaseMs, lateMs, presenceGraceMs: 0, health,
      })
      t.teardown(() => lifecycle.stop())
    },
    async lost () {
      return (await facts()).filter(({ fact }) => fact.type === 'NodeLost').map(({ nodeId, epoch }) => `${nodeId} ${epoch}`)
    },
    async told (of: string) {
      return (await facts()).filter(({ nodeId }) => nodeId === of).map(({ epoch, fact }) => `${fact.type} ${epoch}`)
    },
    async routes () {
      const found = []
      for await (const { key, fields } of tables.scan('routing')) {
        if (key.startsWith('user:')) found.push(...fields.keys())
      }
      return found.sort()
    },
    async closed () {
      const found = []
      for (let partition = 0; partition < 2; partition++) {
        for await (const { items } of log.read(ledger, partition, { from: 0n })) {
          for (const { fact } of items) if (fact.type === 'ConnectionClosed') found.push(`${fact.connectionId} ${fact.code}`)
        }
      }
      return found
    },
  }
}
