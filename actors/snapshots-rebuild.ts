import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { crc32 } from 'node:zlib'
import type { LogReader } from '../ledger/log.js'
import { GatewayError } from '../schemas/errors.js'
import type { Stream } from '../schemas/streams.js'
import type { FoldedState, Kind, KindTypes, States } from './kind.js'
import type { PartId, RebuildableSnapshots, SavedState } from './snapshots.js'

/** What is rebuilt of one kind: its states, from its stream. */
export type Rebuildable<K extends KindTypes> = Pick<Kind<K>, 'stream' | 'fold' | 'states'>

export interface SnapshotsRebuildOptions<K extends KindTypes> {
  readonly kind: Rebuildable<K>
  readonly log: LogReader
  /** Of that kind. */
  readonly snapshots: RebuildableSnapshots
  readonly signal: AbortSignal
  /** So many more blocks are to be read. */
  onPlanned (blocks: number): void
  /** Called after each block. */
  onRead (read: { readonly partition: number, readonly blocks: number, readonly entries: number }): void
  /** How many states are held at once, some KB each; where there are more the partition is read again for them. */
  readonly statesMax?: number
}

/** A user or room whose saved state was not what the stream makes of it. */
export interface SnapshotDifference {
  readonly kind: 'missing' | 'extra' | 'differing'
  readonly partition: number
  /** Whose it is; with `/` and a part where that alone is extra: no head names it. */
  readonly key: string
}

export interface SnapshotsCompared {
  /** States that were compared. */
  readonly states: number
  readonly missing: number
  readonly extra: number
  readonly differing: number
  /** The first `differencesMax`. */
  readonly differences: readonly SnapshotDifference[]
}

interface Wrong { readonly difference: Omit<SnapshotDifference, 'partition'>, readonly right: SavedState | undefined }

/** The keys of a partition whose hash leaves `residue`. */
interface Slice { readonly modulus: number, readonly residue: number }

const differencesMax = 100
const statesPerStep = 200
const triesMax = 20
/** The first wait between them, ms; each is longer by as much: all together 9.5 s. */
const triesMs = 50
/** How long it may keep the event loop from those who serve clients. */
const sliceMs = 1

/** @throws Error where the beginning of the stream was deleted: what it said is in the snapshots alone */
export async function checkWhole (log: LogReader, stream: Stream<any>): Promise<void> {
  for (let partition = 0; partition < log.partitions(stream); partition++) {
    const { first } = await log.bounds(stream, partition)
    if (first === 0n) continue
    throw new Error(`partition ${partition} of the ${stream.name} begins at ${partition}@${first}: ` +
      'what was deleted before is in the snapshots alone, and they can not be rebuilt')
  }
}

/**
 * Folds every user, or room, from its stream, and puts those snapshots right that are not what comes of it, while their
 * owners go on: a snapshot is compared at the checkpoint that it was saved with.
 *
 * @throws Error where the beginning of the stream was deleted
 */
export async function rebuildSnapshots<K extends KindTypes> (
  options: SnapshotsRebuildOptions<K>
): Promise<SnapshotsCompared> {
  const { log, kind: { stream } } = options
  await checkWhole(log, stream)
  const rebuild = new Rebuild(options)
  for (let partition = 0; partition < log.partitions(stream); partition++) await rebuild.partition(partition)
  return rebuild.compared
}

class Rebuild<K extends KindTypes> {
  readonly compared = { states: 0, missing: 0, extra: 0, differing: 0, differences: [] as SnapshotDifference[] }
  readonly #options: SnapshotsRebuildOptions<K>
  #sliceFromMs = performance.now()

