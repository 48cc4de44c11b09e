import { strict as assert } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import type { Effect } from '../../../actors/user/effects.js'
import { fold } from '../../../actors/user/fold.js'
import { decodeSnapshot, encodeSnapshot } from '../../../actors/user/snapshot.js'
import { Requests } from '../../../actors/user/requests.js'
import { newUser, outboxMax, type UserState } from '../../../actors/user/state.js'
import { type Entry, type Fact, type LoginPolicy } from '../../../schemas/facts.js'
import {
  at, closed, kicked, minute, opened, redelivered, refused, reported, requested, shortly, skipped, uplink,
} from './history.js'
import { devices, longTtlMs, type Step, World } from './world.js'

// Mostly one device, so that much happens to the same session.
const device = fc.oneof(
  { weight: 3, arbitrary: fc.constant(0) },
  { weight: 1, arbitrary: fc.nat({ max: devices - 1 }) })
const policy = fc.constantFrom<LoginPolicy>('device', 'device', 'device', 'platform', 'user', 'none')
const ttlMs = fc.constantFrom(minute, minute, 10 * minute, longTtlMs)

const requests = fc.record({
  do: fc.constant('request' as const),
  count: fc.oneof(
    { weight: 60, arbitrary: fc.integer({ min: 1, max: 4 }) },
    { weight: 1, arbitrary: fc.constant(outboxMax) }),
  ttlMs,
  only: fc.nat({ max: 12 }),
  except: fc.nat({ max: 12 }),
})
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('connect' as const), device, policy, reinstalled: oneIn(8) }) },
  { weight: 6, arbitrary: requests },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('read' as const), device, frames: fc.integer({ min: 1, max: 5 }) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('send' as const), device, uplinks: fc.nat({ max: 3 }) }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constantFrom('ack', 'ack', 'skip', 'report', 'report', 'refill', 'lose'), device }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('drop' as const), device, late: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('leave' as const), device, endSession: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('kick', 'refuse'), device }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('redeliver' as const), device, back: fc.nat({ max: 5 }), again: oneIn(3), ttlMs,
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('crash', 'recordEnds', 'restore') }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(1_000, 2 * minute, 20 * minute) }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('repeat' as const), back: fc.nat({ max: 60 }), length: fc.integer({ min: 1, max: 8 }) }),
  })
const story = fc.array(step, { minLength: 1, maxLength: 120, size: 'max' })

function oneIn (n: number): fc.Arbitrary<boolean> { return fc.nat({ max: n - 1 }).map(i => i === 0) }

/** A failure throws with the seed and the shortest story that fails. */
function holds<T> (arbitrary: fc.Arbitrary<T>, check: (value: T) => void, numRuns = 400): void {
  fc.assert(fc.property(arbitrary, check), { numRuns })
}

t.test('Whatever happens to clients, edges and nodes', async t => {
  t.test('the books balance, the numbers have no gaps, and nothing is missed in silence', async () => {
    holds(story, steps => {
      const world = new World()
      for (const step of steps) world.step(step)
      world.checkBooks()
    }, 600)
  })
  t.test('a client sees every downlink at most once, in order, and all that are not gone and announced', async () => {
    holds(story, steps => {
      const world = new World()
      for (const step of steps) world.step(step)
      world.settleDown()
      world.checkBooks()
      world.checkClients()
    }, 600)
  })
})

t.test('A block that stands in the ledger once more, later', async t => {
  t.test('changes neither the state nor what is published and settled', async () => {
    const places = fc.tuple(fc.nat(), fc.integer({ min: 1, max: 10 }), fc.nat())
    holds(fc.tuple(story, places), ([steps, [from, length, to]]) => {
      const world = new World()
      for (const step of steps) if (step.do !== 'request' || step.count < outboxMax) world.step(step)
      const { entries, refused } = world
      if (entries.length === 0) return
      const start = from % entries.length
      const block = entries.slice(start, start + length)
      const place = Math.min(entries.length, start + block.length + to % (entries.length - start))
      // A refused uplink counts when it comes again behind the one that it waited for: its client sends it again, too.
      const repeated = block.filter(entry => !refused.has(entry))
      const once = folded(entries)
      const twice = folded([...entries.slice(0, place), ...repeated, ...entries.slice(place)])
      assert.deepEqual(plain(twice.state), plain(once.state))
      assert.deepEqual(lasting(twice.effects), lasting(once.effects))
    })
  })
})

