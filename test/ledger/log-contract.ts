import type { Test } from 'tap'
import { setTimeout as sleep } from 'node:timers/promises'
import { formatPosition, type Block, type EventLog, type Follower, type Hole, type ReadRange } from '../../ledger/log.js'
import { userKey } from '../../schemas/apps.js'
import { GatewayError } from '../../schemas/errors.js'
import { posts, type Stream } from '../../schemas/streams.js'
import { bytesOfValue } from '../../schemas/sizes.js'

export interface Note { readonly userId: string, readonly text: string }

export interface LogSides {
  /** An open log in which `stream`, with 4 partitions, is empty. Closed by a teardown of `t`. */
  open (t: Test, stream: Stream<Note>): Promise<EventLog>
  /** Closes the log and opens the same one again. */
  reopen? (t: Test, log: EventLog, stream: Stream<Note>): Promise<EventLog>
  /** The same as `open`, with this bound on the bytes of appends without an outcome. */
  openBounded? (t: Test, stream: Stream<Note>, pendingBytesMax: number): Promise<EventLog>
  /** Deletes the blocks of a partition before offset `to`, as retention does. */
  cut (log: EventLog, stream: Stream<Note>, partition: number, to: bigint): Promise<void>
  /** Whether an append is delivered to a follower as the very objects that were given to it. */
  readonly sameObjects?: boolean
}

let streams = 0

/** A stream of its own for one test. */
export function noteStream (): Stream<Note> {
  const decodeBlock = (bytes: Uint8Array): Note[] => {
    try {
      return JSON.parse(Buffer.from(bytes).toString())
    } catch (err) {
      throw new GatewayError('bad-record', 'not a note', { cause: err })
    }
  }
  return {
    name: `notes-${process.pid}-${++streams}`,
    blocks: true,
    key: ({ userId }) => userId,
    bytesOf: bytesOfValue,
    encodeBlock: items => {
      if (items.some(({ text }) => typeof text !== 'string')) throw new TypeError('a note needs a text')
      return Buffer.from(JSON.stringify(items))
    },
    decodeBlock,
    decodeItemsOf: (bytes, keys) => decodeBlock(bytes).filter(({ userId }) => keys.has(userId)),
  }
}

export function note (text: string, userId = 'ada'): Note { return { userId, text } }

export function notes (count: number, prefix = 'n'): Note[] {
  return Array.from({ length: count }, (_, i) => note(`${prefix}${i}`))
}

/** Collects what it gets, partition by partition, and starts where `from` says. */
export function collector (from: (partition: number) => bigint = () => 0n) {
  const blocks: Array<Block<Note>> = []
  const events: string[] = []
  return {
    blocks,
    events,
    texts: (partition?: number) => blocks.filter(block => partition === undefined || block.partition === partition)
      .flatMap(({ items }) => items.map(({ text }) => text)),
    async assigned (partition: number) { events.push(`+${partition}`); return from(partition) },
    received (block: Block<Note>): void | Promise<void> { blocks.push(block) },
    async revoked (partition: number) { events.push(`-${partition}`) },
  } satisfies Follower<Note> & Record<string, unknown>
}

export async function until (holds: () => boolean, withinMs = 60_000): Promise<void> {
  for (const end = performance.now() + withinMs; !holds(); await sleep(2)) {
    if (performance.now() > end) throw new Error('what the test waits for did not happen')
  }
}

export async function collect (blocks: AsyncIterable<Block<Note>>): Promise<string[]> {
  const texts: string[] = []
  for await (const { items } of blocks) texts.push(...items.map(({ text }) => text))
  return texts
}

