import t from 'tap'
import { Checkpointer, merged } from '../../actors/checkpointer.js'
import { ofPartition, type StateChanges } from '../../actors/snapshots.js'
import type { SavedAs } from '../../actors/folding-actor.js'
import { until } from './given.js'

function changes (head: string, parts: Partial<Record<'added' | 'changed', string[]>> = {}, gone: string[] = []): StateChanges {
  const of = (ids: string[] = []) => new Map(ids.map(id => [id, Buffer.from(`${head} ${id}`)]))
  return { head: Buffer.from(head), added: of(parts.added), changed: of(parts.changed), gone }
}

interface Saved { readonly next: bigint, readonly heads: Record<string, string> }

/** A checkpointer of users who have what is told, over a store that saves when it is told to. */
function given () {
  const saves: Saved[] = []
  const failures: string[] = []
  const due = new Map<string, SavedAs>()
  let next = 1n
  let published: Promise<boolean> = Promise.resolve(true)
  let saving = async () => {}
  let own: StateChanges | undefined
  const checkpointer = new Checkpointer({
    partition: 0,
    snapshots: {
      async save (_partition, next, changes) {
        const heads = Object.fromEntries(Array.from(changes, ([userId, { head }]) => [userId, head!.toString()]))
        await saving()
        saves.push({ next, heads })
      },
    },
    next: () => next,
    collect (reply) {
      const users = [...due]
      due.clear()
      for (const [userId, changes] of users) setImmediate(() => { reply(userId, changes) })
      return users.length
    },
    own: () => {
      const now = own
      own = undefined
      return now ? new Map([[ofPartition, now]]) : new Map()
    },
    published: () => published,
    failed: ({ message }) => { failures.push(message) },
  }, 0n)
  return {
    checkpointer,
    saves,
    failures,
    due,
    to: (offset: bigint) => { next = offset },
    own: (changes: StateChanges) => { own = changes },
    publishing: (promise: Promise<boolean>) => { published = promise },
    saving: (save: () => Promise<void>) => { saving = save },
  }
}

t.test('A checkpoint', async t => {
  t.test('saves what has changed since the last one, and what the partition has itself', async t => {
    const world = given()
    world.due.set('ann', changes('a1')).set('bob', changes('b1')).set('cid', 'asItIs')
    world.own(changes('closes'))
    await world.checkpointer.run()
    t.strictSame(world.saves, [{ next: 1n, heads: { ann: 'a1', bob: 'b1', '': 'closes' } }])
    t.equal(world.checkpointer.saved, 1n)
    t.equal(world.checkpointer.sinceMs, 0)
    await world.checkpointer.run()
    t.equal(world.saves.length, 1, 'and nothing where nothing has')
    world.to(5n)
    world.due.set('bob', changes('b2'))
    await world.checkpointer.run()
    t.strictSame(world.saves[1], { next: 5n, heads: { bob: 'b2' } })
  })
  t.test('that could not be saved goes with the next one', async t => {
    const world = given()
    world.due.set('ann', changes('a1')).set('bob', changes('b1'))
    world.saving(async () => { throw new Error('the store is away') })
    await world.checkpointer.run()
    t.strictSame(world.failures, ['the store is away'])
    t.ok(world.checkpointer.holds('ann'), 'the store has ann as she was')
    t.ok(world.checkpointer.sinceMs > 0)
    world.saving(async () => {})
    world.to(3n)
    world.due.set('bob', changes('b2'))
    await world.checkpointer.run()
    t.strictSame(world.saves, [{ next: 3n, heads: { ann: 'a1', bob: 'b2' } }])
    t.notOk(world.checkpointer.holds('ann'))
    t.equal(world.checkpointer.sinceMs, 0)
  })
  t.test('saves nobody while one user has nothing to give', async t => {
    const world = given()
    world.due.set('ann', changes('a1')).set('bob', undefined)
    await world.checkpointer.run()
    t.strictSame([world.saves, world.checkpointer.saved], [[], 0n])
    world.due.set('bob', changes('b1'))
    await world.checkpointer.run()
    t.strictSame(world.saves, [{ next: 1n, heads: { ann: 'a1', bob: 'b1' } }])
  })
  t.test('is not saved where the partition ended before its uplinks were published', async t => {
    const world = given()
    world.due.set('ann', changes('a1'))
    world.publishing(Promise.resolve(false))
    await world.checkpointer.run()
    t.strictSame(world.saves, [])
  })
  t.test('is one at a time', async t => {
    const world = given()
    let release = () => {}
    const gate = new Promise<void>(resolve => { release = resolve })
    world.saving(() => gate)
    world.due.set('ann', changes('a1'))
    const first = world.checkpointer.run()
    await until(() => world.checkpointer.holds('ann'))
    world.due.set('ann', changes('a2'))
    const again = world.checkpointer.run()
    release()
    await Promise.all([first, again])
    t.strictSame(world.saves.map(({ heads }) => heads), [{ ann: 'a1' }])
    await world.checkpointer.run()
    t.strictSame(world.saves.map(({ heads }) => heads), [{ ann: 'a1' }, { ann: 'a2' }])
  })
})

t.test('Changes of two saves', async t => {
  const first = changes('1', { added: ['m1', 'm2'], changed: ['s1', 'f0'] }, ['r0', 'm0'])
  t.test('are one: the later one counts, and what went before it was stored is not', async t => {
    const { head, added, changed, gone } = merged(first, changes('2', { added: ['m3'], changed: ['s1', 'r0'] }, ['m1', 'f0']))
    t.equal(head!.toString(), '2')
    t.strictSame([...added.keys()], ['m2', 'm3'])
    t.strictSame(Array.from(changed, ([id, bytes]) => `${id}: ${Buffer.from(bytes).toString()}`), ['s1: 2 s1', 'r0: 2 r0'])
    t.strictSame([...gone].sort(), ['f0', 'm0', 'm1'], 'a part of theirs may be stored from an earlier try')
  })
})
