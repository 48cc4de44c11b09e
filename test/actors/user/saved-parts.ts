import { strict as assert } from 'node:assert'
import type { LoadedState, PartId, StateChanges } from '../../../actors/snapshots.js'
import { comparable, loadedState, partsOf, savedStateOf, stateOf } from '../../../actors/user/parts.js'
import { newUser, type UserState } from '../../../actors/user/state.js'

/** One user in a store that keeps the rules of the port, and what each save wrote into it. */
export class SavedParts {
  head: Buffer | undefined
  readonly parts = new Map<PartId, Buffer>()
  /** Of the last save: ids and their bytes, and all bytes with the head. */
  written = new Map<PartId, number>()
  bytes = 0

  /** @param partly the process dies before the head is stored, and after so many of what may go ahead of it */
  save ({ head, added, changed, gone }: StateChanges, partly?: number): void {
    this.written = new Map()
    this.bytes = 0
    for (const [id, bytes] of partly === undefined ? added : [...added].slice(0, partly)) this.#put(id, bytes)
    if (partly !== undefined) return
    for (const [id, bytes] of changed) this.#put(id, bytes)
    for (const id of gone) this.parts.delete(id)
    this.head = head
    this.bytes += head!.length
  }

  /** Without large payloads; there must be a head. */
  loaded (): LoadedState {
    const parts = new Map<PartId, Buffer>()
    for (const id of partsOf(this.head!)) {
      const part = this.parts.get(id)
      if (part) parts.set(id, part)
    }
    return { head: this.head!, parts, others: [...this.parts.keys()].filter(id => !parts.has(id)) }
  }

  /** @returns what an owner gets, who leaves large payloads where they are */
  load (): UserState {
    return this.head ? loadedState(this.loaded()) : newUser()
  }

  /** With all payloads; nothing is changed by it. */
  whole (): UserState {
    return this.head ? stateOf({ head: this.head, parts: this.parts }) : newUser()
  }

  /** @returns parts that nothing names */
  strays (): PartId[] {
    const named = new Set(savedStateOf(this.whole()).parts.keys())
    return [...this.parts.keys()].filter(id => !named.has(id))
  }

  #put (id: PartId, bytes: Uint8Array): void {
    this.parts.set(id, Buffer.from(bytes))
    this.written.set(id, bytes.length)
    this.bytes += bytes.length
  }
}

/** The state as it comes out of a store that has all of it. */
export function restored (state: UserState): UserState { return stateOf(savedStateOf(state)) }

/** @throws AssertionError where they do not fold on alike */
export function assertAlike (one: UserState, other: UserState): void {
  assert.deepEqual(comparable(one), comparable(other))
}