/** What every side of the `EventLog` port does. */
export async function logContract (
  t: Test, { open, reopen, openBounded, cut, sameObjects = false }: LogSides
): Promise<void> {
  await t.test('append', async t => {
    const stream = noteStream()
    const log = await open(t, stream)

    await t.test('keeps the order of appends to one partition, and the items of one append as neighbours', async t => {
      const positions = await Promise.all(Array.from({ length: 50 }, (_, i) =>
        log.append(stream, 0, [note(`${i}a`), note(`${i}b`), note(`${i}c`)])))
      const all: string[] = []
      for await (const { offset, items } of log.read(stream, 0, { from: 0n })) {
        for (const [index, { text }] of items.entries()) {
          all.push(text)
          const position = positions[Number.parseInt(text)]!
          if (text.endsWith('a')) t.strictSame(position, { partition: 0, offset, index }, text)
        }
      }
      t.strictSame(all, Array.from({ length: 50 }, (_, i) => [`${i}a`, `${i}b`, `${i}c`]).flat())
    })

    await t.test('cuts into several blocks what is more than one, in order, at the place of its first item', async t => {
      const stream = noteStream()
      const log = await open(t, stream)
      const long = Array.from({ length: 30 }, (_, i) => note(`${i} ${'x'.repeat(100_000)}`))
      const first = await log.append(stream, 0, [note('before')])
      const many = await log.append(stream, 0, long, { derivedFrom: 7n })
      const last = await log.append(stream, 0, [note('after')])
      const texts: string[] = []
      const places: string[] = []
      for await (const { offset, items } of log.read(stream, 0, { from: 0n })) {
        t.ok(stream.encodeBlock(items).length <= 1 << 20)
        for (const [index, { text }] of items.entries()) {
          texts.push(text)
          places.push(formatPosition({ partition: 0, offset, index }))
        }
      }
      t.strictSame(texts, ['before', ...long.map(({ text }) => text), 'after'])
      t.strictSame([first, many, last].map(formatPosition), [places[0], places[1], places.at(-1)])
      t.equal(await log.derivedFrom(stream, 0), 7n)
    })

    await t.test('keeps 256 KiB in one block, so that the first position tells all', async t => {
      const stream = noteStream()
      const log = await open(t, stream)
      const items = Array.from({ length: 12 }, (_, i) => note(`${i} ${'\u8a9e'.repeat(20_000)}`))
      const appends = [0, 1, 2].map(() => log.append(stream, 0, items))
      for (const { offset, index } of await Promise.all(appends)) {
        for await (const block of log.read(stream, 0, { from: offset, to: offset + 1n })) {
          t.strictSame(block.items.slice(index, index + items.length), items)
        }
      }
    })

    await t.test('resolves with positions that only grow', async t => {
      let last = (await log.append(stream, 1, [note('first')])).offset
      for (let i = 0; i < 5; i++) {
        const { offset } = await log.append(stream, 1, [note('next')])
        t.ok(offset > last)
        last = offset
      }
      t.equal((await log.bounds(stream, 1)).next > last, true)
    })

    await t.test('keeps partitions apart', async t => {
      await Promise.all([log.append(stream, 2, [note('two')]), log.append(stream, 3, [note('three')])])
      t.strictSame(await collect(log.read(stream, 2, { from: 0n })), ['two'])
      t.strictSame(await collect(log.read(stream, 3, { from: 0n })), ['three'])
    })

    await t.test('rejects only the append whose items can not be encoded', async t => {
      const outcomes = await Promise.allSettled([
        log.append(stream, 2, [note('good')]),
        log.append(stream, 2, [{ userId: 'ada', text: 1 as unknown as string }]),
        log.append(stream, 2, [note('good too')]),
      ])
      t.strictSame(outcomes.map(({ status }) => status), ['fulfilled', 'rejected', 'fulfilled'])
      t.match(outcomes[1], { reason: { name: 'EncodeError', message: 'it can not be encoded: a note needs a text' } })
      t.strictSame(await collect(log.read(stream, 2, { from: 0n })), ['two', 'good', 'good too'])
    })

    await t.test('refuses a partition that the stream does not have', async t => {
      await t.rejects(log.append(stream, 4, [note('nowhere')]), { name: 'RangeError' })
    })

    await t.test('gets a lazy append done without another one', async t => {
      await log.append(stream, 3, [note('lazy')], { lazy: true })
      t.strictSame(await collect(log.read(stream, 3, { from: 0n })), ['three', 'lazy'])
    })
  })

  const unbounded = openBounded ? false : 'this side has no bounds'
  await t.test('an append that is more than a block has room for', { skip: unbounded }, async t => {
    const stream = noteStream()
    const log = await open(t, stream)
    const items = Array.from({ length: 40 }, (_, i) => note(`${i} ${'x'.repeat(100_000)}`))
    const { offset, index } = await log.append(stream, 1, items, { derivedFrom: 7n })
    const sizes: number[] = []
    const texts: string[] = []
    for await (const block of log.read(stream, 1, { from: 0n })) {
      sizes.push(bytesOfValue(block.items))
      texts.push(...block.items.map(({ text }) => text))
      t.ok(block.offset >= offset)
    }
    t.strictSame(texts, items.map(({ text }) => text), 'is there, in order')
    t.ok(sizes.every(bytes => bytes < 1_100_000), `in blocks of 1 MiB: ${sizes}`)
    t.equal(index, 0)
    t.equal(await log.derivedFrom(stream, 1), 7n)
  })

  await t.test('bytes that wait', { skip: unbounded }, async t => {
    const bytesMax = 40_000
    const large = note('x'.repeat(2_000 - bytesOfValue(note(''))))
    const outcomes = async (appends: Array<Promise<unknown>>) =>
      (await Promise.allSettled(appends)).map(({ status }) => status === 'fulfilled')

    await t.test('are bounded: a busy partition leaves room to others, and clients to what is reserved', async t => {
      const stream = noteStream()
      const log = await openBounded!(t, stream, bytesMax)
      const several = (partition: number, reserved = false) =>
        outcomes(Array.from({ length: 20 }, () => log.append(stream, partition, [large], { reserved })))
      const [busy, second, third, fourth, late, reserved] = await Promise.all([
        several(0), several(1), several(2), several(3),
        log.append(stream, 1, [note('late')]).catch(err => err),
        several(1, true),
      ])
      const taken = [busy, second, third, fourth].map(outcomes => outcomes.filter(Boolean).length)
      t.strictSame(taken, [8, 4, 2, 1], 'no partition takes more than it leaves free, of three quarters')
      t.match(late, { code: 'ledger-unavailable', message: /want at most 30000/ })
      t.equal(reserved.filter(Boolean).length, 3, 'the last quarter is for what the gateway itself must write')
      await t.resolves(log.append(stream, 0, [note('later')]), 'and there is room again once they are written')
    })

    await t.test('count every field of an item', async t => {
      const stream = noteStream()
      const log = await openBounded!(t, stream, bytesMax)
      const items = Array.from({ length: 20 }, () => note('', 'u'.repeat(2_000 - bytesOfValue(note('', '')))))
      t.equal((await outcomes(items.map(item => log.append(stream, 0, [item])))).filter(Boolean).length, 8)
    })

    await t.test('let an append through that is larger than the bound where nothing waits', async t => {
      const stream = noteStream()
      const log = await openBounded!(t, stream, bytesMax)
      const huge = note('x'.repeat(2 * bytesMax))
      t.strictSame(await outcomes([huge, huge].map(item => log.append(stream, 0, [item]))), [true, false])
    })
  })

  await t.test('derivedFrom', async t => {
    const stream = noteStream()
    let log = await open(t, stream)
    t.equal(await log.derivedFrom(stream, 0), -1n, 'is -1 for a partition without')
    await log.append(stream, 0, [note('plain')])
    t.equal(await log.derivedFrom(stream, 0), -1n, 'is -1 where no append named one')
    await Promise.all([7n, 9n].map(derivedFrom => log.append(stream, 0, notes(2), { derivedFrom })))
    await log.append(stream, 0, [note('plain')])
    t.equal(await log.derivedFrom(stream, 0), 9n, 'is the highest that was appended')
    t.equal(await log.derivedFrom(stream, 1), -1n, 'is kept for each partition')
    if (reopen) {
      log = await reopen(t, log, stream)
      t.equal(await log.derivedFrom(stream, 0), 9n, 'survives')
    }
  })

  await t.test('bounds', async t => {
    const stream = noteStream()
    const log = await open(t, stream)
    t.strictSame(await log.bounds(stream, 0), { first: 0n, next: 0n }, 'are 0 and 0 when nothing was appended')
    const { offset } = await log.append(stream, 0, [note('one')])
    t.strictSame(await log.bounds(stream, 0), { first: 0n, next: offset + 1n })
  })

  await t.test('offsetAt', async t => {
    const stream = noteStream()
    const log = await open(t, stream)
    t.equal(await log.offsetAt(stream, 0, 0), 0n, 'is the next offset where nothing was appended')
    const offsets: bigint[] = []
    const times: number[] = []
    for (const item of notes(5)) {
      await sleep(3)
      times.push(Date.now())
      offsets.push((await log.append(stream, 0, [item])).offset)
      await sleep(3)
    }
    for (const [i, atMs] of times.entries()) {
      t.equal(await log.offsetAt(stream, 0, atMs), offsets[i], 'is that of the first block at or after the time')
    }
    t.equal(await log.offsetAt(stream, 0, 0), offsets[0], 'is the first one for a time before all')
    t.equal(await log.offsetAt(stream, 0, Date.now() + 60_000), offsets.at(-1)! + 1n, 'is the next one for a time after all')
  })

  await t.test('reopened', { skip: reopen ? false : 'this side does not reopen' }, async t => {
    const stream = noteStream()
    let log = await open(t, stream)
    const written = await Promise.all(notes(20).map(item => log.append(stream, 0, [item])))
    const before = await log.bounds(stream, 0)
    log = await reopen!(t, log, stream)
    t.strictSame(await collect(log.read(stream, 0, { from: 0n })), notes(20).map(({ text }) => text), 'has every append')
    t.strictSame(await log.bounds(stream, 0), before, 'has its bounds')
    t.equal(log.partitions(stream), 4, 'has its partitions')
    const { offset } = await log.append(stream, 0, [note('after')])
    t.ok(offset > written.at(-1)!.offset, 'goes on after the last offset')
  })

  await t.test('read', async t => {
    const stream = noteStream()
    const log = await open(t, stream)
    const offsets: bigint[] = []
    for (const item of notes(6)) offsets.push((await log.append(stream, 0, [item])).offset)

    await t.test('tells of blocks that were deleted before it came to them', async t => {
      const stream = noteStream()
      const log = await open(t, stream)
      const at: bigint[] = []
      for (const item of notes(9)) at.push((await log.append(stream, 0, [item])).offset)
      const ending = new AbortController()
      const ranges: Record<string, Omit<ReadRange, 'passed'>> = {
        'from before': { from: at[0]! },
        'of a key': { from: at[1]!, key: 'ada' },
        'of what is all gone': { from: at[1]!, to: at[3]! },
        'of what is kept': { from: at[7]! },
        'that is followed': { from: at[0]!, signal: ending.signal },
      }
      await cut(log, stream, 0, at[5]!)
      for (const [name, range] of Object.entries(ranges)) {
        const told: string[] = []
        const passed = ({ from, to }: Hole) => { told.push(`${from} to ${to} are gone`) }
        for await (const { items } of log.read(stream, 0, { ...range, passed })) {
          told.push(items[0]!.text)
          if (range.signal && items[0]!.text === 'n8') ending.abort()
        }
        const kept = range.from === at[7] ? ['n7', 'n8'] : range.to ? [] : ['n5', 'n6', 'n7', 'n8']
        const gone = range.from === at[7] ? [] : [`${range.from} to ${range.to ?? at[5]} are gone`]
        t.strictSame(told, [...gone, ...kept], name)
      }
    })

    await t.test('gives the blocks from `from` up to but without `to`', async t => {
      t.strictSame(await collect(log.read(stream, 0, { from: offsets[1]!, to: offsets[4]! })), ['n1', 'n2', 'n3'])
      t.strictSame(await collect(log.read(stream, 0, { from: offsets[4]! })), ['n4', 'n5'])
      t.strictSame(await collect(log.read(stream, 0, { from: offsets[5]! + 1n })), [])
      t.strictSame(await collect(log.read(stream, 1, { from: 0n })), [])
    })

    await t.test('has the items of some keys alone, of all blocks, and how large each one is', async t => {
      const stream = noteStream()
      const log = await open(t, stream)
      for (const items of [[note('a'), note('b', 'bob'), note('c', 'cleo')], [note('d', 'cleo')], [note('e'), note('f')]]) {
        await log.append(stream, 0, items)
      }
      const seen = []
      const keys = new Set(['ada', 'bob'])
      for await (const { items, stored } of log.read(stream, 0, { from: 0n, keys })) {
        seen.push([items.map(({ text }) => text).join(''), stored])
      }
      const size = (...items: Note[]) => stream.encodeBlock(items).length
      t.strictSame(seen, [
        ['ab', size(note('a'), note('b', 'bob'), note('c', 'cleo'))], ['', size(note('d', 'cleo'))],
        ['ef', size(note('e'), note('f'))],
      ])
    })

    await t.test('finds the records of a user of an app by his key', async t => {
      const key = userKey('shop', 'ann')
      const log = await open(t, posts as Stream<any>)
      const post = { roomSeq: 1, messageId: 'm1', from: '', service: '', payload: Buffer.of(), postedAtMs: 1 }
      await log.append(posts, 0, [{ ...post, roomId: key }])
      const found: string[] = []
      for await (const { items } of log.read(posts, 0, { from: 0n, key })) {
        found.push(...items.map(({ roomId }) => roomId))
      }
      t.strictSame(found, [key])
    })

    await t.test('leaves out blocks without an item of the key that it looks for', async t => {
      const stream = noteStream()
      const log = await open(t, stream)
      const texts = (key: string) => collect(log.read(stream, 0, { from: 0n, key }))
      for (let i = 0; i < 700; i++) await log.append(stream, 0, [note(`${i}`, `user-${i % 350}.`), note('', 'all')])
      t.strictSame((await texts('user-7.')).filter(text => text !== ''), ['7', '357'], 'however many there are')
      t.strictSame(await texts('nobody'), [])
      t.equal((await texts('all')).length, 1400)
    })

    await t.test('ends at the end as it was at the call', async t => {
      const texts: string[] = []
      for await (const { items } of log.read(stream, 0, { from: offsets[4]! })) {
        texts.push(...items.map(({ text }) => text))
        await log.append(stream, 0, [note('later')])
      }
      t.strictSame(texts, ['n4', 'n5'])
    })

    await t.test('goes on with what arrives while it has a signal, and ends without an error when that aborts', async t => {
      const abort = new AbortController()
      const texts: string[] = []
      const reading = (async () => {
        for await (const { items } of log.read(stream, 2, { from: 0n, signal: abort.signal })) {
          texts.push(...items.map(({ text }) => text))
        }
      })()
      await log.append(stream, 2, [note('a')])
      await until(() => texts.length === 1)
      await log.append(stream, 2, [note('b')])
      await until(() => texts.length === 2)
      abort.abort()
      await reading
      t.strictSame(texts, ['a', 'b'])
    })

    await t.test('with a signal that has aborted gives nothing', async t => {
      t.strictSame(await collect(log.read(stream, 0, { from: 0n, signal: AbortSignal.abort() })), [])
    })

    await t.test('lets other work run', async t => {
      await Promise.all(notes(20_000).map((item, i) => i % 20 === 0 && log.append(stream, 3, [item])))
      for (let i = 0; i < 200; i++) await log.append(stream, 3, notes(100))
      let ticks = 0
      const ticking = setInterval(() => ticks++, 1)
      t.teardown(() => clearInterval(ticking))
      let count = 0
      for await (const { items } of log.read(stream, 3, { from: 0n })) {
        count += items.length
        // A reader that takes its time: over all of the blocks it adds up to more than any turn may take.
        for (const startMs = performance.now(); performance.now() - startMs < 0.5;);
      }
      t.equal(count, 21_000)
      t.ok(ticks > 0)
    })
  })

  await t.test('follow', async t => {
    await t.test('gives each partition to its follower, from the offset that it wants', async t => {
      const stream = noteStream()
      const log = await open(t, stream)
      const offsets: bigint[] = []
      for (const item of notes(4)) offsets.push((await log.append(stream, 0, [item])).offset)
      const follower = collector(partition => partition === 0 ? offsets[2]! : 0n)
      await log.follow(stream, 'group', follower)
      t.strictSame(follower.events.sort(), ['+0', '+1', '+2', '+3'], 'all are assigned when it resolves')
      await log.append(stream, 0, [note('new')])
      await until(() => follower.blocks.length === 3)
      t.strictSame(follower.texts(), ['n2', 'n3', 'new'])
    })

    await t.test('delivers the same order to every group', async t => {
      const stream = noteStream()
      const log = await open(t, stream)
      const [one, two] = [collector(), collector()]
      await log.follow(stream, 'one', one)
      await log.follow(stream, 'two', two)
      const items = notes(100)
      await Promise.all(items.map(item => log.append(stream, 1, [item])))
      await until(() => one.texts().length === 100 && two.texts().length === 100)
      t.strictSame(one.texts(), items.map(({ text }) => text))
      t.strictSame(two.texts(), one.texts())
      if (sameObjects) {
        t.equal(one.blocks[0]!.items[0], items[0], 'of the very objects that were appended')
        t.equal(one.blocks[0], two.blocks[0], 'in the very same block')
      }
    })

    await t.test('waits for a slow follower, one block at a time, and misses nothing', async t => {
      const stream = noteStream()
      const log = await open(t, stream)
      const follower = collector()
      let busy = 0
      let overlaps = 0
      await log.follow(stream, 'slow', {
        ...follower,
        async received (block) {
          if (++busy > 1) overlaps++
          await sleep(1)
          follower.blocks.push(block)
          busy--
        },
      })
      const long = 'x'.repeat(20_000)
      for (let i = 0; i < 60; i++) await log.append(stream, 0, [note(`${i} ${long}`)])
      await until(() => follower.texts().length === 60)
      t.equal(overlaps, 0)
      t.strictSame(follower.texts().map(text => Number.parseInt(text)), Array.from({ length: 60 }, (_, i) => i))
    })

    await t.test('tells of what retention deleted, before what is behind that comes', async t => {
      const stream = noteStream()
      const log = await open(t, stream)
      const at: bigint[] = []
      for (const item of notes(9)) at.push((await log.append(stream, 0, [item])).offset)
      await cut(log, stream, 0, at[5]!)
      const followed = async (group: string, from: bigint) => {
        const told: string[] = []
        await log.follow(stream, group, {
          ...collector(() => from),
          passed: (partition, hole) => { told.push(`${hole.from} to ${hole.to} of ${partition} are gone`) },
          received: ({ items }) => { told.push(...items.map(({ text }) => text)) },
        })
        await until(() => told.at(-1) === 'n8')
        return told
      }
      const kept = ['n5', 'n6', 'n7', 'n8']
      t.strictSame(await followed('behind', at[1]!), [`${at[1]} to ${at[5]} of 0 are gone`, ...kept])
      t.strictSame(await followed('in time', at[5]!), kept)
      t.strictSame(await followed('new', 0n), kept, 'that wants what is kept')
    })

    await t.test('goes on after a follower that failed', async t => {
      const stream = noteStream()
      const log = await open(t, stream)
      const follower = collector()
      await log.follow(stream, 'failing', {
        ...follower,
        received (block) {
          if (block.items[0]!.text === 'n0') throw new Error('thrown')
          if (block.items[0]!.text === 'n1') return Promise.reject(new Error('rejected'))
          follower.blocks.push(block)
        },
      })
      for (const item of notes(3)) await log.append(stream, 0, [item])
      await until(() => follower.texts().length === 1)
      t.strictSame(follower.texts(), ['n2'])
    })

    await t.test('shares the partitions among the members of a group, each to exactly one', async t => {
      const stream = noteStream()
      const log = await open(t, stream)
      const taken = [0n, 0n, 0n, 0n]
      function member () {
        const one = collector(partition => taken[partition]!)
        return {
          ...one,
          received (block: Block<Note>) {
            taken[block.partition] = block.offset + 1n
            one.blocks.push(block)
          },
        }
      }
      const [first, second] = [member(), member()]
      const following = await log.follow(stream, 'shared', first)
      for (let p = 0; p < 4; p++) await log.append(stream, p, [note(`${p} alone`)])
      await until(() => first.texts().length === 4)
      await log.follow(stream, 'shared', second)
      t.equal(second.events.length, 2, 'half of them move')
      for (let p = 0; p < 4; p++) await log.append(stream, p, [note(`${p} shared`)])
      await until(() => first.texts().length + second.texts().length === 8)
      t.strictSame(second.texts().sort(), second.events.map(event => `${event[1]} shared`).sort())
      t.strictSame([...first.texts(), ...second.texts()].sort(), Array.from({ length: 4 }, (_, p) =>
        [`${p} alone`, `${p} shared`]).flat(), 'each block goes to one of them')

      await following.stop()
      t.equal(first.events.filter(event => event.startsWith('-')).length, 4, 'a member that stops gives all of its own back')
      // A member in another process learns of it a little later.
      await until(() => second.events.filter(event => event.startsWith('+')).length === 4)
      t.equal(second.events.filter(event => event.startsWith('+')).length, 4, 'and the other asks for their positions')
      for (let p = 0; p < 4; p++) await log.append(stream, p, [note(`${p} left`)])
      await until(() => second.texts().filter(text => text.endsWith('left')).length === 4)
      t.equal(first.texts().filter(text => text.endsWith('left')).length, 0)
    })

    await t.test('handles no block while or after it revokes', async t => {
      const stream = noteStream()
      const log = await open(t, stream)
      const trace: string[] = []
      let release = () => {}
      const held = new Promise<void>(resolve => { release = resolve })
      const following = await log.follow(stream, 'leaving', {
        async assigned () { return 0n },
        async received () { trace.push('received'); await held; trace.push('done') },
        async revoked (partition) { if (partition === 0) trace.push('revoked') },
      })
      await log.append(stream, 0, [note('a')])
      await until(() => trace.length > 0)
      await log.append(stream, 0, [note('b')])
      const stopped = following.stop()
      await sleep(30)
      release()
      await stopped
      await log.append(stream, 0, [note('c')])
      t.strictSame(trace, ['received', 'done', 'revoked'])
    })

    await t.test('tells a follower what its group last committed', async t => {
      const stream = noteStream()
      let log = await open(t, stream)
      const offsets: bigint[] = []
      for (const item of notes(3)) offsets.push((await log.append(stream, 1, [item])).offset)
      const committed = async (group: string) => {
        const told: bigint[] = []
        const follower = collector()
        const following = await log.follow(stream, group, {
          ...follower,
          async assigned (partition, committed) { told[partition] = committed; return committed },
        })
        return { told, follower, following }
      }
      const first = await committed('committing')
      t.strictSame(first.told, [0n, 0n, 0n, 0n], 'nothing at first')
      first.following.commit(1, offsets[1]!)
      first.following.commit(1, offsets[2]!)
      await first.following.stop()
      const second = await committed('committing')
      t.strictSame(second.told, [0n, offsets[2]!, 0n, 0n], 'the last one in its own process')
      await until(() => second.follower.texts().length === 1)
      t.strictSame(second.follower.texts(), ['n2'])
      await second.following.stop()
      second.following.commit(1, offsets[0]!)
      t.strictSame((await committed('another')).told, [0n, 0n, 0n, 0n], 'nothing of another group')
      if (reopen) {
        log = await reopen(t, log, stream)
        t.strictSame((await committed('committing')).told, [0n, offsets[2]!, 0n, 0n], 'the last one when reopened')
      }
    })

    await t.test('keeps a place within a block once it says so, and tells it to whoever gets the partition', async t => {
      const stream = noteStream()
      let log = await open(t, stream)
      const { offset } = await log.append(stream, 1, notes(3))
      const told = async (group: string) => {
        const places: string[] = []
        const following = await log.follow(stream, group, {
          ...collector(),
          async assigned (partition, committed, index) {
            places[partition] = `${committed}.${index}`
            return committed
          },
        }, { comesAndGoes: true })
        return { following, place: places[1] }
      }
      const first = await told('keeping')
      t.equal(first.place, '0.0')
      await Promise.all([1, 2].map(index => first.following.keep(1, { next: offset, index })))
      await first.following.stop()
      await t.rejects(first.following.keep(1, { next: 0n, index: 0 }), { code: 'not-leased' }, 'it has given it back')
      const second = await told('keeping')
      t.equal(second.place, `${offset}.2`)
      await second.following.stop()
      if (!reopen) return
      log = await reopen(t, log, stream)
      const third = await told('keeping')
      t.equal(third.place, `${offset}.2`, 'the last one when reopened')
      await third.following.keep(1, { next: offset + 1n, index: 0 })
      await third.following.stop()
      t.equal((await told('keeping')).place, `${offset + 1n}.0`)
    })

    await t.test('reassigns a partition whose follower went back', async t => {
      const stream = noteStream()
      const log = await open(t, stream)
      for (const item of notes(3)) await log.append(stream, 2, [item])
      const follower = collector()
      const following = await log.follow(stream, 'going back', follower)
      await until(() => follower.texts().length === 3)
      follower.events.length = 0
      await following.reassign(2)
      t.strictSame(follower.events, ['-2', '+2'])
      await until(() => follower.texts().length === 6)
      t.strictSame(follower.texts(), ['n0', 'n1', 'n2', 'n0', 'n1', 'n2'])
      await following.stop()
      follower.events.length = 0
      await following.reassign(2)
      t.strictSame(follower.events, [], 'and leaves alone one that is not its own')
    })

    await t.test('asks again when the follower can not tell its position yet', async t => {
      const stream = noteStream()
      const log = await open(t, stream)
      await log.append(stream, 0, [note('a')])
      const follower = collector()
      let asked = 0
      await log.follow(stream, 'hesitant', {
        ...follower,
        async assigned (partition) {
          if (partition === 0 && ++asked < 3) throw new Error('its store is away')
          return 0n
        },
      })
      await until(() => follower.texts().length === 1)
      t.equal(asked, 3)
    })
  })

  await t.test('close', async t => {
    const stream = noteStream()
    const log = await open(t, stream)
    const follower = collector()
    await log.follow(stream, 'group', follower)
    const reading = collect(log.read(stream, 1, { from: 0n, signal: new AbortController().signal }))
    const appended = log.append(stream, 0, [note('last')])
    await log.close()
    await t.resolves(appended, 'flushes what is pending')
    t.strictSame(await reading, [], 'ends every reader')
    t.strictSame(follower.events.filter(event => event.startsWith('-')).length, 4, 'revokes every partition')
    t.strictSame(follower.texts(), ['last'], 'after it was delivered')
    await t.rejects(log.append(stream, 0, [note('late')]), { code: 'ledger-unavailable' }, 'refuses further appends')
    t.equal(log.health().ok, false)
    await t.resolves(log.close(), 'can be repeated')
  })
}
