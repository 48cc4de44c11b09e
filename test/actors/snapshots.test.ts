import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { embeddedSnapshots } from '../../actors/snapshots-embedded.js'
import type { RebuildableSnapshots } from '../../actors/snapshots.js'
import { olderPartKey, parseSnapshotKey } from '../../ledger/embedded/snapshot-keys.js'
import { openStore, type Store } from '../../ledger/embedded/store.js'
import { change, found, headOf, partsOf, snapshotsContract, states } from './snapshots-contract.js'
import { faultOf, Owner, stateAt, users, withMessagesOf } from './snapshots-model.js'

async function opened (t: Test, directory: string, commits: 'sync' | 'async' = 'sync') {
  const store = await openStore({ directory, commits, headroomBytes: 1 << 20 })
  t.teardown(() => store.close())
  return { store, snapshots: embeddedSnapshots(store) }
}

/** What the commits of the store took so far, as those who share them see it. */
function watched (store: Store) {
  const seen = { bytes: 0, pageBytes: 0, commits: 0 }
  store.register({
    derived: true, // asked after the snapshots
    write (batch) {
      if (batch.pageBytes === 0) return
      seen.bytes += batch.bytes
      seen.pageBytes += batch.pageBytes
      seen.commits++
    },
    committed () {},
    failed () {},
  })
  return seen
}

/** Fails commits that have something to write. */
function failing (store: Store, isFailing: () => boolean): void {
  store.register({
    derived: true, // asked after the snapshots
    write (batch) { if (batch.pageBytes > 0 && isFailing()) throw new Error('no space') },
    committed () {},
    failed () {},
  })
}

for (const commits of ['sync', 'async'] as const) {
  const stores = new Map<RebuildableSnapshots, { store: Store, directory: string }>()
  const at = async (t: Test, directory: string) => {
    const { store, snapshots } = await opened(t, directory, commits)
    stores.set(snapshots, { store, directory })
    return snapshots
  }
  snapshotsContract(t, `with ${commits} commits`, {
    open: t => at(t, t.testdir()),
    async reopen (t, snapshots) {
      const { store, directory } = stores.get(snapshots)!
      await store.close()
      return await at(t, directory)
    },
  })
}

/** Has all parts of partitions 0 to 9 under the keys that the format before gave them. */
function storeAsBefore ({ env }: Store): void {
  env.transactionSync(() => {
    for (const { key, value } of [...env.getRange({ start: Buffer.from([4, 0, 0]), end: Buffer.from([4, 0, 10]) })]) {
      const { userId, part } = parseSnapshotKey(key)
      const olderKey = part === undefined ? undefined : olderPartKey(key.readUInt16BE(1), userId, part)
      if (!olderKey || olderKey.equals(key)) continue
      env.put(olderKey, value)
      env.remove(key)
    }
  })
}

const olderStores = new Map<RebuildableSnapshots, { store: Store, directory: string }>()
async function older (t: Test, directory: string) {
  const { store, snapshots } = await opened(t, directory)
  storeAsBefore(store)
  olderStores.set(snapshots, { store, directory })
  return snapshots
}
snapshotsContract(t, 'whose parts the format before has stored', {
  open: t => older(t, t.testdir()),
  async reopen (t, snapshots) {
    const { store, directory } = olderStores.get(snapshots)!
    await store.close()
    return await older(t, directory)
  },
})

t.test('parts that the format before has stored', async t => {
  const { store, snapshots } = await opened(t, t.testdir())
  const saved = { added: { m1: 'hello', p1: 'a payload', m2: 'world' }, changed: { r0: 'one', s1: 'phone' } }
  await snapshots.save(0, 1n, new Map([['ann', change('1 m1 m2 r0 s1', saved)]]))
  storeAsBefore(store)
  const keys = () => [...store.env.getKeys({ start: Buffer.from([4]), end: Buffer.from([5]) })]
    .map(key => key.toString('latin1', 6))
  t.strictSame(keys(), ['', '\xffm1', '\xffm2', '\xffp1', '\xffr0', '\xffs1'])
  t.strictSame(await found(snapshots, 0, 'ann'), ['1 m1 m2 r0 s1', { m1: 'hello', m2: 'world', r0: 'one', s1: 'phone' }])

  await snapshots.save(0, 2n, new Map([['ann', change('2 m2 r0', { changed: { r0: 'two' }, gone: ['m1', 'p1', 's1'] })]]))
  t.strictSame(await found(snapshots, 0, 'ann'), ['2 m2 r0', { m2: 'world', r0: 'two' }])
  t.strictSame(keys(), ['', '\xff\x01\xff\xff\xff\xff\xff\xe0r', '\xffm2'], 'stay where they are until they are written or go')
})

