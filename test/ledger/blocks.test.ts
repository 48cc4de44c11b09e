import t, { type Test } from 'tap'
import { blockBytesMax } from '../../ledger/embedded/block.js'
import { embeddedLog } from '../../ledger/embedded/log.js'
import { openStore } from '../../ledger/embedded/store.js'
import type { Block } from '../../ledger/log.js'
import { collect, note, noteStream, type Note } from './log-contract.js'

async function openedLog (t: Test, directory = t.testdir()) {
  const store = await openStore({ directory, headroomBytes: 1 << 20 })
  t.teardown(() => store.close())
  return { directory, store, log: embeddedLog(store, { partitions: 4 }) }
}

function longNotes (count: number, chars: number, char = 'x'): Note[] {
  return Array.from({ length: count }, (_, i) => note(`${i} ${char.repeat(chars)}`))
}

/** Bytes of the stored blocks of partition 0. */
async function sizes (log: ReturnType<typeof embeddedLog>, stream: ReturnType<typeof noteStream>): Promise<number[]> {
  const found: number[] = []
  for await (const { items } of log.read(stream, 0, { from: 0n })) found.push(stream.encodeBlock(items).length)
  return found
}

t.test('what one append has beyond a block goes into several, all or none, encoded once', async t => {
  const { log, store, directory } = await openedLog(t)
  let encoded = 0
  const plain = noteStream()
  const stream = {
    ...plain,
    encodeBlock (items: readonly Note[]) {
      encoded += items.length
      return plain.encodeBlock(items)
    },
  }
  const { commits } = store.metrics
  const items = longNotes(1000, 5000)
  const [first, many, last] = await Promise.all([
    log.append(stream, 0, [note('before')]),
    log.append(stream, 0, items, { derivedFrom: 7n }),
    log.append(stream, 0, [note('after')]),
  ])
  t.equal(store.metrics.commits - commits, 3)
  t.equal(encoded, items.length + 2)
  t.strictSame(first, { partition: 0, offset: 0n, index: 0 })
  t.strictSame(many, { partition: 0, offset: 1n, index: 0 }, 'at the place of its first item')
  const { next } = await log.bounds(stream, 0)
  t.strictSame(last, { partition: 0, offset: next - 1n, index: 0 })
  const texts = ['before', ...items.map(({ text }) => text), 'after']
  t.strictSame(await collect(log.read(stream, 0, { from: 0n })), texts, 'in order')
  t.ok(Math.max(...await sizes(log, stream)) <= blockBytesMax)
  t.equal(await log.derivedFrom(stream, 0), 7n)
  await store.close()

  const again = await openedLog(t, directory)
  t.strictSame(await collect(again.log.read(stream, 0, { from: 0n })), texts, 'survives')
  t.strictSame(await again.log.bounds(stream, 0), { first: 0n, next })
  t.equal((await again.log.append(stream, 0, [note('next')])).offset, next)
})

t.test('blocks of one append are stored one commit number after the other, and found after hundreds more', async t => {
  const { log, store, directory } = await openedLog(t)
  const stream = noteStream()
  const large = longNotes(30, 100_000)
  for (let i = 0; i < 150; i++) {
    await Promise.all([log.append(stream, 1, [note(`${i}`)]), i % 10 === 0 && log.append(stream, 0, large)])
  }
  await store.close()
  const again = await openedLog(t, directory)
  t.equal((await collect(again.log.read(stream, 0, { from: 0n }))).length, 15 * large.length)
  t.equal((await collect(again.log.read(stream, 1, { from: 0n }))).length, 150)
})

t.test('the last of several blocks alone says what they were derived from', async t => {
  const { log, store } = await openedLog(t)
  const stream = noteStream()
  await log.append(stream, 0, longNotes(30, 100_000), { derivedFrom: 7n })
  const told: number[] = []
  for (const { key, value } of store.env.getRange({ start: Buffer.from([0x10]), end: Buffer.from([0x11]) })) {
    if (key[0] === 0x10) told.push(value.readUIntBE(17, 6) - 1)
  }
  t.ok(told.length > 2)
  t.strictSame(told.map((from, i) => i < told.length - 1 ? from === -1 : from === 7), told.map(() => true))
})

t.test('texts of many bytes a character are cut by what they take on the disk', async t => {
  const { log } = await openedLog(t)
  const stream = noteStream()
  const items = longNotes(40, 20_000, '\u{8a9e}')
  const outcomes = await Promise.all([
    log.append(stream, 0, items),
    ...items.map(item => log.append(stream, 0, [item])),
  ])
  t.equal(outcomes.length, 41)
  t.strictSame(await collect(log.read(stream, 0, { from: 0n })), [...items, ...items].map(({ text }) => text))
  t.ok(Math.max(...await sizes(log, stream)) <= blockBytesMax)
})

t.test('an item that is more than a block is refused, and the appends beside it are not', async t => {
  const { log } = await openedLog(t)
  const stream = noteStream()
  const outcomes = await Promise.allSettled([
    log.append(stream, 0, [note('before')]),
    log.append(stream, 0, [note('with it'), note('x'.repeat(blockBytesMax))]),
    log.append(stream, 0, [note('after')]),
    log.append(stream, 0, [note('\u{8a9e}'.repeat(blockBytesMax / 2))]),
  ])
  t.match(outcomes, [
    { status: 'fulfilled' },
    { status: 'rejected', reason: { code: 'payload-too-large' } },
    { status: 'fulfilled' },
    { status: 'rejected', reason: { code: 'payload-too-large' } },
  ])
  t.strictSame(await collect(log.read(stream, 0, { from: 0n })), ['before', 'after'])
  t.equal(log.metrics.pendingBytes, 0)
})

t.test('a block that was set aside is kept as far as a block has room for', async t => {
  const { log, store, directory } = await openedLog(t)
  const stream = noteStream()
  await log.append({ ...stream, encodeBlock: () => Buffer.alloc(blockBytesMax - 30, 1) }, 0, [note('x')])
  await store.close()
  const again = await openedLog(t, directory)
  t.strictSame(await collect(again.log.read(stream, 0, { from: 0n })), [])
  await again.store.settled()
  const { next } = await again.log.bounds({ ...stream, name: `${stream.name}.rejected` }, 0)
  t.equal(next, 1n)
})

t.test('a follower is told what the items of a block take, where they are its alone', async t => {
  const { log } = await openedLog(t)
  const stream = noteStream()
  const blocks: Array<Block<Note>> = []
  const following = await log.follow(stream, 'readers', {
    assigned: async () => 0n,
    received: block => { blocks.push(block) },
    revoked: async () => {},
  })
  t.teardown(() => following.stop())
  await Promise.all([log.append(stream, 0, longNotes(3, 10)), log.append(stream, 0, longNotes(2, 20))])
  await log.append(stream, 0, longNotes(1000, 5000))
  await log.append(stream, 0, longNotes(1, 7))
  while (blocks.at(-1)?.items.length !== 1) await new Promise(resolve => setTimeout(resolve, 5))
  const known = blocks.filter(({ bytes }) => bytes !== undefined)
  t.ok(known.length >= 2)
  for (const { items, bytes } of known) t.equal(bytes, items.reduce((sum, item) => sum + stream.bytesOf(item), 0))
})
