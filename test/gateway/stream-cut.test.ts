import t from 'tap'
import { StreamCut } from '../../gateway/stream-cut.js'
import { neededFrom } from '../../gateway/ledger-needs.js'
import { NotSetUp } from '../../ledger/kafka/no-answer.js'
import type { TableName } from '../../projections/tables/tables.js'
import type { Health } from '../../schemas/conditions.js'
import { until } from '../ledger/log-contract.js'
import { ledger } from '../../schemas/streams.js'

const dayMs = 86_400_000
const nowMs = Date.UTC(2026, 5)
const retentionMs = 7 * dayMs

t.test('StreamCut', async t => {
  t.test('deletes what is old, as far as saved states and tables have it', async t => {
    const world = given(t, [9, 8, 8, 1, 0])
    await world.cut.look()
    t.strictSame(world.deleted, [0n, 3n])
    await world.cut.look()
    t.strictSame(world.deleted, [0n, 3n], 'once')
    world.nowMs += 8 * dayMs
    world.saved = 4n
    await world.cut.look()
    t.strictSame(world.deleted, [0n, 3n, 4n])
    world.saved = 5n
    await world.cut.look()
    t.strictSame(world.deleted, [0n, 3n, 4n, 5n], 'all of it, where nothing is newer')
    t.strictSame([...world.lasting], [])
  })

  t.test('says what holds the ledger back, and since when, until it goes on', async t => {
    const world = given(t, [9, 9, 9, 9, 1])
    world.saved = 2n
    await world.cut.look()
    t.strictSame(world.deleted, [0n, 2n])
    const told = world.lasting.get('retention partition 3')!
    t.match(told, /^entries before 4 are older than 604800 s, and not deleted: what is saved of users includes what stands before 2, and no more since 2/)
    await world.cut.look()
    t.equal(world.lasting.get('retention partition 3'), told)
    world.saved = 5n
    world.positions.routing = 3n
    await world.cut.look()
    t.strictSame(world.deleted, [0n, 2n, 3n])
    t.match(world.lasting.get('retention partition 3'), /the table routing includes what stands before 3,/)
    world.positions.routing = 5n
    await world.cut.look()
    t.strictSame(world.deleted, [0n, 2n, 3n, 4n])
    t.strictSame([...world.lasting], [])
  })

  t.test('is not kept by an entry that is dated a year ahead', async t => {
    const world = given(t, [9, -365, 9, 9, -365, 1, 0])
    await world.cut.look()
    t.strictSame(world.deleted, [0n, 4n], 'which goes with the next one that is too old')
    const ahead = given(t, [9, -365, 1])
    await ahead.cut.look()
    t.strictSame(ahead.deleted, [0n, 1n], 'and not before')
    world.nowMs += 6.5 * dayMs
    const { length } = world.reads
    await world.cut.look()
    t.strictSame(world.deleted, [0n, 4n, 6n])
    t.strictSame(world.reads.slice(length), [5n], 'and each is read once')
  })

  t.test('learns at once that it may not delete, and says so until it may', async t => {
    const world = given(t, [1])
    world.denied = new NotSetUp('grant DELETE')
    await world.cut.look()
    t.equal(world.lasting.get('retention '), 'grant DELETE')
    world.denied = undefined
    await world.cut.look()
    t.strictSame(world.deleted, [0n])
    t.strictSame([...world.lasting], [])
  })

  t.test('that has no partition yet looks again soon, and not after its whole interval', async t => {
    const world = given(t, [9, 1])
    world.owned = false
    world.cut.start()
    await world.cut.look()
    world.owned = true
    await until(() => world.deleted.length === 2, 30_000)
    t.strictSame(world.deleted, [0n, 1n])
  })

  t.test('tries again what has failed for a while', async t => {
    const world = given(t, [9, 1])
    world.denied = new Error('no leader')
    await world.cut.look()
    t.strictSame([...world.lasting], [])
    world.denied = undefined
    await world.cut.look()
    t.strictSame(world.deleted, [0n, 1n])
  })

  t.test('says nothing more of a partition that is somebody else\'s', async t => {
    const world = given(t, [9, 9])
    world.saved = 1n
    await world.cut.look()
    t.equal(world.lasting.size, 1)
    world.owned = false
    await world.cut.look()
    t.strictSame([...world.lasting], [])
  })
})

/** @param ages of the blocks of partition 3, days */
function given (t: { teardown (done: () => unknown): void }, ages: readonly number[]) {
  const times = ages.map(days => nowMs - days * dayMs)
  const lasting = new Map<string, string>()
  const end = BigInt(ages.length)
  const world = {
    nowMs,
    owned: true,
    saved: end,
    positions: { presence: end, routing: end, connections: end, nodes: 0n } as Record<TableName, bigint>,
    denied: undefined as Error | undefined,
    deleted: [] as bigint[],
    reads: [] as bigint[],
    lasting,
    cut: undefined as unknown as StreamCut,
  }
  const first = () => Number(world.deleted.at(-1) ?? 0n)
  const log = {
    bounds: async () => ({ first: BigInt(first()), next: end }),
    firstSince: async (_stream: unknown, _partition: number, atMs: number) => {
      const found = times.findIndex((time, i) => i >= first() && time >= atMs)
      return found < 0 ? undefined : { offset: BigInt(found), atMs: times[found]! }
    },
    async * read (_stream: unknown, _partition: number, { from, to }: { from: bigint, to: bigint }) {
      world.reads.push(from)
      for (let offset = from; offset < to; offset++) {
        yield { partition: 3, offset, items: [{ atMs: times[Number(offset)]! }] }
      }
    },
    deleteTo: async (_stream: unknown, _partition: number, to: bigint) => {
      if (world.denied) throw world.denied
      world.deleted.push(to)
    },
  }
  world.cut = new StreamCut({
    log: log as any,
    retentionMs,
    nowMs: async () => world.nowMs,
    stream: ledger,
    neededFrom: (partition, saved) =>
      neededFrom(partition, saved, { position: async table => ({ next: world.positions[table], atMs: 0 }) }),
    health: {
      begin: (name, reason, what) => { lasting.set(`${name} ${what ?? ''}`, reason) },
      end: (name, what) => { lasting.delete(`${name} ${what ?? ''}`) },
    } satisfies Health,
    progress: () => world.owned ? [{ partition: 3, saved: world.saved }] : [],
  })
  t.teardown(() => world.cut.stop())
  return world
}
