import type { Test } from 'tap'
import type { PartId, RebuildableSnapshots, StateChanges } from '../../actors/snapshots.js'
import { Owner, faultOf, offsetOf, partsOf, stateAt, users } from './snapshots-model.js'

export interface SnapshotSides {
  /** Empty snapshots, closed by a teardown of `t`. */
  open (t: Test): Promise<RebuildableSnapshots>
  /** Closes the snapshots and opens the same ones again. */
  reopen (t: Test, snapshots: RebuildableSnapshots): Promise<RebuildableSnapshots>
}

type Texts = Record<PartId, string>

/** States that are a head alone. */
export function states (...entries: Array<[string, string | Buffer]>): Map<string, StateChanges> {
  return new Map(entries.map(([userId, head]) => [userId, change(head)]))
}

export function change (
  head: string | Buffer,
  { added = {}, changed = {}, gone = [] }: { added?: Texts, changed?: Texts, gone?: PartId[] } = {}
): StateChanges {
  return { head: Buffer.from(head), added: inBytes(added), changed: inBytes(changed), gone }
}

/** A test's head is a word, and the parts that it names behind it. */
export { partsOf } from './snapshots-model.js'

/** The head as text. */
export async function headOf (snapshots: RebuildableSnapshots, partition: number, userId: string) {
  return (await snapshots.load(partition, userId, () => []))?.head.toString()
}

/** Head and parts as text. */
export async function found (snapshots: RebuildableSnapshots, partition: number, userId: string) {
  const state = await snapshots.load(partition, userId, partsOf)
  return state && [state.head.toString(), texts(state.parts)]
}

function texts (parts: ReadonlyMap<PartId, Buffer>): Texts {
  return Object.fromEntries(Array.from(parts, ([id, part]) => [id, part.toString()]))
}

function inBytes (texts: Texts): Map<PartId, Buffer> {
  return new Map(Object.entries(texts).map(([id, text]) => [id, Buffer.from(text)]))
}

/** What every side of the `Snapshots` port does. */
export function snapshotsContract (t: Test, name: string, sides: SnapshotSides): void {
  t.test(`snapshots ${name}`, async t => {
    await t.test('keep a head for each user, and a checkpoint', t => heads(t, sides))
    await t.test('keep parts, and write those alone that changed', t => parts(t, sides))
    await t.test('are read while a save waits', t => waiting(t, sides))
    await t.test('tell of parts that no head names', t => strays(t, sides))
    await t.test('forget a user that is to be known no more', t => forgotten(t, sides))
    await t.test('are listed and replaced', t => replaced(t, sides))
    await t.test('make the same of the same changes, however often their owner begins anew', t => owners(t, sides))
  })
}

async function heads (t: Test, { open, reopen }: SnapshotSides): Promise<void> {
  const snapshots = await open(t)
  t.equal(await snapshots.checkpoint(3), 0n, 'begin at offset 0')
  t.equal(await headOf(snapshots, 3, 'ada'), undefined, 'know no user at first')

  const saving = snapshots.save(3, 10n, states(['ada', 'a10'], ['bob', 'b10'], ['next', '\0\xff']))
  t.equal(await headOf(snapshots, 3, 'ada'), 'a10', 'are loaded before they are durable')
  await saving
  t.equal(await snapshots.checkpoint(3), 10n)
  t.equal(await headOf(snapshots, 3, 'bob'), 'b10')
  t.strictSame((await snapshots.load(3, 'next', () => []))?.head, Buffer.from('\0\xff'), 'are bytes')
  t.equal(await headOf(snapshots, 4, 'bob'), undefined, 'are kept for each partition')

  await snapshots.save(3, 9n, states(['ada', 'a9']))
  t.equal(await headOf(snapshots, 3, 'ada'), 'a10', 'never go back')
  t.equal(await snapshots.checkpoint(3), 10n)

  await Promise.all([
    snapshots.save(3, 12n, states(['ada', 'a12'])),
    snapshots.save(3, 11n, states(['ada', 'a11'])),
    snapshots.save(3, 13n, states(['bob', 'b13'])),
  ])
  t.equal(await headOf(snapshots, 3, 'ada'), 'a12', 'not even among those that wait')

  const again = await reopen(t, snapshots)
  t.equal(await again.checkpoint(3), 13n, 'survive')
  t.equal(await headOf(again, 3, 'ada'), 'a12')
  t.equal(await headOf(again, 3, 'bob'), 'b13')
}

