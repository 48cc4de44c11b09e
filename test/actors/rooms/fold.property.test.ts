import fc from 'fast-check'
import t from 'tap'
import { foldRoom } from '../../../actors/rooms/fold.js'
import { roomStates } from '../../../actors/rooms/parts.js'
import type { RoomState } from '../../../actors/rooms/state.js'
import type { RoomFact } from '../../../schemas/room-facts.js'
import { anyFacts, anyFactsWithSilence, at, SavedRoom, shortly } from './given-room.js'

const runs = { numRuns: 150, seed: Number(process.env['SEED'] ?? 19700101) }

/** Folds block after block, of one fact each, as an owner does who skips what he has. */
function foldOn (state: RoomState, facts: readonly RoomFact[], from = 0): string[] {
  const effects: string[] = []
  for (let offset = from; offset < facts.length; offset++) {
    if (BigInt(offset) <= state.offset) continue
    effects.push(...foldRoom(state, at(offset * 1_000, facts[offset]!)).map(shortly))
    state.offset = BigInt(offset)
  }
  return effects
}

/** With what two states of different versions need not have alike. */
function allOf (state: RoomState): unknown {
  return [roomStates.comparable(state), state.usedAtMs, state.times.all.map(time => ({ ...time }))]
}

function posts (effects: readonly string[]): string[] { return effects.filter(effect => effect.startsWith('post')) }

t.test('A room', async t => {
  t.test('numbers its posts without a gap, each uplink and each request once, in the order in which they came', async t => {
    fc.assert(fc.property(anyFacts, facts => {
      const effects = posts(foldOn(roomStates.fresh(), facts))
      const ids = new Set<string>()
      for (const fact of facts) if (fact.type === 'PostRequested') ids.add(fact.messageId)
      t.strictSame(effects, [...ids].map((messageId, i) => `post ${i + 1} ${messageId}`))
    }), runs)
  })

  t.test('gives the same numbers whatever stands in the stream once more, late', async t => {
    // What one append wrote may be written again as a whole, behind others; a replay of the ledger repeats all from
    // some entry on.
    const repeated = fc.tuple(anyFacts, fc.array(fc.tuple(fc.nat(), fc.nat(), fc.nat()), { maxLength: 5 }))
      .map(([facts, repeats]) => {
        const stream = [...facts]
        for (const [from, length, later] of repeats) {
          const start = from % (facts.length + 1)
          const again = facts.slice(start, start + length % 8)
          const last = again.reduce((most, fact) => Math.max(most, stream.indexOf(fact)), -1)
          stream.splice(last + 1 + later % (stream.length - last), 0, ...again)
        }
        return { facts, stream }
      })
    fc.assert(fc.property(repeated, ({ facts, stream }) => {
      t.strictSame(posts(foldOn(roomStates.fresh(), stream)), posts(foldOn(roomStates.fresh(), facts)))
    }), runs)
  })

  t.test('is the same for two owners for a while, who begin from whatever checkpoint', async t => {
    fc.assert(fc.property(anyFactsWithSilence, fc.nat(), fc.nat(), (facts, first, second) => {
      const places = [first, second].map(place => place % (facts.length + 1))
      const [from, to] = [Math.min(...places), Math.max(...places)]
      const whole = roomStates.fresh()
      const all = foldOn(whole, facts)
      const before = roomStates.fresh()
      const early = foldOn(before, facts.slice(0, from))
      const kept = roomStates.savedStateOf(before)
      const next = kept ? roomStates.stateOf(kept) : roomStates.fresh()
      // The one before goes on up to `to`, and the next one from the checkpoint: both say the same of each entry.
      const late = foldOn(before, facts.slice(0, to), from)
      const rest = foldOn(next, facts, from)
      t.strictSame([...early, ...rest], all)
      t.strictSame(rest.slice(0, late.length), late)
      t.strictSame(allOf(next), allOf(whole))
    }), runs)
  })

  t.test('is in its saved parts what it was, at whatever entries it is saved, loaded and rebuilt', async t => {
    const steps = fc.array(fc.tuple(fc.nat(6), fc.constantFrom('save', 'load', 'crash', 'rebuild')), { maxLength: 12 })
    fc.assert(fc.property(anyFactsWithSilence, steps, (facts, steps) => {
      const whole = roomStates.fresh()
      foldOn(whole, facts)
      const saved = new SavedRoom()
      let state = roomStates.fresh()
      let to = 0
      for (const [more, then] of [...steps, [facts.length, 'save'] as const]) {
        to = Math.min(facts.length, to + more)
        foldOn(state, facts.slice(0, to))
        const changes = then === 'crash' ? undefined : roomStates.changesOf(state)
        if (then === 'rebuild') {
          // The save is on its way while the actor begins anew from what was there before.
          state = saved.loaded()
          roomStates.rebuilding(state)
          foldOn(state, facts.slice(0, to + more))
        }
        if (changes) saved.save(changes)
        if (then === 'load' || then === 'crash') state = saved.loaded()
      }
      foldOn(state, facts)
      saved.save(roomStates.changesOf(state))
      t.strictSame(allOf(saved.loaded()), allOf(whole))
      t.strictSame(saved.strays, [], 'and nothing is stored that no head names')
    }), runs)
  })
})