t.test('A snapshot', async t => {
  t.test('taken anywhere folds on as if nothing had been in between', async () => {
    holds(fc.tuple(story, fc.nat()), ([steps, at]) => {
      const world = new World()
      for (const step of steps) world.step(step)
      const { entries } = world
      const place = at % (entries.length + 1)
      const through = folded(entries)
      const first = folded(entries.slice(0, place))
      const second = folded(entries.slice(place), decodeSnapshot(encodeSnapshot(first.state)))
      assert.deepEqual(plain(second.state), plain(through.state))
      assert.deepEqual([...first.effects, ...second.effects].map(shortly), through.effects.map(shortly))
    })
  })
  t.test('keeps payloads that are views on larger arrays', async t => {
    const bytes = Uint8Array.from({ length: 32 }, (_, i) => i)
    const { state } = folded([opened('c1'), requested('m1', { payload: bytes.subarray(8, 12) })].map(fact => at(1, fact)))
    state.waiting.push({ ...state.sessions.get('phone')!.outbox[0]!, payload: bytes.subarray(30) })
    const restored = decodeSnapshot(encodeSnapshot(state))
    t.strictSame([...restored.sessions.get('phone')!.outbox[0]!.payload], [8, 9, 10, 11])
    t.strictSame([...restored.waiting[0]!.payload], [30, 31])
  })
})

t.test('The fold', async t => {
  const id = (prefix: string) => fc.nat({ max: 5 }).map(i => i === 0 ? '' : `${prefix}${i}`)
  const seq = fc.oneof(
    { weight: 8, arbitrary: fc.nat({ max: 8 }) },
    { weight: 1, arbitrary: fc.constantFrom(-1, 2 ** 31, 2 ** 50) })
  const anyFact: fc.Arbitrary<Fact> = fc.oneof(
    fc.tuple(id('c'), fc.record({
      deviceId: id('d'), platform: id('p'), sessionId: id('s'), downlinkSeq: seq, loginPolicy: policy, uplinkWindow: seq,
    })).map(([connectionId, fields]) => opened(connectionId, fields)),
    fc.tuple(id('c'), fc.record({ endSession: fc.boolean(), told: fc.boolean(), ackedSeq: seq, writtenSeq: seq }))
      .map(([connectionId, fields]) => closed(connectionId, fields)),
    fc.tuple(id('c'), seq).map(([connectionId, seq]) => uplink(connectionId, seq)),
    fc.tuple(id('m'), fc.record({
      ttlMs: fc.constantFrom(0, 1, -5, 2 ** 40),
      platforms: fc.array(id('p')),
      exceptDevices: fc.array(id('d')),
      devices: fc.array(id('d')),
    })).map(([messageId, fields]) => requested(messageId, fields)),
    fc.tuple(id('c'), seq).map(([connectionId, ackedSeq]) => reported(connectionId, ackedSeq)),
    fc.tuple(id('c'), seq).map(([connectionId, skippedSeq]) => skipped(connectionId, skippedSeq)),
    fc.tuple(id('m'), id('k'), id('d')).map(names => redelivered(...names)),
    fc.tuple(id('c'), seq).map(([connectionId, fromSeq]) => refused(connectionId, fromSeq)),
    fc.tuple(id('k'), id('c')).map(([requestId, connectionId]) => kicked(requestId, connectionId)))
  const anyEntry = fc.tuple(fc.integer({ min: -10, max: 1_000 }), anyFact).map(([atMs, fact]) => at(atMs, fact))

  t.test('takes any fact in any state, and every state can be saved', async () => {
    holds(fc.array(anyEntry, { maxLength: 300, size: 'max' }), entries => {
      const { state } = folded(entries)
      assert.deepEqual(plain(decodeSnapshot(encodeSnapshot(state))), plain(state))
    }, 1_000)
  })
  t.test('gives the same effects for the same entries', async () => {
    holds(fc.array(anyEntry, { maxLength: 100, size: 'max' }), entries => {
      const [one, other] = [folded(entries), folded(entries)]
      assert.deepEqual(other.effects, one.effects)
      assert.deepEqual(plain(other.state), plain(one.state))
    }, 100)
  })
  t.test('keeps its bounds when connections and devices come without end', async () => {
    const many = fc.array(fc.tuple(fc.nat({ max: 90 }), fc.nat({ max: 2 }), policy), { minLength: 300, maxLength: 400 })
    holds(many, steps => {
      const world = new World()
      for (const [i, [number, what, loginPolicy]] of steps.entries()) {
        if (what > 0) world.append(opened(`c${i}`, { deviceId: `d${number}`, sessionId: `s${number}`, loginPolicy }))
        else world.append(closed(`c${i - 1 - number % 50}`, { told: false }))
      }
    }, 50)
  })
})

function folded (entries: readonly Entry[], state: UserState = newUser()) {
  const effects: Effect[] = []
  for (const entry of entries) for (const effect of fold(state, entry)) effects.push(effect)
  return { state, effects }
}

/** What a repeat must not do again, unlike answers, which are given as often as they are asked for. */
function lasting (effects: readonly Effect[]): string[] {
  return effects
    .filter(effect => effect.type === 'publishUplink' || (effect.type === 'settle' && effect.outcome !== 'duplicate'))
    .map(shortly)
}

/** Without the difference between a Buffer and another view of the same bytes. */
function plain (state: UserState): unknown {
  return JSON.parse(JSON.stringify(state, (_key, value) => {
    if (typeof value === 'bigint') return `${value}n`
    if (value instanceof Map) return [...value]
    if (value instanceof Requests) return Buffer.from(value.bytes).toString('hex')
    return value
  }))
}