async function parts (t: Test, { open, reopen }: SnapshotSides): Promise<void> {
  const snapshots = await open(t)
  await snapshots.save(0, 1n, new Map([
    ['ann', change('1 m1 s1', { added: { m1: 'hello', p1: 'a payload' }, changed: { s1: 'phone' } })],
    ['anna', change('1 m1', { added: { m1: 'of another user' } })],
    ['ann😀', change('1 m1', { added: { m1: 'of a third' } })],
  ]))
  t.strictSame(await found(snapshots, 0, 'ann'), ['1 m1 s1', { m1: 'hello', s1: 'phone' }], 'those that are wanted')
  t.strictSame(texts(await snapshots.parts(0, 'ann', ['p1', 'p2'])), { p1: 'a payload' }, 'the others later')
  t.strictSame(await found(snapshots, 0, 'anna'), ['1 m1', { m1: 'of another user' }])
  t.strictSame(await found(snapshots, 0, 'ann😀'), ['1 m1', { m1: 'of a third' }])
  t.strictSame(await found(snapshots, 0, 'an'), undefined)
  t.strictSame(await found(snapshots, 1, 'ann'), undefined)

  const second = change('2 m1 s1 m2', { added: { m2: 'new' }, changed: { s1: 'tablet' } })
  await snapshots.save(0, 2n, new Map([['ann', second]]))
  t.strictSame(await found(snapshots, 0, 'ann'), ['2 m1 s1 m2', { m1: 'hello', s1: 'tablet', m2: 'new' }])
  await snapshots.save(0, 3n, new Map([['ann', change('3 s1 m2', { gone: ['m1', 'p1'] })]]))
  const again = await reopen(t, snapshots)
  t.strictSame(await found(again, 0, 'ann'), ['3 s1 m2', { s1: 'tablet', m2: 'new' }])
  t.strictSame(texts(await again.parts(0, 'ann', ['p1', 'm1', 'm2'])), { m2: 'new' }, 'what has gone is gone')
  t.strictSame(await found(again, 0, 'anna'), ['1 m1', { m1: 'of another user' }], 'nobody else loses anything')
  const asked: string[] = []
  await again.load(0, 'ann', head => { asked.push(head.toString()); return [] })
  t.strictSame([...new Set(asked)], ['3 s1 m2'], 'the head says what is wanted')
  await t.rejects(again.load(0, 'ann', () => { throw new Error('a head that can not be read') }), /can not be read/)
}

async function waiting (t: Test, { open }: SnapshotSides): Promise<void> {
  const snapshots = await open(t)
  const first = change('1 m1 s1', { added: { m1: 'one', p1: 'long' }, changed: { s1: 'a' } })
  await snapshots.save(0, 1n, new Map([['ann', first]]))
  const saves = [
    snapshots.save(0, 2n, new Map([['ann', change('2 m1 m2 s1', { added: { m2: 'two' }, changed: { s1: 'b' } })]])),
    snapshots.save(0, 3n, new Map([['ann', change('3 m2 s1', { changed: { s1: 'c' }, gone: ['m1', 'p1'] })]])),
    snapshots.save(0, 4n, states(['bob', '4'])),
  ]
  t.strictSame(await found(snapshots, 0, 'ann'), ['3 m2 s1', { m2: 'two', s1: 'c' }])
  t.strictSame(texts(await snapshots.parts(0, 'ann', ['m1', 'p1', 'm2'])), { m2: 'two' })
  await Promise.all(saves)
  t.strictSame(await found(snapshots, 0, 'ann'), ['3 m2 s1', { m2: 'two', s1: 'c' }], 'as it is stored then')
  const over = snapshots.save(0, 5n, new Map([['ann', change('5 m2 s1', { changed: { s1: 'd' } })]]))
  t.strictSame(await found(snapshots, 0, 'ann'), ['5 m2 s1', { m2: 'two', s1: 'd' }], 'what waits, over what is stored')
  await over
}

async function strays (t: Test, { open }: SnapshotSides): Promise<void> {
  const snapshots = await open(t)
  await snapshots.save(0, 1n, new Map([['ann', change('1 m1', { added: { m1: 'one', p1: 'long' } })]]))
  const ids = async () => (await snapshots.partIds(0, new Set(['ann', 'bob']))).get('ann')!.toSorted()
  t.strictSame(await ids(), ['m1', 'p1'])
  await snapshots.save(0, 2n, new Map([['ann', change('2')]]))
  t.strictSame(await ids(), ['m1', 'p1'], 'a save takes nothing but what it is told to')
  await snapshots.save(0, 3n, new Map([['ann', change('3 m1', { added: { m1: 'one again' }, gone: ['p1', 'p9'] })]]))
  t.strictSame(await ids(), ['m1'])
  t.strictSame(await found(snapshots, 0, 'ann'), ['3 m1', { m1: 'one again' }])
}

