import fc from 'fast-check'
import t from 'tap'
import { merged } from '../../../actors/checkpointer.js'
import type { StateChanges } from '../../../actors/snapshots.js'
import { fold } from '../../../actors/user/fold.js'
import { changesOf } from '../../../actors/user/parts.js'
import { savedNumbersOf } from '../../../actors/user/rebuilt.js'
import { newUser, type UserState } from '../../../actors/user/state.js'
import type { Entry } from '../../../schemas/facts.js'
import { assertAlike, SavedParts } from './saved-parts.js'
import { holds, story } from './stories.js'
import { World } from './world.js'

/** What an owner does after so many entries. */
const owner = fc.record({
  after: fc.nat({ max: 8 }),
  do: fc.oneof(
    { weight: 4, arbitrary: fc.constant('save' as const) },
    { weight: 2, arbitrary: fc.constant('collect' as const) },
    { weight: 2, arbitrary: fc.constant('rest' as const) },
    { weight: 2, arbitrary: fc.constant('crash' as const) },
    { weight: 2, arbitrary: fc.constant('rebuild' as const) },
    { weight: 1, arbitrary: fc.constant('crashWhileSaving' as const) }),
  stored: fc.nat({ max: 3 }),
})
const owners = fc.array(owner, { minLength: 20, maxLength: 80, size: 'max' })

/** One user through any number of owners, with the ledger to go on from. */
class Ownership {
  readonly saved = new SavedParts()
  state: UserState = newUser()
  /** Collected and not saved, as a checkpointer keeps it. */
  #unsaved: StateChanges | undefined

  constructor (readonly entries: readonly Entry[]) {}

  /** Folds up to entry `to`; each is a block of its own. */
  foldTo (to: number): void {
    for (let i = Number(this.state.offset) + 1; i < to; i++) {
      fold(this.state, this.entries[i]!)
      this.state.offset = BigInt(i)
    }
  }

  collect (): void {
    const changes = changesOf(this.state)
    this.#unsaved = this.#unsaved ? merged(this.#unsaved, changes) : changes
  }

  save (): void {
    this.collect()
    this.saved.save(this.#unsaved!)
    this.#unsaved = undefined
    assertAlike(this.saved.whole(), this.state)
  }

  /** The process ends in the middle of a save: `stored` of the parts that may go ahead of the head are there. */
  crashWhileSaving (stored: number): void {
    this.collect()
    this.saved.save(this.#unsaved!, stored)
    this.crash()
  }

  /** The actor crashes, and what was collected is kept. */
  rebuild (to: number): void {
    this.state = this.saved.load()
    this.state.rebuiltFrom = savedNumbersOf(this.state)
    this.foldTo(to)
  }

  crash (): void {
    this.#unsaved = undefined
    this.state = this.saved.load()
  }
}

t.test('Parts of a state', async t => {
  t.test('are all named by a head, whatever was collected when the actor crashed', async () => {
    const collecting = fc.array(fc.record({ after: fc.nat({ max: 8 }), do: fc.constantFrom('save', 'collect', 'rebuild') }),
      { minLength: 20, maxLength: 80, size: 'max' })
    holds(fc.tuple(story, collecting), ([steps, turns]) => {
      const world = new World()
      for (const step of steps) world.step(step)
      const user = new Ownership(world.entries)
      let place = 0
      for (const { after, do: what } of turns) {
        place = Math.min(world.entries.length, place + after)
        user.foldTo(place)
        if (what === 'save') user.save()
        else if (what === 'collect') user.collect()
        else user.rebuild(place)
      }
      user.save()
      if (user.saved.strays().length > 0) throw new Error(`nothing names ${user.saved.strays().join()}`)
    }, 300)
  })
  t.test('are the whole state, whatever is saved when, and wherever an owner ends', async () => {
    holds(fc.tuple(story, owners), ([steps, owners]) => {
      const world = new World()
      for (const step of steps) world.step(step)
      const { entries } = world
      const user = new Ownership(entries)
      let place = 0
      for (const { after, do: what, stored } of owners) {
        place = Math.min(entries.length, place + after)
        user.foldTo(place)
        switch (what) {
          case 'save': user.save(); break
          case 'collect': user.collect(); break
          case 'rest': user.save(); user.state = user.saved.load(); break
          case 'crash': user.crash(); break
          case 'rebuild': user.rebuild(place); break
          case 'crashWhileSaving': user.crashWhileSaving(stored)
        }
      }
      user.foldTo(entries.length)
      user.save()
      const through = new Ownership(entries)
      through.foldTo(entries.length)
      assertAlike(user.saved.whole(), through.state)
      // What a crash left is removed by whoever loads the state and saves it.
      user.state = user.saved.load()
      user.save()
      if (user.saved.strays().length > 0) throw new Error(`nothing names ${user.saved.strays().join()}`)
    }, 300)
  })
})
