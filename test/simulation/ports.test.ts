import t, { type Test } from 'tap'
import type { EventLog } from '../../ledger/log.js'
import type { Tables } from '../../projections/tables/tables.js'
import { Random } from '../../simulation/random.js'
import { Broker } from '../../simulation/stores/broker.js'
import { Channel, noStoreTrouble, type SharedStore } from '../../simulation/stores/channel.js'
import { SimulatedLog } from '../../simulation/stores/log.js'
import { SimulatedSnapshots, SnapshotStore } from '../../simulation/stores/snapshots.js'
import { SimulatedTables, TableStore } from '../../simulation/stores/tables.js'
import { snapshotsContract } from '../actors/snapshots-contract.js'
import { logContract } from '../ledger/log-contract.js'
import { tablesContract } from '../projections/tables-contract.js'
import { RealTurns } from './real-turns.js'

/* The simulated sides of ports keep the contracts of the real ones: here in real time, and without faults. */

const turns = new RealTurns()
const latencyMs = [0, 0.1] as const
const keepAlive = setInterval(() => {}, 1_000)
t.teardown(() => { clearInterval(keepAlive) })

function sharedStore (): SharedStore {
  const trouble = { ...noStoreTrouble, latencyMs }
  return { turns, random: new Random(1), nowMs: () => performance.now(), trouble, cutOff: new Set() }
}

t.test('the simulated log', async t => {
  const brokers = new Map<EventLog, Broker>()
  const view = (t: Test, broker: Broker, pendingBytesMax?: number): EventLog => {
    const log = new SimulatedLog({ broker, turns, nodeName: 'n1', pendingBytesMax, followerFailed () {} })
    brokers.set(log, broker)
    t.teardown(() => log.close())
    return log
  }
  const open = async (t: Test, pendingBytesMax?: number): Promise<EventLog> => {
    const broker = new Broker({
      turns, random: new Random(1), nowMs: () => Date.now(), partitionsOf: () => 4, sessionMs: 60_000,
    })
    broker.trouble = { ...broker.trouble, latencyMs }
    return view(t, broker, pendingBytesMax)
  }
  await logContract(t, {
    open: t => open(t),
    openBounded: (t, _stream, pendingBytesMax) => open(t, pendingBytesMax),
    async reopen (t, log) {
      await log.close()
      return view(t, brokers.get(log)!)
    },
    async cut (log, stream, partition, to) { brokers.get(log)!.partitions(stream)[partition]!.cut(to) },
  })
})

{
  const stores = new Map<Tables, TableStore>()
  const view = (tables: TableStore) => {
    const opened = new SimulatedTables(tables, new Channel(tables.store, turns, 'n1'))
    stores.set(opened, tables)
    return opened
  }
  tablesContract(t, 'in a simulated store', {
    open: async () => view(new TableStore(sharedStore())),
    reopen: async (_t, tables) => view(stores.get(tables)!),
  })
}

{
  const view = (snapshots: SnapshotStore) => new SimulatedSnapshots(snapshots, new Channel(sharedStore(), turns, 'n1'))
  snapshotsContract(t, 'in a simulated store', {
    open: async () => view(new SnapshotStore()),
    reopen: async (_t, snapshots) => view((snapshots as SimulatedSnapshots).snapshots),
  })
}
