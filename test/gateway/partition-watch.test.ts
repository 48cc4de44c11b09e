import t from 'tap'
import type { PartitionProgress } from '../../actors/partition.js'
import { PartitionWatch } from '../../gateway/partition-watch.js'
import { ledger } from '../../schemas/streams.js'

t.test('PartitionWatch', async t => {
  t.test('tells of blocks that no user takes, of uplinks that are not published and of states that are not saved, until they are', async t => {
    const world = given(t)
    world.progress = { ...world.progress, foldingSinceMs: 1_000, publishingSinceMs: 1_000, savingSinceMs: 1_000, lastError: 'no disk' }
    await world.watch.look(2_000)
    t.strictSame(world.lasting(), [])
    await world.watch.look(60_000)
    t.strictSame(world.lasting(), [
      'snapshots checkpoint of partition 3: no disk', 'uplinks partition 3: no disk', 'users partition 3: no disk',
    ])
    world.progress = { ...world.progress, foldingSinceMs: 0, publishingSinceMs: 0, savingSinceMs: 0 }
    await world.watch.look(61_000)
    t.strictSame(world.lasting(), [])
  })

  t.test('tells of blocks that do not arrive though the ledger has them', async t => {
    const world = given(t)
    world.end = 20n
    await world.watch.look(1_000)
    await world.watch.look(6_000)
    t.strictSame(world.lasting(), ['users partition 3: the ledger is at 20, and nothing has arrived since 10'])
    world.progress = { ...world.progress, received: 20n }
    await world.watch.look(11_000)
    t.strictSame(world.lasting(), [])
  })

  t.test('is silent where what stands there is nothing that followers get', async t => {
    const world = given(t)
    world.end = 20n
    world.blocks = []
    await world.watch.look(1_000)
    await world.watch.look(6_000)
    t.strictSame(world.lasting(), [])
  })

  t.test('says nothing more of a partition that is somebody else\'s', async t => {
    const world = given(t)
    world.progress = { ...world.progress, foldingSinceMs: 1_000 }
    await world.watch.look(60_000)
    t.equal(world.lasting().length, 1)
    world.owned = false
    await world.watch.look(61_000)
    t.strictSame(world.lasting(), [])
  })
})

function given (t: { teardown (done: () => unknown): void }) {
  const lasting = new Map<string, string>()
  const world = {
    owned: true,
    end: 10n,
    blocks: [{}] as unknown[],
    progress: {
      partition: 3,
      received: 10n,
      folded: 10n,
      published: 10n,
      saved: 10n,
      foldingSinceMs: 0,
      publishingSinceMs: 0,
      savingSinceMs: 0,
      lastError: '',
    } as PartitionProgress,
    lasting: () => [...lasting].map(([what, reason]) => `${what}: ${reason}`).sort(),
    watch: undefined as unknown as PartitionWatch,
  }
  world.watch = new PartitionWatch({
    log: {
      bounds: async () => ({ first: 0n, next: world.end }),
      async * read () { yield * world.blocks as never[] },
    },
    health: {
      begin: (name, reason, what) => { lasting.set(`${name} ${what}`, reason) },
      end: (name, what) => { lasting.delete(`${name} ${what}`) },
    },
    stream: ledger,
    conditions: { folding: 'users', publishing: 'uplinks' },
    progress: () => world.owned ? [world.progress] : [],
  })
  t.teardown(() => world.watch.stop())
  return world
}
