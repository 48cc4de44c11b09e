import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { crc32 } from 'node:zlib'
import type { LogReader } from '../ledger/log.js'
import { GatewayError } from '../schemas/errors.js'
import type { Entry } from '../schemas/facts.js'
import { ledger } from '../schemas/streams.js'
import type { PartId, RebuildableSnapshots, SavedState } from './snapshots.js'
import { fold } from './user/fold.js'
import { comparable, partsOf, payloadParts, savedStateOf, stateOf, unsavable } from './user/parts.js'
import { newUser, type UserState } from './user/state.js'

export interface SnapshotsRebuildOptions {
  readonly log: LogReader
  readonly snapshots: RebuildableSnapshots
  readonly signal: AbortSignal
  /** So many more blocks are to be read. */
  onPlanned (blocks: number): void
  /** Called after each block. */
  onRead (read: { readonly partition: number, readonly blocks: number, readonly entries: number }): void
  /** Users whose states are held at once, some KB each; where there are more the partition is read again for them. */
  readonly usersMax?: number
}

/** A user whose saved state was not what the ledger makes of it. */
export interface SnapshotDifference {
  readonly kind: 'missing' | 'extra' | 'differing'
  readonly partition: number
  /** The user; with `/` and a part where that alone is extra: no head names it. */
  readonly key: string
}

export interface SnapshotsCompared {
  readonly users: number
  readonly missing: number
  readonly extra: number
  readonly differing: number
  /** The first `differencesMax`. */
  readonly differences: readonly SnapshotDifference[]
}

interface Wrong { readonly difference: Omit<SnapshotDifference, 'partition'>, readonly right: SavedState | undefined }

/** The users of a partition whose hash leaves `residue`. */
interface Slice { readonly modulus: number, readonly residue: number }

const differencesMax = 100
const usersPerStep = 200
const triesMax = 20
/** How long it may keep the event loop from those who serve clients. */
const sliceMs = 1

/**
 * Folds every user from the ledger, and puts those snapshots right that are not what comes of it, while their owners go
 * on: a snapshot is compared at the checkpoint that it was saved with.
 *
 * @throws Error where the beginning of the ledger was deleted: what it said is in the snapshots alone
 */
export async function rebuildSnapshots (options: SnapshotsRebuildOptions): Promise<SnapshotsCompared> {
  const { log } = options
  const partitions = Array.from({ length: log.partitions(ledger) }, (_, partition) => partition)
  for (const partition of partitions) {
    const { first } = await log.bounds(ledger, partition)
    if (first === 0n) continue
    throw new Error(`partition ${partition} of the ledger begins at ${partition}@${first}: ` +
      'what was deleted before is in the snapshots alone, and they can not be rebuilt')
  }
  const rebuild = new Rebuild(options)
  for (const partition of partitions) await rebuild.partition(partition)
  return rebuild.compared
}

class Rebuild {
  readonly compared = { users: 0, missing: 0, extra: 0, differing: 0, differences: [] as SnapshotDifference[] }
  readonly #options: SnapshotsRebuildOptions
  #sliceFromMs = performance.now()

  constructor (options: SnapshotsRebuildOptions) { this.#options = options }

  async partition (partition: number): Promise<void> {
    const checkpoint = await this.#options.snapshots.savedTo(partition)
    const slices: Slice[] = [{ modulus: 1, residue: 0 }]
    for (let slice = slices.pop(); slice; slice = slices.pop()) {
      this.#options.onPlanned(Number(checkpoint))
      await this.#slice(partition, checkpoint, slice, slices)
    }
  }

  /** @param slices gets what this slice turns out to be too small for */
  async #slice (partition: number, checkpoint: bigint, slice: Slice, slices: Slice[]): Promise<void> {
    const { log, onRead, usersMax = 50_000 } = this.#options
    const states = new Map<string, UserState>()
    let { modulus, residue } = slice
    let read = 0n
    for await (const block of log.read(ledger, partition, { from: 0n, to: checkpoint })) {
      await this.#fold(partition, block, states, userId => modulus === 1 || crc32(userId) % modulus === residue)
      onRead({ partition, blocks: Number(block.offset + 1n - read), entries: block.items.length })
      read = block.offset + 1n
      while (states.size > usersMax) {
        slices.push({ modulus: 2 * modulus, residue: residue + modulus })
        modulus *= 2
        for (const userId of states.keys()) if (crc32(userId) % modulus !== residue) states.delete(userId)
      }
      await this.#pause()
    }
    onRead({ partition, blocks: Number(checkpoint - read), entries: 0 })
    this.compared.users += states.size
    await this.#compare(partition, checkpoint, states, { modulus, residue })
  }

