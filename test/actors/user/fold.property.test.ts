import { strict as assert } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import type { Effect } from '../../../actors/user/effects.js'
import { bansMax } from '../../../actors/user/bans.js'
import { fold } from '../../../actors/user/fold.js'
import { newUser, outboxMax, type UserState } from '../../../actors/user/state.js'
import type { Entry, Fact } from '../../../schemas/facts.js'
import {
  at, banned, closed, granted, kicked, lifted, opened, recalled, redelivered, refused, renewed, reported, requested,
  revoked, shortly, skipped, uplink,
} from './history.js'
import { assertAlike, restored } from './saved-parts.js'
import { holds, policy, story } from './stories.js'
import { World } from './world.js'

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
      assertAlike(twice.state, once.state)
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
      const second = folded(entries.slice(place), restored(first.state))
      assertAlike(second.state, through.state)
      assert.deepEqual([...first.effects, ...second.effects].map(shortly), through.effects.map(shortly))
    })
  })
  t.test('keeps payloads that are views on larger arrays', async t => {
    const bytes = Uint8Array.from({ length: 32 }, (_, i) => i)
    const { state } = folded([
      requested('m0', { payload: bytes.subarray(30), platforms: ['web'] }), opened('c1'), requested('m1', { payload: bytes.subarray(8, 12) }),
    ].map(fact => at(1, fact)))
    const later = restored(state)
    t.strictSame([...later.sessions.get('phone')!.outbox[0]!.payload!], [8, 9, 10, 11])
    t.strictSame([...later.waiting[0]!.payload!], [30, 31])
  })
})

