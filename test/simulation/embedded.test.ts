import t, { type Test } from 'tap'
import { embeddedSnapshots } from '../../actors/snapshots-embedded.js'
import { embeddedLog, type EmbeddedLog } from '../../ledger/embedded/log.js'
import { openStoreIn, type Store } from '../../ledger/embedded/store.js'
import type { EventLog } from '../../ledger/log.js'
import { rejectedStream } from '../../ledger/rejected.js'
import { embeddedTables } from '../../projections/tables/embedded.js'
import type { Stream } from '../../schemas/streams.js'
import { noDiskTrouble, SimulatedDisk } from '../../simulation/embedded/disk.js'
import { simulateOnce } from '../../simulation/process.js'
import { Random } from '../../simulation/random.js'
import { snapshotsContract } from '../actors/snapshots-contract.js'
import { collect, logContract, note, noteStream, until } from '../ledger/log-contract.js'
import { tablesContract } from '../projections/tables-contract.js'
import { RealTurns } from './real-turns.js'

/* The embedded side as it is, on a disk of the simulation: here in real time. */

const turns = new RealTurns()
const keepAlive = setInterval(() => {}, 1_000)
t.teardown(() => { clearInterval(keepAlive) })
const quick = { ...noDiskTrouble, commitMs: [0, 0.1] as const }

function diskOf (): SimulatedDisk {
  const disk = new SimulatedDisk(turns, new Random(1))
  disk.trouble = quick
  return disk
}

async function storeOn (t: Test, disk: SimulatedDisk, headroomBytes = 1 << 20): Promise<Store> {
  const store = await openStoreIn(disk.open(turns), { headroomBytes })
  t.teardown(() => store.close())
  return store
}

t.test('the embedded log on a simulated disk', async t => {
  const opened = new Map<EventLog, { store: Store, disk: SimulatedDisk }>()
  let keptFrom = 0n
  const openOn = async (t: Test, disk: SimulatedDisk, stream?: Stream<any>): Promise<EventLog> => {
    const store = await storeOn(t, disk)
    const retention = { retentionMs: -1, keepFrom: () => keptFrom }
    const log = embeddedLog(store, {
      partitions: 4, streams: stream === undefined ? {} : { [stream.name]: retention }, sweepMs: 3_600_000,
    })
    opened.set(log, { store, disk })
    return log
  }
  await logContract(t, {
    sameObjects: true,
    open (t, stream) {
      keptFrom = 0n
      return openOn(t, diskOf(), stream)
    },
    async cut (log, _stream, _partition, to) {
      keptFrom = to
      await (log as EmbeddedLog).sweep()
    },
    async reopen (t, log) {
      const { store, disk } = opened.get(log)!
      await store.close()
      return await openOn(t, disk)
    },
  })
})

{
  const places = new Map<object, { store: Store, disk: SimulatedDisk }>()
  const openOn = async <T extends object>(t: Test, disk: SimulatedDisk, make: (store: Store) => T): Promise<T> => {
    const store = await storeOn(t, disk)
    const made = make(store)
    places.set(made, { store, disk })
    return made
  }
  const reopen = async <T extends object>(t: Test, made: T, make: (store: Store) => T): Promise<T> => {
    const { store, disk } = places.get(made)!
    await store.close()
    return await openOn(t, disk, make)
  }
  tablesContract(t, 'on a simulated disk', {
    open: t => openOn(t, diskOf(), embeddedTables),
    reopen: (t, tables) => reopen(t, tables as ReturnType<typeof embeddedTables>, embeddedTables),
  })
  snapshotsContract(t, 'on a simulated disk', {
    open: t => openOn(t, diskOf(), embeddedSnapshots),
    reopen: (t, snapshots) => reopen(t, snapshots, embeddedSnapshots),
  })
}

const stream = noteStream()