  async #compare (
    partition: number, checkpoint: bigint, states: Map<string, UserState>, { modulus, residue }: Slice
  ): Promise<void> {
    const stored = new Map<string, PartId[]>()
    for await (const { userId, part } of this.#options.snapshots.keys(partition)) {
      if (!states.has(userId) && crc32(userId) % modulus !== residue) continue
      let parts = stored.get(userId)
      if (!parts) stored.set(userId, parts = [])
      if (part !== undefined) parts.push(part)
    }
    const userIds: string[] = []
    for (const userId of new Set([...states.keys(), ...stored.keys()])) {
      userIds.push(userId)
      if (userIds.length >= usersPerStep) await this.#check(partition, checkpoint, states, stored, userIds.splice(0))
    }
    await this.#check(partition, checkpoint, states, stored, userIds)
  }

  /**
   * Compares the states of these users, folded up to `foldedTo`, with those saved, and puts right what is wrong.
   *
   * @param stored the parts of theirs that were seen in the store a while ago
   */
  async #check (
    partition: number, foldedTo: bigint, states: Map<string, UserState>, stored: ReadonlyMap<string, readonly PartId[]>,
    userIds: readonly string[]
  ): Promise<void> {
    const { snapshots } = this.#options
    let suspects = new Set((await this.#wrong(partition, states, stored, userIds)).keys())
    for (let tries = 0; suspects.size > 0; tries++) {
      if (tries === triesMax) throw new Error(`partition ${partition}: its checkpoint moves on too fast`)
      const checkpoint = await snapshots.savedTo(partition)
      await this.#foldTail(partition, foldedTo, checkpoint, states, suspects)
      foldedTo = checkpoint
      const wrong = await this.#wrong(partition, states, await snapshots.partIds(partition, suspects), [...suspects])
      if (wrong.size === 0) return
      // Those that the owner has saved between the reads are among them, and then nothing is replaced.
      const replacements = new Map(Array.from(wrong, ([userId, { right }]) => [userId, right]))
      const replaced = await snapshots.replace(partition, checkpoint, replacements)
      for (const userId of replaced) this.#count({ ...wrong.get(userId)!.difference, partition })
      suspects = new Set([...wrong.keys()].filter(userId => !replaced.has(userId)))
    }
    await this.#pause()
  }

  async #wrong (
    partition: number, states: ReadonlyMap<string, UserState>, stored: ReadonlyMap<string, readonly PartId[]>,
    userIds: readonly string[]
  ): Promise<Map<string, Wrong>> {
    const saved = await Promise.all(userIds.map(userId => this.#saved(partition, userId)))
    const wrong = new Map<string, Wrong>()
    for (const [i, userId] of userIds.entries()) {
      const state = states.get(userId)
      const right = state && savedForm(state)
      const found = saved[i]
      if (found === 'unsavable') continue
      const stray = stored.get(userId)?.find(id => found?.parts.has(id) !== true)
      const add = (kind: SnapshotDifference['kind'], key = userId) => wrong.set(userId, { difference: { kind, key }, right })
      if (right && !found) add('missing')
      else if (!right && found) add('extra')
      else if (right && found && !isRight(found, right)) add('differing')
      else if (stray !== undefined) add('extra', `${userId}/${stray}`)
    }
    return wrong
  }

  /** With the payloads that are parts of their own. */
  async #saved (partition: number, userId: string): Promise<SavedState | 'unsavable' | undefined> {
    const { snapshots } = this.#options
    try {
      const saved = await snapshots.saved(partition, userId, namedBy)
      const payloads = saved ? payloadsOf(saved) : []
      if (!saved || payloads.length === 0) return saved
      return { ...saved, parts: new Map([...saved.parts, ...await snapshots.savedParts(partition, userId, payloads)]) }
    } catch (err) {
      if (err instanceof GatewayError && err.code === 'bad-record') return 'unsavable'
      throw err
    }
  }

  #count (difference: SnapshotDifference): void {
    this.compared[difference.kind]++
    if (this.compared.differences.length < differencesMax) this.compared.differences.push(difference)
  }

  async #foldTail (
    partition: number, from: bigint, to: bigint, states: Map<string, UserState>, userIds: ReadonlySet<string>
  ): Promise<void> {
    for await (const block of this.#options.log.read(ledger, partition, { from, to })) {
      await this.#fold(partition, block, states, userId => userIds.has(userId))
      await this.#pause()
    }
  }

  async #fold (
    partition: number, { offset, items }: { readonly offset: bigint, readonly items: readonly Entry[] },
    states: Map<string, UserState>, isWanted: (userId: string) => boolean
  ): Promise<void> {
    let refolded: Set<string> | undefined
    for (let i = 0; i < items.length; i++) {
      const entry = items[i]!
      const { userId } = entry
      if (!isWanted(userId) || refolded?.has(userId)) continue
      let state = states.get(userId)
      if (!state) states.set(userId, state = newUser())
      try {
        fold(state, entry)
        state.offset = offset
      } catch {
        states.set(userId, await this.#refold(partition, userId, offset))
        refolded = (refolded ?? new Set()).add(userId)
      }
    }
  }

  /** The user's state after the block, without the entries that fail: as its owner has it, who set them aside. */
  async #refold (partition: number, userId: string, through: bigint): Promise<UserState> {
    const poison = new Set<string>()
    for (;;) {
      const state = newUser()
      const failed = await this.#foldUser(partition, userId, through, state, poison)
      if (failed === undefined) return state
      poison.add(failed)
    }
  }

  /** @returns where an entry failed that is not in `poison`; undefined where none did */
  async #foldUser (
    partition: number, userId: string, through: bigint, state: UserState, poison: ReadonlySet<string>
  ): Promise<string | undefined> {
    const range = { from: 0n, to: through + 1n, key: userId }
    for await (const { offset, items } of this.#options.log.read(ledger, partition, range)) {
      for (const [i, entry] of items.entries()) {
        const place = `${offset}.${i}`
        if (entry.userId !== userId) continue
        try {
          if (!poison.has(place)) fold(state, entry)
        } catch {
          return place
        }
        state.offset = offset
      }
    }
    return undefined
  }

  async #pause (): Promise<void> {
    this.#options.signal.throwIfAborted()
    if (performance.now() - this.#sliceFromMs < sliceMs) return
    const startMs = performance.now()
    await turn()
    if (performance.now() - startMs > sliceMs) await delay(sliceMs) // others are busy, and are to have half of it
    this.#sliceFromMs = performance.now()
  }
}

/** As the user's actor would save it. */
function savedForm (state: UserState): SavedState {
  try {
    return savedStateOf(state)
  } catch (err) {
    return { head: unsavable((err as Error).message), parts: new Map() }
  }
}

/** None of a head that can not be read: the state is wrong then, and gets another one. */
function namedBy (head: Buffer): PartId[] {
  try {
    return partsOf(head)
  } catch {
    return []
  }
}

function payloadsOf (saved: SavedState): PartId[] {
  try {
    return payloadParts(stateOf(saved))
  } catch {
    return []
  }
}

/** What an earlier version has saved gave other numbers to messages and connections, and is right for all that. */
function isRight (saved: SavedState, right: SavedState): boolean {
  if (saved.head.equals(right.head) && right.parts.size === 0) return true
  try {
    return isDeepStrictEqual(comparable(stateOf(saved)), comparable(stateOf(right)))
  } catch {
    return false
  }
}