t.test('what a push changes of a user for whom much waits', async t => {
  const { store, snapshots } = await opened(t, t.testdir())
  const numbers = Array.from({ length: 500 }, (_, n) => n)
  const added = Object.fromEntries(numbers.flatMap(n => [[`m${n}`, 'x'.repeat(100)], [`p${n}`, 'y'.repeat(5_000)]]))
  const changed = Object.fromEntries(numbers.filter(n => n % 32 === 0).map(n => [`r${n / 32}`, 'z'.repeat(500)]))
  await snapshots.save(0, 1n, new Map([['ann', change('1', { added, changed })]]))
  const keys = [...store.env.getKeys({ start: Buffer.from([4]), end: Buffer.from([5]) })]
  const ids = keys.map(key => parseSnapshotKey(key).part)
  t.strictSame(ids.slice(0, 6), [undefined, 'r15', 'm499', 'p499', 'm498', 'p498'], 'stands side by side')
  t.strictSame(ids.slice(-2), ['m0', 'p0'], 'as what goes of the oldest does')
})

for (const commits of ['sync', 'async'] as const) {
  t.test(`a save with ${commits} commits`, async t => {
    const { snapshots } = await opened(t, t.testdir(), commits)
    const saving = snapshots.save(3, 10n, states(['ada', 'a10']))
    t.equal(await snapshots.checkpoint(3), 0n, 'moves the checkpoint once it is durable')
    await saving
    t.equal(await snapshots.checkpoint(3), 10n)
    const tooLong = 'x'.repeat(1000)
    await t.rejects(snapshots.save(3, 14n, states([tooLong, 'x'])), { code: 'bad-record' })
    await t.rejects(snapshots.load(3, tooLong, partsOf), { code: 'bad-record' })
    await t.rejects(snapshots.parts(3, tooLong, ['p1']), { code: 'bad-record' })
  })

  t.test(`a save whose ${commits} commit fails is stored with the next one, before any later save`, async t => {
    const { store, snapshots } = await opened(t, t.testdir(), commits)
    let failures = 1
    failing(store, () => failures-- > 0)
    const saves = [snapshots.save(0, 5n, states(['ada', 'a5'])), snapshots.save(0, 6n, states(['bob', 'b6']))]
    await Promise.all(saves)
    t.ok(failures <= 0)
    t.equal(store.metrics.commitsFailed, 1)
    t.equal(await headOf(snapshots, 0, 'ada'), 'a5')
    t.equal(await snapshots.checkpoint(0), 6n)
  })

  t.test(`a process that is killed with ${commits} commits leaves states that are of one time`, async t => {
    const directory = t.testdir()
    const writer = fileURLToPath(new URL('./snapshots-writer.js', import.meta.url))
    withMessagesOf(1_500_000)
    t.teardown(() => { withMessagesOf(20) })
    for (let round = 0; round < 4; round++) {
      const child = spawn(process.execPath, [writer, directory, commits], { stdio: ['ignore', 'pipe', 'inherit'] })
      t.teardown(() => child.kill('SIGKILL'))
      let last = -1
      let saves = 0
      let commitsSince = 0
      for await (const line of createInterface(child.stdout)) {
        if (line !== 'commit') {
          last = Number(line)
          saves++
        } else if (saves > 0 && ++commitsSince > round) {
          child.kill('SIGKILL') // in the middle of a save
        }
      }
      const { store, snapshots } = await opened(t, directory, commits)
      t.ok(await snapshots.savedTo(0) > last, 'nothing that resolved is lost')
      for (const userId of users) t.equal(faultOf(userId, (await snapshots.saved(0, userId, partsOf))!), undefined)
      await store.close()
    }
    const { snapshots } = await opened(t, directory, commits)
    const owner = new Owner(snapshots)
    await owner.begin()
    await owner.save(owner.at + 100)
    for (const userId of users) {
      const ids = (await snapshots.partIds(0, new Set([userId]))).get(userId)!
      t.strictSame(ids.toSorted(), [...stateAt(userId, owner.at).parts.keys()].toSorted(), 'and nothing is left behind')
    }
  })
}