t.test('The fold', async t => {
  const id = (prefix: string) => fc.nat({ max: 5 }).map(i => i === 0 ? '' : `${prefix}${i}`)
  const seq = fc.oneof(
    { weight: 8, arbitrary: fc.nat({ max: 8 }) },
    { weight: 1, arbitrary: fc.constantFrom(-1, 2 ** 31, 2 ** 50) })
  const anyBan: fc.Arbitrary<Fact> = fc.oneof(
    fc.tuple(id('b'), fc.record({ deviceId: id('d'), tokenId: id('t'), untilMs: fc.constantFrom(0, 500, 2 ** 40) }))
      .map(([banId, fields]) => banned(banId, fields)),
    id('b').map(lifted),
    fc.tuple(id('c'), fc.nat({ max: 3 }), id('t')).map(fields => renewed(...fields)))
  const anyRoom: fc.Arbitrary<Fact> = fc.oneof(
    fc.tuple(id('g'), id('r'), fc.constantFrom('r' as const, 'w' as const, 'rw' as const)).map(fields => granted(...fields)),
    fc.tuple(id('g'), id('r')).map(fields => revoked(...fields)))
  const anyFact: fc.Arbitrary<Fact> = fc.oneof(
    fc.tuple(id('c'), fc.record({
      tokenId: id('t'),
      deviceId: id('d'),
      platform: id('p'),
      sessionId: id('s'),
      downlinkSeq: seq,
      loginPolicy: policy,
      uplinkWindow: seq,
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
    fc.tuple(id('m'), id('k')).map(names => recalled(...names)),
    fc.tuple(id('c'), seq).map(([connectionId, fromSeq]) => refused(connectionId, fromSeq)),
    fc.tuple(id('k'), id('c')).map(([requestId, connectionId]) => kicked(requestId, connectionId)),
    anyBan,
    anyRoom)
  const anyEntry = fc.tuple(fc.integer({ min: -10, max: 1_000 }), anyFact).map(([atMs, fact]) => at(atMs, fact))

  t.test('takes any fact in any state, and every state can be saved', async () => {
    holds(fc.array(anyEntry, { maxLength: 300, size: 'max' }), entries => {
      const { state } = folded(entries)
      assertAlike(restored(state), state)
    }, 1_000)
  })
  t.test('gives the same effects for the same entries', async () => {
    holds(fc.array(anyEntry, { maxLength: 100, size: 'max' }), entries => {
      const [one, other] = [folded(entries), folded(entries)]
      assert.deepEqual(other.effects, one.effects)
      assertAlike(other.state, one.state)
    }, 100)
  })
  t.test('keeps bans through a save anywhere, and alike where entries of them come once more, later', async () => {
    // By connections and devices of every other kind of fact; ids of bans are many, so that they reach their bound.
    const ban = fc.oneof(anyBan, fc.nat({ max: 99 }).map(i => banned(`many ${i}`, { tokenId: `t${i % 4}` })))
    const entry = fc.tuple(fc.integer({ min: 0, max: 1_000 }), fc.oneof({ weight: 2, arbitrary: ban }, anyFact))
      .map(([atMs, fact]) => at(atMs, fact))
    const places = fc.tuple(fc.nat(), fc.integer({ min: 1, max: 20 }), fc.nat())
    holds(fc.tuple(fc.array(entry, { minLength: 1, maxLength: 300, size: 'max' }), places), ([entries, [from, length, to]]) => {
      const place = from % (entries.length + 1)
      const through = folded(entries)
      const first = folded(entries.slice(0, place))
      const second = folded(entries.slice(place), restored(first.state))
      assertAlike(second.state, through.state)
      assert.deepEqual([...first.effects, ...second.effects].map(shortly), through.effects.map(shortly))
      assert.ok(through.state.bans.size <= bansMax)
      const start = from % entries.length
      const block = entries.slice(start, start + length)
      const late = Math.min(entries.length, start + block.length + to % (entries.length - start))
      const repeated = block.filter(({ fact }, i) => fact.type === 'UserBanned' || fact.type === 'BanLifted' ||
        (fact.type === 'TokenRenewed' && hasOpened(entries.slice(0, start + i), fact.connectionId)))
      const twice = folded([...entries.slice(0, late), ...repeated, ...entries.slice(late)])
      assert.deepEqual([...twice.state.bans], [...through.state.bans])
      assert.deepEqual(tokens(twice.state), tokens(through.state))
    }, 500)
  })
  t.test('keeps rooms through a save anywhere, and alike where entries of them come once more, later', async () => {
    // Of many ids, so that some are the first of theirs.
    const name = fc.nat({ max: 400 }).map(i => `g${i}`)
    const room = fc.oneof(
      fc.tuple(name, id('r')).map(fields => granted(...fields)), fc.tuple(name, id('r')).map(fields => revoked(...fields)))
    const entry = fc.tuple(fc.integer({ min: 0, max: 1_000 }), fc.oneof({ weight: 2, arbitrary: room }, anyFact))
      .map(([atMs, fact]) => at(atMs, fact))
    const places = fc.tuple(fc.nat(), fc.integer({ min: 1, max: 20 }), fc.nat())
    holds(fc.tuple(fc.array(entry, { minLength: 1, maxLength: 200, size: 'max' }), places), ([entries, [from, length, to]]) => {
      const place = from % (entries.length + 1)
      const through = folded(entries)
      const first = folded(entries.slice(0, place))
      const second = folded(entries.slice(place), restored(first.state))
      assertAlike(second.state, through.state)
      const start = from % entries.length
      const block = entries.slice(start, start + length)
      const late = Math.min(entries.length, start + block.length + to % (entries.length - start))
      const repeated = block.filter(({ fact }) => fact.type === 'RoomGranted' || fact.type === 'RoomRevoked')
      const twice = folded([...entries.slice(0, late), ...repeated, ...entries.slice(late)])
      assert.deepEqual([...twice.state.memberships], [...through.state.memberships])
      assert.equal(twice.state.membershipsVersion, through.state.membershipsVersion)
    }, 300)
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

/** No edge tells of a token before it has told of the connection. */
function hasOpened (entries: readonly Entry[], id: string): boolean {
  return entries.some(({ fact }) => fact.type === 'ConnectionOpened' && fact.connectionId === id)
}

function tokens ({ connections }: UserState): string[] {
  return Array.from(connections, ([connectionId, { tokenId }]) => `${connectionId} ${tokenId}`)
}

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