  constructor (options: SnapshotsRebuildOptions<K>) { this.#options = options }

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
    const { log, kind: { stream }, onRead, statesMax = 50_000 } = this.#options
    const states = new Map<string, K['state']>()
    let { modulus, residue } = slice
    let read = 0n
    for await (const block of log.read(stream, partition, { from: 0n, to: checkpoint })) {
      await this.#fold(partition, block, states, key => modulus === 1 || crc32(key) % modulus === residue)
      onRead({ partition, blocks: Number(block.offset + 1n - read), entries: block.items.length })
      read = block.offset + 1n
      while (states.size > statesMax) {
        slices.push({ modulus: 2 * modulus, residue: residue + modulus })
        modulus *= 2
        for (const key of states.keys()) if (crc32(key) % modulus !== residue) states.delete(key)
      }
      await this.#pause()
    }
    onRead({ partition, blocks: Number(checkpoint - read), entries: 0 })
    this.compared.states += states.size
    await this.#compare(partition, checkpoint, states, { modulus, residue })
  }

  async #compare (
    partition: number, checkpoint: bigint, states: Map<string, K['state']>, { modulus, residue }: Slice
  ): Promise<void> {
    const stored = new Map<string, PartId[]>()
    for await (const { userId: key, part } of this.#options.snapshots.keys(partition)) {
      if (!states.has(key) && crc32(key) % modulus !== residue) continue
      let parts = stored.get(key)
      if (!parts) stored.set(key, parts = [])
      if (part !== undefined) parts.push(part)
    }
    const keys: string[] = []
    for (const key of new Set([...states.keys(), ...stored.keys()])) {
      keys.push(key)
      if (keys.length >= statesPerStep) await this.#check(partition, checkpoint, states, stored, keys.splice(0))
    }
    await this.#check(partition, checkpoint, states, stored, keys)
  }

  /**
   * Compares these states, folded up to `foldedTo`, with those saved, and puts right what is wrong.
   *
   * @param stored the parts of each that were seen in the store a while ago
   */
  async #check (
    partition: number, foldedTo: bigint, states: Map<string, K['state']>, stored: ReadonlyMap<string, readonly PartId[]>,
    keys: readonly string[]
  ): Promise<void> {
    const { snapshots } = this.#options
    let suspects = new Set((await this.#wrong(partition, states, stored, keys)).keys())
    for (let tries = 0; suspects.size > 0; tries++) {
      if (tries === triesMax) throw new Error(`partition ${partition}: its checkpoint moves on too fast`)
      // A save of the owner may be on its way to a slow store: until it is there nothing is replaced.
      if (tries > 0) await delay(tries * triesMs, undefined, { signal: this.#options.signal })
      const checkpoint = await snapshots.savedTo(partition)
      await this.#foldTail(partition, foldedTo, checkpoint, states, suspects)
      foldedTo = checkpoint
      const wrong = await this.#wrong(partition, states, await snapshots.partIds(partition, suspects), [...suspects])
      if (wrong.size === 0) return
      // Those that the owner has saved between the reads are among them, and then nothing is replaced.
      const replacements = new Map(Array.from(wrong, ([key, { right }]) => [key, right]))
      const replaced = await snapshots.replace(partition, checkpoint, replacements)
      for (const key of replaced) this.#count({ ...wrong.get(key)!.difference, partition })
      suspects = new Set([...wrong.keys()].filter(key => !replaced.has(key)))
    }
    await this.#pause()
  }

  async #wrong (
    partition: number, states: ReadonlyMap<string, K['state']>, stored: ReadonlyMap<string, readonly PartId[]>,
    keys: readonly string[]
  ): Promise<Map<string, Wrong>> {
    const saved = await Promise.all(keys.map(key => this.#saved(partition, key)))
    const wrong = new Map<string, Wrong>()
    for (const [i, key] of keys.entries()) {
      const state = states.get(key)
      const right = state && savedForm(this.#states, state)
      const found = saved[i]
      if (found === 'unsavable') continue
      const stray = stored.get(key)?.find(id => found?.parts.has(id) !== true)
      const add = (kind: SnapshotDifference['kind'], named = key) =>
        wrong.set(key, { difference: { kind, key: named }, right })
      if (right && !found) add('missing')
      else if (!right && found) add('extra')
      else if (right && found && !isRight(this.#states, found, right)) add('differing')
      else if (stray !== undefined) add('extra', `${key}/${stray}`)
    }
    return wrong
  }

  /** With the payloads that are parts of their own. */
  async #saved (partition: number, key: string): Promise<SavedState | 'unsavable' | undefined> {
    const { snapshots } = this.#options
    try {
      const saved = await snapshots.saved(partition, key, head => namedBy(this.#states, head))
      const payloads = saved ? leftOutOf(this.#states, saved) : []
      if (!saved || payloads.length === 0) return saved
      return { ...saved, parts: new Map([...saved.parts, ...await snapshots.savedParts(partition, key, payloads)]) }
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
    partition: number, from: bigint, to: bigint, states: Map<string, K['state']>, keys: ReadonlySet<string>
  ): Promise<void> {
    for await (const block of this.#options.log.read(this.#options.kind.stream, partition, { from, to })) {
      await this.#fold(partition, block, states, key => keys.has(key))
      await this.#pause()
    }
  }

  async #fold (
    partition: number, { offset, items }: { readonly offset: bigint, readonly items: ReadonlyArray<K['entry']> },
    states: Map<string, K['state']>, isWanted: (key: string) => boolean
  ): Promise<void> {
    const { stream, fold, states: { fresh } } = this.#options.kind
    let refolded: Set<string> | undefined
    for (let i = 0; i < items.length; i++) {
      const entry = items[i]!
      const key = stream.key(entry)
      if (!isWanted(key) || refolded?.has(key)) continue
      let state = states.get(key)
      if (!state) states.set(key, state = fresh())
      try {
        fold(state, entry)
        state.offset = offset
      } catch {
        states.set(key, await this.#refold(partition, key, offset))
        refolded = (refolded ?? new Set()).add(key)
      }
    }
  }

  /** The state after the block, without the entries that fail: as its owner has it, who set them aside. */
  async #refold (partition: number, key: string, through: bigint): Promise<K['state']> {
    const poison = new Set<string>()
    for (;;) {
      const state = this.#states.fresh()
      const failed = await this.#foldKey(partition, key, through, state, poison)
      if (failed === undefined) return state
      poison.add(failed)
    }
  }

  /** @returns where an entry failed that is not in `poison`; undefined where none did */
  async #foldKey (
    partition: number, key: string, through: bigint, state: K['state'], poison: ReadonlySet<string>
  ): Promise<string | undefined> {
    const { stream, fold } = this.#options.kind
    const range = { from: 0n, to: through + 1n, key }
    for await (const { offset, items } of this.#options.log.read(stream, partition, range)) {
      for (const [i, entry] of items.entries()) {
        const place = `${offset}.${i}`
        if (stream.key(entry) !== key) continue
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

  get #states (): States<K['state']> { return this.#options.kind.states }

  async #pause (): Promise<void> {
    this.#options.signal.throwIfAborted()
    if (performance.now() - this.#sliceFromMs < sliceMs) return
    const startMs = performance.now()
    await turn()
    if (performance.now() - startMs > sliceMs) await delay(sliceMs) // others are busy, and are to have half of it
    this.#sliceFromMs = performance.now()
  }
}

/** As its actor would save it; undefined where that keeps nothing. */
function savedForm<S extends FoldedState> (states: States<S>, state: S): SavedState | undefined {
  try {
    return states.savedStateOf(state)
  } catch (err) {
    return { head: states.unsavable((err as Error).message), parts: new Map() }
  }
}

/** None of a head that can not be read: the state is wrong then, and gets another one. */
function namedBy<S extends FoldedState> (states: States<S>, head: Buffer): PartId[] {
  try {
    return states.partsOf(head)
  } catch {
    return []
  }
}

function leftOutOf<S extends FoldedState> (states: States<S>, saved: SavedState): PartId[] {
  try {
    return states.leftOut(states.stateOf(saved))
  } catch {
    return []
  }
}

/** What an earlier version has saved gave other numbers to messages and connections, and is right for all that. */
function isRight<S extends FoldedState> (states: States<S>, saved: SavedState, right: SavedState): boolean {
  if (saved.head.equals(right.head) && right.parts.size === 0) return true
  try {
    return isDeepStrictEqual(states.comparable(states.stateOf(saved)), states.comparable(states.stateOf(right)))
  } catch {
    return false
  }
}
