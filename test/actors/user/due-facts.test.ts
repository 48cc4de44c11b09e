import t from 'tap'
import { DueFacts } from '../../../actors/user/due-facts.js'
import { type AskDue, dueFactOf } from '../../../actors/user/due.js'
import { fold } from '../../../actors/user/fold.js'
import { newUser, type UserState } from '../../../actors/user/state.js'
import type { Block } from '../../../ledger/log.js'
import type { Entry, Fact } from '../../../schemas/facts.js'
import { closed, opened, reported, requested } from './history.js'
import { until } from '../given.js'

/** A partition of the ledger in memory, its users, and what is due of it. */
class World {
  readonly blocks: Array<Block<Entry>> = []
  readonly states = new Map<string, UserState>()
  readonly asked: AskDue[] = []
  readonly failures: string[] = []
  /** Offsets that were read from the ledger. */
  readonly reads: bigint[] = []
  answers = true
  /** The user that does not answer, whoever else does. */
  silent = ''
  away = false
  due = this.owner(-1n)

  owner (folded: bigint, from?: bigint): DueFacts {
    const world = this
    return new DueFacts({
      partition: 0,
      log: {
        async append (_stream, _partition, items) {
          if (world.away) throw new Error('away')
          return { partition: 0, offset: world.append(items as unknown as Entry[]), index: 0 }
        },
        async * read<T> (_stream: unknown, _partition: number, { from }: { from: bigint }) {
          for (const block of world.blocks.slice(Number(from))) {
            world.reads.push(block.offset)
            yield block as unknown as Block<T>
          }
        },
      },
      ask (question) {
        world.asked.push(question)
        const { userId, entry } = question
        const isSilent = !world.answers || userId === world.silent
        if (!isSilent) question.answer(dueFactOf(world.states.get(userId)!, entry))
      },
      failing: reason => { world.failures.push(reason) },
    }, folded, from)
  }

  append (items: readonly Entry[]): bigint {
    const offset = BigInt(this.blocks.length)
    const block = { partition: 0, offset, items }
    this.blocks.push(block)
    this.due.received(block)
    for (const entry of items) {
      const state = this.states.get(entry.userId) ?? newUser()
      this.states.set(entry.userId, state)
      fold(state, entry)
    }
    return offset
  }

  happens (atMs: number, fact: Fact, userId = 'ann'): void { this.append([{ userId, atMs, fact }]) }

  /** What the ledger was told, in short. */
  get told (): string[] {
    return this.blocks.flatMap(({ items }) => items).flatMap(({ userId, fact }) => {
      if (fact.type === 'HandOverDue') return [`${userId} ${fact.messageId} ${fact.requestedAtMs} ${fact.payload}`]
      return fact.type === 'AbsenceEnded' ? [`${userId} ${fact.deviceId} ${fact.connectionId} ${fact.code} ${fact.sinceMs}`] : []
    })
  }

  async sweep (nowMs: number): Promise<void> {
    this.due.sweep(nowMs)
    await new Promise(resolve => { setImmediate(resolve) })
  }
}

const offline = (messageId: string, offlineAfterMs = 10_000, more: object = {}) =>
  requested(messageId, { offlineAfterMs, ...more })

t.test('A downlink', async t => {
  t.test('is handed over once nobody has acked it in time', async t => {
    const world = new World()
    world.happens(0, opened('c1'))
    world.happens(1_000, offline('m1'))
    await world.sweep(10_999)
    t.strictSame(world.told, [])
    await world.sweep(11_000)
    t.strictSame(world.told, ['ann m1 1000 m1'])
    await world.sweep(99_000)
    t.equal(world.told.length, 1, 'once')
    t.equal(world.due.size, 0)
  })
  t.test('is not where a device has acked it, or where it is never to be', async t => {
    const world = new World()
    world.happens(0, opened('c1'))
    world.happens(0, offline('m1'))
    world.happens(0, offline('m2', 0))
    world.happens(5_000, reported('c1', 1))
    await world.sweep(99_000)
    t.strictSame(world.told, [])
    t.equal(world.asked.length, 1)
  })
  t.test('waits for its own time, whoever came before', async t => {
    const world = new World()
    world.happens(0, offline('late', 60_000))
    world.happens(0, offline('soon', 5_000))
    await world.sweep(5_000)
    t.strictSame(world.told, ['ann soon 0 soon'])
    t.equal(world.due.from, 0n)
    await world.sweep(60_000)
    t.strictSame(world.told, ['ann soon 0 soon', 'ann late 0 late'])
    t.equal(world.due.from, undefined)
  })
})

t.test('A device', async t => {
  const lost = (connectionId: string) => closed(connectionId, { code: 'connection-lost', presenceGraceMs: 5_000 })
  t.test('is offline once its grace is over', async t => {
    const world = new World()
    world.happens(0, opened('c1', { presence: true }))
    world.happens(2_000, lost('c1'))
    await world.sweep(6_999)
    t.strictSame(world.told, [])
    await world.sweep(7_000)
    t.strictSame(world.told, ['ann phone c1 connection-lost 2000'])
  })
  t.test('is not where it has come back, nor for an absence before', async t => {
    const world = new World()
    world.happens(0, opened('c1', { presence: true }))
    world.happens(2_000, lost('c1'))
    world.happens(3_000, opened('c2', { presence: true }))
    world.happens(6_000, lost('c2'))
    await world.sweep(7_000)
    t.strictSame(world.told, [])
    await world.sweep(11_000)
    t.strictSame(world.told, ['ann phone c2 connection-lost 6000'])
  })
})

