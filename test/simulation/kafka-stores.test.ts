import t, { type Test } from 'tap'
import { clusterSnapshots } from '../../actors/snapshots-cluster.js'
import type { RebuildableSnapshots } from '../../actors/snapshots.js'
import { Random } from '../../simulation/random.js'
import { Broker } from '../../simulation/stores/broker.js'
import { ChangelogStore, SimulatedChangelog } from '../../simulation/stores/changelog.js'
import { Channel, noStoreTrouble, type SharedStore } from '../../simulation/stores/channel.js'
import { storeFaults, type StoreVictims } from '../../simulation/stores/faults.js'
import { SimulatedLog } from '../../simulation/stores/log.js'
import { SimulatedSnapshots, SnapshotStore } from '../../simulation/stores/snapshots.js'
import { snapshotsContract } from '../actors/snapshots-contract.js'
import { changelogContract } from '../ledger/changelog-contract.js'
import { collect, collector, note, noteStream, until } from '../ledger/log-contract.js'
import { RealTurns } from './real-turns.js'

/* What a simulated Kafka has besides what every log has: here in real time. */

const turns = new RealTurns()
const keepAlive = setInterval(() => {}, 1_000)
t.teardown(() => { clearInterval(keepAlive) })
const latencyMs = [0, 0.1] as const
const stream = noteStream()

function brokerOf (): Broker {
  const broker = new Broker({
    turns, random: new Random(1), nowMs: () => Date.now(), partitionsOf: () => 2, sessionMs: 60_000,
  })
  broker.trouble = { ...broker.trouble, latencyMs }
  return broker
}

function logOf (t: Test, broker: Broker, isWhole = false): SimulatedLog {
  const log = new SimulatedLog({ broker, turns, nodeName: 'n1', isWhole, followerFailed () {} })
  t.teardown(() => log.close())
  return log
}

function changelogOf (store = new ChangelogStore()): SimulatedChangelog {
  return new SimulatedChangelog({ broker: brokerOf(), store, turns })
}

t.test('a simulated changelog', async t => { await changelogContract(t, { open: async () => changelogOf() }) })

{
  const made = new Map<RebuildableSnapshots, { home: ChangelogStore, copies: SnapshotStore }>()
  const open = async (t: Test, home: ChangelogStore, copies: SnapshotStore): Promise<RebuildableSnapshots> => {
    const redis: SharedStore = {
      turns,
      random: new Random(1),
      nowMs: () => performance.now(),
      trouble: { ...noStoreTrouble, latencyMs },
      cutOff: new Set(),
    }
    const snapshots = clusterSnapshots({
      changelog: changelogOf(home),
      copy: new SimulatedSnapshots(copies, new Channel(redis, turns, 'n1')),
      identity: 'a log',
      retryMs: 5,
    })
    t.teardown(() => { snapshots.close() })
    made.set(snapshots, { home, copies })
    return snapshots
  }
  snapshotsContract(t, 'at home in a simulated changelog, with a copy', {
    open: t => open(t, new ChangelogStore(), new SnapshotStore()),
    reopen (t, snapshots) {
      const { home, copies } = made.get(snapshots)!
      return open(t, home, copies)
    },
  })
  snapshotsContract(t, 'at home in a simulated changelog, whose copy is lost at each start', {
    open: t => open(t, new ChangelogStore(), new SnapshotStore()),
    reopen (t, snapshots) {
      const { home } = made.get(snapshots)!
      home.compact(new Random(1))
      return open(t, home, new SnapshotStore())
    },
  })
}

t.test('A partition that loses its leader', async t => {
  await t.test('loses what no replica had, which nobody has seen, and has it once when it was sent again', async t => {
    const broker = brokerOf()
    const log = logOf(t, broker)
    const partition = broker.partitions(stream)[0]!
    const follower = collector()
    await log.follow(stream, 'group', follower)
    await log.append(stream, 0, [note('before')])
    partition.isStalled = true
    const appended = log.append(stream, 0, [note('on its way')])
    await until(() => partition.hasTail)
    t.strictSame(await log.bounds(stream, 0), { first: 0n, next: 1n })
    partition.loseLeader()
    partition.isLeaderless = false
    t.equal((await appended).offset, 1n)
    await until(() => follower.texts(0).length === 2)
    t.strictSame(follower.texts(0), ['before', 'on its way'])
    t.strictSame(await collect(log.read(stream, 0, { from: 0n })), ['before', 'on its way'])
  })

  await t.test('takes nothing until it has another one, and the others go on', async t => {
    const broker = brokerOf()
    const log = logOf(t, broker)
    const [partition] = broker.partitions(stream)
    partition!.loseLeader()
    let isStored = false
    const appended = log.append(stream, 0, [note('waits')]).then(() => { isStored = true })
    await log.append(stream, 1, [note('goes on')])
    t.equal(isStored, false)
    partition!.isLeaderless = false
    await appended
    t.strictSame(await collect(log.read(stream, 0, { from: 0n })), ['waits'])
  })
})

t.test('What was deleted is read by nobody but who looks from outside', async t => {
  const broker = brokerOf()
  const log = logOf(t, broker)
  for (let i = 0; i < 5; i++) await log.append(stream, 0, [note(`n${i}`)])
  t.equal((await log.firstSince(stream, 0, 0))!.offset, 0n)
  await log.deleteTo(stream, 0, 3n)
  t.equal((await log.firstSince(stream, 0, 0))!.offset, 3n)
  t.strictSame(await log.bounds(stream, 0), { first: 3n, next: 5n })
  t.strictSame(await collect(log.read(stream, 0, { from: 0n })), ['n3', 'n4'])
  const outside = logOf(t, broker, true)
  t.strictSame(await collect(outside.read(stream, 0, { from: 0n })), ['n0', 'n1', 'n2', 'n3', 'n4'])
  const follower = collector()
  await outside.follow(stream, 'outside', follower)
  await until(() => follower.texts(0).length === 5)
})

t.test('leaders whose loss is over before it has come about are not lost', async t => {
  for (let seed = 1; seed <= 10; seed++) {
    const due = new Set<() => void>()
    const later = (_ms: number, _what: string, run: () => void) => {
      due.add(run)
      return () => { due.delete(run) }
    }
    const broker = new Broker({
      turns: { later }, random: new Random(seed), nowMs: () => 0, partitionsOf: () => 8, sessionMs: 60_000,
    })
    const partitions = broker.partitions(stream)
    storeFaults.leaders({ stores: { broker } } as StoreVictims, new Random(seed)).end()
    for (const run of due) run()
    t.strictSame(partitions.filter(({ isLeaderless, isStalled }) => isLeaderless || isStalled), [])
  }
})
