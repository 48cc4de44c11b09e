import t, { type Test } from 'tap'
import { kind } from '../../ledger/embedded/keys.js'
import { embeddedLog, type EmbeddedLogOptions } from '../../ledger/embedded/log.js'
import { openStore, type Store } from '../../ledger/embedded/store.js'
import { collect, note, noteStream } from './log-contract.js'

/** As many commits as make two rows, and a bit. */
const commits = 600

async function opened (t: Test, directory: string, options: EmbeddedLogOptions = {}) {
  const store = await openStore({ directory, commits: 'sync', headroomBytes: 1 << 20 })
  t.teardown(() => store.close())
  return { store, log: embeddedLog(store, { partitions: 1, ...options }) }
}

function keyRows ({ env }: Store) {
  return [...env.getRange({ start: Buffer.from([kind.keys]), end: Buffer.from([kind.keys + 1]) })]
    .map(({ key, value }) => ({ key: Buffer.from(key), value: Buffer.from(value) }))
}

/** Where the rows of the only stream begin. */
function rowsOf ({ env }: Store, of: number) {
  return [...env.getKeys({ start: Buffer.from([of, 0]), end: Buffer.from([of + 1]) })].map(key => key.readUIntBE(5, 6))
}

/** Blocks of which each mentions eve, and only every hundredth is hers: the bytes alone do not tell them apart. */
async function givenMentions (t: Test, options: EmbeddedLogOptions = {}) {
  const directory = t.testdir()
  const stream = noteStream()
  const first = await opened(t, directory, options)
  for (let i = 0; i < commits; i++) {
    await first.log.append(stream, 0, [note(`${i} eve`, i % 100 === 50 ? 'eve' : `user-${i}`)])
  }
  const ofEve = (log: typeof first.log) => collect(log.read(stream, 0, { from: 0n, key: 'eve' }))
  return { ...first, directory, stream, ofEve }
}

function hasAllOfEve (t: Test, texts: string[]) {
  t.strictSame(texts.filter(text => / eve$/.test(text) && Number.parseInt(text) % 100 === 50),
    [50, 150, 250, 350, 450, 550].map(i => `${i} eve`))
}

t.test('the index by key', async t => {
  await t.test('keeps a reader from the blocks of whole rows without the key', async t => {
    const { log, store, stream, ofEve } = await givenMentions(t)
    t.equal(keyRows(store).length, 2)
    hasAllOfEve(t, await ofEve(log))
    const ofNobody = await collect(log.read(stream, 0, { from: 0n, key: '1 eve' }))
    const rowsEnd = commits - commits % 256
    t.equal(ofNobody.some(text => Number.parseInt(text) < rowsEnd - 2), false, 'though its bytes stand in many')
    t.ok(ofNobody.length > 0, 'and looks for its bytes in what no row tells of')
  })

  await t.test('knows what was written before and after an open', async t => {
    const { store, directory, stream, ofEve } = await givenMentions(t)
    await store.close()
    const second = await opened(t, directory)
    for (let i = commits; i < 2 * commits; i++) await second.log.append(stream, 0, [note(`${i}`, 'ada')])
    await second.log.append(stream, 0, [note('50 eve', 'eve')])
    const texts = await ofEve(second.log)
    hasAllOfEve(t, texts.slice(0, -1))
    t.equal(texts.at(-1), '50 eve')
    await second.store.close()
    const third = await opened(t, directory)
    t.strictSame(await ofEve(third.log), texts)
  })

  await t.test('is done without where a row is damaged or missing', async t => {
    const { log, store, stream, ofEve } = await givenMentions(t)
    const [first, second] = keyRows(store)
    first!.value[first!.value.length - 1]! ^= 1
    await store.env.put(first!.key, first!.value)
    hasAllOfEve(t, await ofEve(log))
    t.ok((await collect(log.read(stream, 0, { from: 0n, key: '1 eve' }))).includes('11 eve'), 'reading the blocks instead')
    await store.env.put(first!.key, Buffer.alloc(3))
    hasAllOfEve(t, await ofEve(log))
    await store.env.remove(first!.key)
    await store.env.remove(second!.key)
    hasAllOfEve(t, await ofEve(log))
  })

  await t.test('goes with the blocks that retention deletes', async t => {
    let nowMs = 1_000_000
    const stream = { ...noteStream(), name: 'short' }
    const { store, log } = await opened(t, t.testdir(), {
      now: () => nowMs, streams: { short: { retentionMs: 1000, partitions: 1 } },
    })
    for (let i = 0; i < commits; i++) await log.append(stream, 0, [note(`${i}`)])
    nowMs += 10_000
    await log.append(stream, 0, [note('young', 'eve')])
    t.equal(keyRows(store).length, 2)
    await log.sweep()
    t.equal((await log.bounds(stream, 0)).first, BigInt(commits))
    t.strictSame(rowsOf(store, kind.keys), rowsOf(store, kind.index), 'with the row of the index that it goes with')
    t.equal(rowsOf(store, kind.keys).length, 1, 'but for the last one, which stays')
    t.strictSame(await collect(log.read(stream, 0, { from: 0n, key: 'eve' })), ['young'])
  })

  await t.test('is written early where there is much for it', async t => {
    const stream = noteStream()
    const { log, store } = await opened(t, t.testdir())
    await log.append(stream, 0, Array.from({ length: 70_000 }, (_, i) => note('', `user-${i}`)))
    t.equal(keyRows(store).length, 0)
    await log.append(stream, 0, [note('last', 'eve')])
    t.equal(keyRows(store).length, 1)
    t.strictSame(await collect(log.read(stream, 0, { from: 0n, key: 'eve' })), ['last'])
  })

  await t.test('takes a key of any characters', async t => {
    const stream = noteStream()
    const { log } = await opened(t, t.testdir())
    const names = ['žluťoučký', '用户', 'a'.repeat(256)]
    for (let i = 0; i < 300; i++) await log.append(stream, 0, [note(`${i}`, names[i] ?? 'ada')])
    for (const [i, key] of names.entries()) {
      t.strictSame(await collect(log.read(stream, 0, { from: 0n, key })), [`${i}`])
    }
  })
})