t.test('What is due', async t => {
  t.test('is told by the next owner, who goes on from the oldest that waits', async t => {
    const world = new World()
    for (let i = 0; i < 20; i++) world.happens(i * 1_000, offline(`m${i}`), `u${i}`)
    await world.sweep(14_000)
    t.equal(world.told.length, 5)
    const { from } = world.due
    t.equal(from, 5n)
    t.ok(world.due.takeMoved())
    t.notOk(world.due.takeMoved(), 'and is saved once')
    world.due = world.owner(BigInt(world.blocks.length - 1), from)
    await world.sweep(14_000)
    await until(() => world.due.size === 15)
    await world.sweep(99_000)
    t.strictSame(world.told.map(told => told.split(' ')[0]), Array.from({ length: 20 }, (_, i) => `u${i}`))
    t.equal(world.due.from, undefined)
  })
  t.test('is told again after what was told but not known to be, and folded once', async t => {
    const world = new World()
    world.happens(0, offline('m1'))
    await world.sweep(10_000)
    world.due = world.owner(BigInt(world.blocks.length - 1), 0n)
    await world.sweep(10_000)
    await world.sweep(10_000)
    t.strictSame(world.told, ['ann m1 0 m1'], 'its user says that it is handed over')
  })
  t.test('is tried again while the ledger takes nothing', async t => {
    const world = new World()
    world.happens(0, offline('m1'))
    world.happens(0, offline('m2'))
    world.away = true
    await world.sweep(10_000)
    await world.sweep(11_000)
    t.equal(world.failures.length, 2)
    t.match(world.failures[0], /away/)
    t.equal(world.due.from, 0n)
    world.away = false
    await world.sweep(12_000)
    t.strictSame(world.told, ['ann m1 0 m1', 'ann m2 0 m2'])
  })
  t.test('is asked again where nobody answers, and a late answer counts for nothing', async t => {
    const world = new World()
    world.happens(0, offline('m1'))
    world.answers = false
    await world.sweep(10_000)
    await world.sweep(60_000)
    t.equal(world.asked.length, 1)
    world.answers = true
    await world.sweep(70_001)
    t.strictSame(world.told, ['ann m1 0 m1'])
    world.asked[0]!.answer({ type: 'HandOverDue', messageId: 'm1', requestedAtMs: 0, payload: Buffer.of() })
    await world.sweep(70_002)
    t.equal(world.told.length, 1)
  })
  t.test('is held up by nobody who does not answer', async t => {
    const world = new World()
    world.silent = 'stuck'
    for (let i = 0; i < 600; i++) world.happens(i, offline(`s${i}`), 'stuck')
    for (let i = 0; i < 5; i++) world.happens(1_000 + i, offline(`m${i}`), `u${i}`)
    for (let nowMs = 20_000; nowMs < 24_000; nowMs += 1_000) await world.sweep(nowMs)
    t.strictSame(world.told.map(told => told.split(' ')[0]), ['u0', 'u1', 'u2', 'u3', 'u4'])
    t.equal(world.asked.length, 605, 'nobody is asked again before a minute is over')
    t.equal(world.due.size, 600)
    t.equal(world.due.from, 0n, 'the next owner begins with who has not answered')
    // One that is asked again stands behind none that came after it.
    for (let nowMs = 80_001; nowMs < 83_000; nowMs += 1_000) await world.sweep(nowMs)
    t.equal(world.due.from, 0n)
    world.silent = ''
    world.asked.at(-1)!.answer(undefined)
    for (let nowMs = 150_000; nowMs < 153_000; nowMs += 1_000) await world.sweep(nowMs)
    t.equal(world.told.length, 5 + 599)
    t.equal(world.due.size, 0)
    t.equal(world.due.from, undefined)
  })
  t.test('keeps a bound in memory, and reads the ledger for the rest', async t => {
    const world = new World()
    const payload = Buffer.alloc(10_000)
    for (let i = 0; i < 300; i++) world.happens(i, offline(`m${i}`, 10_000, { payload }), `u${i}`)
    t.ok(world.due.size > 90 && world.due.size < 110, `${world.due.size} of 300 wait in memory`)
    t.equal(world.due.from, 0n)
    world.happens(300, offline('short', 1_000), 'last')
    for (let nowMs = 10_000; world.told.length < 301 && nowMs < 30_000; nowMs += 1_000) {
      await world.sweep(nowMs)
      t.ok(world.due.size <= 110)
    }
    const wanted = Array.from({ length: 300 }, (_, i) => `u${i}`).concat('last')
    t.strictSame(world.told.map(told => told.split(' ')[0]).sort(), wanted.sort())
    t.equal(world.due.from, undefined)
    t.equal(new Set(world.reads).size, world.reads.length, 'each block is read once')
  })
  t.test('is nobody\'s any more once the partition is given back', async t => {
    const world = new World()
    world.happens(0, offline('m1'))
    world.answers = false
    await world.sweep(10_000)
    world.due.end()
    world.asked[0]!.answer({ type: 'HandOverDue', messageId: 'm1', requestedAtMs: 0, payload: Buffer.of() })
    t.strictSame(world.told, [])
  })
})