t.test('A process that ends on a simulated disk', async t => {
  await t.test('leaves all that was answered, and nothing of what was being committed', async t => {
    const disk = diskOf()
    const log = embeddedLog(await openStoreIn(disk.open(turns)), { partitions: 1 })
    await log.append(stream, 0, [note('answered')])
    disk.trouble = { ...quick, commitMs: [50, 60] }
    log.append(stream, 0, [note('asked for')])
    await new Promise(resolve => setTimeout(resolve, 10))
    disk.crashed(false)
    disk.trouble = quick
    const again = embeddedLog(await storeOn(t, disk), { partitions: 1 })
    t.strictSame(await collect(again.read(stream, 0, { from: 0n })), ['answered'])
    t.equal((await again.append(stream, 0, [note('later')])).offset, 1n)
  })

  await t.test('whose power failed may leave a last block without its end, which is set aside', async t => {
    for (let seed = 1; ; seed++) {
      const disk = new SimulatedDisk(turns, new Random(seed))
      disk.trouble = quick
      const log = embeddedLog(await openStoreIn(disk.open(turns)), { partitions: 1 })
      await log.append(stream, 0, [note('answered')])
      disk.trouble = { ...quick, commitMs: [10_000, 10_001] }
      log.append(stream, 0, [note('torn '.repeat(50))])
      await new Promise(resolve => setTimeout(resolve, 10))
      const commits = disk.commits
      disk.crashed(true)
      if (disk.commits === commits) continue // this one has lost the commit
      disk.trouble = quick
      const store = await storeOn(t, disk)
      const damages: string[] = []
      const again = embeddedLog(store, {
        partitions: 1, onDamage: ({ offset, reason }) => { damages.push(`${offset}: ${reason}`) },
      })
      t.strictSame(await collect(again.read(stream, 0, { from: 0n })), ['answered'])
      t.strictSame(damages, ['1: its checksum is wrong'])
      t.equal((await again.append(stream, 0, [note('later')])).offset, 2n)
      await store.settled()
      t.equal((await again.bounds(rejectedStream(stream), 0)).next, 1n, 'as it was found')
      return
    }
  })
})

t.test('A simulated disk that is full', async t => {
  const disk = diskOf()
  const store = await storeOn(t, disk, 64 << 10)
  const log = embeddedLog(store, { partitions: 1 })
  await log.append(stream, 0, [note('before')])
  disk.trouble = { ...quick, isFull: true }
  const large = 'x'.repeat(10_000)
  let taken = 0
  const refusal = await (async () => {
    for (;; taken++) await log.append(stream, 0, [note(large)])
  })().catch((err: Error) => err.message)
  t.match(refusal, /the disk is full/)
  t.ok(taken > 0, 'takes what there was room for')
  t.match(log.health(), { ok: false })
  t.strictSame(disk.complaints, [], 'and is never asked for more than it has')
  disk.trouble = quick
  await until(() => log.health().ok)
  t.equal((await log.append(stream, 0, [note('after')])).offset, BigInt(taken + 1), 'goes on once it has room')
})

t.test('A commit that fails leaves nothing', async t => {
  const disk = diskOf()
  const log = embeddedLog(await storeOn(t, disk), { partitions: 1 })
  await log.append(stream, 0, [note('before')])
  disk.trouble = { ...quick, failed: 1 }
  await t.rejects(log.append(stream, 0, [note('fails')]), { code: 'ledger-unavailable' })
  disk.trouble = quick
  await until(() => log.health().ok)
  await log.append(stream, 0, [note('after')])
  t.strictSame(await collect(log.read(stream, 0, { from: 0n })), ['before', 'after'])
})

t.test('Values must stay as they are until they are written', async t => {
  const disk = diskOf()
  const { env } = disk.open(turns)
  const value = Buffer.from('first')
  const committed = env.batch(() => { env.put(Buffer.from([1]), value) })
  value.write('later')
  await committed
  t.equal(String(env.getBinary(Buffer.from([1]))), 'later', 'as in lmdb, which copies them no sooner')
})

t.test('A simulated node that keeps everything by itself', async t => {
  const options = ['--stores', 'embedded', '--seed', '2', '--minutes', '0.7', '--devices', '4']
  const once = await simulateOnce(options)
  t.strictSame(once.violations, [], 'keeps its promises')
  t.ok(once.sent > 50 && once.pushed > 10, 'with traffic')
  t.ok(['full', 'slow', 'commits'].some(name => name in once.faults), 'and faults of its disk')
  t.strictSame(await simulateOnce(options), once, 'and does the same for the same seed')
})