t.test('a save that is larger than a commit', async t => {
  const { store, snapshots } = await opened(t, t.testdir())
  const large = 'x'.repeat(1 << 20)
  await snapshots.save(0, 1n, new Map([['ann', change('1 s1', { changed: { s1: 'one' } })]]))
  let fails = true
  let commits = 0
  failing(store, () => ++commits > 2 && fails)
  const added = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`p${i}`, `${i}${large}`]))
  const names = Object.keys(added).join(' ')
  const saving = snapshots.save(0, 2n, new Map([
    ['ann', change(`2 s1 ${names}`, { added, changed: { s1: 'two' } })],
    ['bob', change('2')],
  ]))
  while (store.metrics.commitsFailed === 0) await new Promise(resolve => setTimeout(resolve, 5))

  await t.test('is stored in part while its commits fail, and no head is ahead of its parts', async t => {
    t.match((await found(snapshots, 0, 'ann'))![1], { s1: 'two', p19: /^19/ }, 'and read as a whole')
    const reader = embeddedSnapshots(store) // knows what is stored, and not what waits
    t.strictSame(await found(reader, 0, 'ann'), ['1 s1', { s1: 'one' }])
    const { others } = (await reader.load(0, 'ann', partsOf))!
    t.ok(others.length > 0 && others.length < 20, `${others.length} parts went ahead of the head`)
    t.equal(await reader.savedTo(0), 1n)
  })
  await t.test('goes on where it was', async t => {
    fails = false
    await saving
    t.ok(commits > 3)
    const { head, parts, others } = (await snapshots.load(0, 'ann', partsOf))!
    t.equal(head.toString(), `2 s1 ${names}`)
    t.equal(parts.size, 21)
    t.strictSame(others, [])
    for (const [id, part] of Object.entries(added)) if (parts.get(id)!.toString() !== part) t.fail(id)
  })
})

t.test('what a save writes goes with what changed', async t => {
  const { store, snapshots } = await opened(t, t.testdir())
  const ids = Array.from({ length: 1000 }, (_, i) => i)
  const added = Object.fromEntries(ids.flatMap(i => [[`m${i}`, 'x'.repeat(100)], [`p${i}`, 'x'.repeat(60_000)]]))
  await snapshots.save(0, 1n, new Map([['ann', change('1', { added, changed: { s1: 'phone' } })]]))

  await t.test('and not with what a user has', async t => {
    const seen = watched(store)
    for (let i = 0n; i < 8n; i++) {
      await snapshots.save(0, 2n + i, new Map([['ann', change(`${i}`, { added: { [`m${2000n + i}`]: 'tiny' } })]]))
    }
    t.ok(seen.bytes < 1000, `${seen.bytes} bytes`)
  })
  await t.test('and what goes takes little room, however much it is', async t => {
    const seen = watched(store)
    await snapshots.save(0, 20n, new Map([['ann', change('20', { gone: ids.flatMap(i => [`m${i}`, `p${i}`]) })]]))
    t.ok(seen.pageBytes < 4 << 20, `${seen.pageBytes} bytes of pages`)
    t.ok(seen.commits > 1, 'and goes over several commits')
    t.strictSame((await snapshots.partIds(0, new Set(['ann']))).get('ann')!.filter(id => !/^m20/.test(id)), ['s1'])
  })
})

t.test('values are not copied while they wait', async t => {
  const { store, snapshots } = await opened(t, t.testdir())
  failing(store, () => store.metrics.commitsFailed === 0)
  const payload = new Uint8Array(Buffer.alloc(1 << 20, 1).buffer, 0, 1 << 20)
  const saving = snapshots.save(0, 1n, new Map([
    ['ann', { head: Buffer.from('1 p1'), added: new Map([['p1', payload]]), changed: new Map(), gone: [] }],
  ]))
  const part = (await snapshots.load(0, 'ann', partsOf))!.parts.get('p1')!
  t.equal(part.buffer, payload.buffer, 'nor when they are read')
  await saving
})