async function forgotten (t: Test, { open, reopen }: SnapshotSides): Promise<void> {
  const snapshots = await open(t)
  const ann = change('1 m1 s1', { added: { m1: 'one' }, changed: { s1: 'a' } })
  await snapshots.save(0, 1n, new Map([['ann', ann], ['anna', change('1')]]))
  const gone = (ids: PartId[]) => ({ ...change('', { gone: ids }), head: undefined })
  const saving = snapshots.save(0, 2n, new Map([['ann', gone(['m1', 's1'])], ['eve', gone(['n0'])]]))
  t.equal(await found(snapshots, 0, 'ann'), undefined, 'from the save on')
  await saving
  const again = await reopen(t, snapshots)
  t.equal(await again.checkpoint(0), 2n)
  t.strictSame([await found(again, 0, 'ann'), await found(again, 0, 'eve')], [undefined, undefined])
  t.strictSame(await found(again, 0, 'anna'), ['1', {}], 'nobody else is')
  const kept: string[] = []
  for await (const { userId, part } of again.keys(0)) kept.push(part === undefined ? userId : `${userId}/${part}`)
  t.strictSame(kept, ['anna'], 'and nothing of it is kept')
  await again.save(0, 3n, new Map([['ann', change('3 m1', { added: { m1: 'new' } })]]))
  t.strictSame(await found(again, 0, 'ann'), ['3 m1', { m1: 'new' }], 'who comes back is somebody new')
}

async function replaced (t: Test, { open }: SnapshotSides): Promise<void> {
  const snapshots = await open(t)
  await snapshots.checkpoint(0)
  await snapshots.save(0, 5n, new Map([
    ['', change('closes')],
    ['ann', change('5 m1 s1', { added: { m1: 'wrong', m2: 'stray' }, changed: { s1: 'phone' } })],
    ['anna', change('5')],
    ['eve', change('5 m1', { added: { m1: 'x', p1: 'x' } })],
  ]))
  const listed: string[] = []
  for await (const { userId, part } of snapshots.keys(0)) listed.push(part === undefined ? userId : `${userId}/${part}`)
  const all = ['ann', 'ann/m1', 'ann/m2', 'ann/s1', 'anna', 'eve', 'eve/m1', 'eve/p1']
  t.strictSame([...new Set(listed)].toSorted(), all)
  const heads: string[] = []
  for await (const page of snapshots.heads(0)) heads.push(...page.map(({ userId, head }) => `${userId} ${head}`))
  t.strictSame([...new Set(heads)].toSorted(), ['ann 5 m1 s1', 'anna 5', 'eve 5 m1'])
  const right = (head: string, texts: Texts) => ({ head: Buffer.from(head), parts: inBytes(texts) })
  const ann = right('5 m1 s1', { m1: 'right', s1: 'phone' })
  t.strictSame(await snapshots.replace(0, 4n, new Map([['ann', ann]])), new Set(), 'for one checkpoint alone')
  t.strictSame((await found(snapshots, 0, 'ann'))![1], { m1: 'wrong', s1: 'phone' })
  t.strictSame(await snapshots.replace(0, 5n, new Map([['ann', ann], ['eve', undefined]])), new Set(['ann', 'eve']))
  const lost = { name: 'SnapshotsLost' }
  await t.rejects(snapshots.load(0, 'ann', partsOf), lost, 'the owner loses what it remembers')
  await t.rejects(snapshots.parts(0, 'ann', ['m1']), lost)
  await t.rejects(snapshots.save(0, 6n, states(['ann', '6'])), lost)
  t.equal(await snapshots.checkpoint(0), 5n)
  t.strictSame(await found(snapshots, 0, 'ann'), ['5 m1 s1', { m1: 'right', s1: 'phone' }])
  t.strictSame(await found(snapshots, 0, 'eve'), undefined)
  t.strictSame([...await snapshots.partIds(0, new Set(['ann', 'anna', 'eve']))]
    .map(([userId, ids]) => [userId, ids.toSorted()]), [['ann', ['m1', 's1']], ['anna', []], ['eve', []]])
  t.equal(await headOf(snapshots, 0, ''), 'closes', 'what the partition keeps stays')
  await snapshots.save(0, 6n, new Map([['ann', change('6 m1 s1', { changed: { s1: 'tablet' } })]]))
  t.strictSame((await found(snapshots, 0, 'ann'))![1], { m1: 'right', s1: 'tablet' }, 'and it goes on from there')
}

async function owners (t: Test, { open, reopen }: SnapshotSides): Promise<void> {
  let snapshots = await open(t)
  const owner = async () => {
    const owner = new Owner(snapshots)
    await owner.begin()
    return owner
  }
  let current = await owner()
  for (let offset = 0; offset < 120; offset += 1 + offset % 4) {
    await current.save(offset)
    if (offset % 5 === 0) current = await owner()
    if (offset % 31 === 0) {
      snapshots = await reopen(t, snapshots)
      current = await owner()
    }
  }
  for (const userId of users) {
    const found = (await snapshots.saved(0, userId, partsOf))!
    t.equal(faultOf(userId, found), undefined)
    t.equal(offsetOf(found.head), current.at)
    const ids = (await snapshots.partIds(0, new Set([userId]))).get(userId)!
    t.strictSame(ids.toSorted(), [...stateAt(userId, current.at).parts.keys()].toSorted(), 'nothing is left behind')
  }
}
