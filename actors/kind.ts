import type { RecordStream } from '../schemas/streams.js'
import type { FoldingBlock } from './folding.js'
import type { Links, OwnedStream } from './links.js'
import type { Recovery } from './recovery.js'
import type { LoadedState, PartId, SavedState, StateChanges } from './snapshots.js'

/** What one kind of actors is made of. */
export interface KindTypes {
  /** Of the stream that they fold. */
  entry: { readonly atMs: number, readonly fact: { readonly type: string } }
  state: FoldedState
  /** What is to be done because of an entry. */
  effect: unknown
  /** What changes nothing. */
  question: AnyQuestion
  /** Of the streams that are derived from it. */
  derived: unknown
  /** What entries have for other streams; never where there is nothing. */
  handOn: unknown
}

export interface FoldedState {
  /** Highest block that is folded in; -1n for none. An entry at or below it is skipped. */
  offset: bigint
}

export interface AnyQuestion {
  readonly type: string
  readonly partition: number
  /** The answer knows at least what is before this offset; absent where that does not matter. */
  readonly asOf?: bigint
}

/**
 * One kind of actors of which each folds the entries that a stream has for its own key: users, and rooms. Partitions,
 * checkpoints, replay and all else are the same for both, and take from here what is not.
 */
export interface Kind<K extends KindTypes> {
  readonly one: 'user' | 'room'
  /** Follows the stream. */
  readonly group: string
  readonly stream: RecordStream<K['entry']>
  readonly owned: OwnedStream
  /** The streams that are derived from it. */
  readonly derived: ReadonlyArray<RecordStream<K['derived']>>
  readonly states: States<K['state']>
  fold (state: K['state'], entry: K['entry']): Array<K['effect']>
  /** Whom it is for. */
  keyOf (question: K['question']): string
  open (partition: PartitionOf<K>): Surroundings<K>
}

/** States of one kind, in memory and as they are saved. */
export interface States<S extends FoldedState> {
  fresh (): S
  /** The parts that `loaded` wants beside this head. @throws GatewayError `bad-record` */
  partsOf (head: Buffer): PartId[]
  /** What folds on as if nothing had been in between. @throws GatewayError `bad-record` with the reason in words */
  loaded (stored: LoadedState): S
  /** The state was loaded to be folded on without effects: what comes of that may be saved already, and go again. */
  rebuilding (state: S): void
  /** What is to be saved since the last call. @throws what can not be encoded */
  changesOf (state: S): StateChanges
  /** Everything in parts, whatever is saved of it already; undefined where nothing is to be saved. */
  savedStateOf (state: S): SavedState | undefined
  stateOf (saved: SavedState): S
  /** Parts that a loaded state does without. */
  leftOut (state: S): PartId[]
  /** The head of a state that can not be saved: read as a state, it says why there is none. */
  unsavable (reason: string): Buffer
  /** Without what may differ between two states that fold on alike. */
  comparable (state: S): unknown
}

/** The partition that a kind's surroundings are of. */
export interface PartitionOf<K extends KindTypes> {
  readonly partition: number
  readonly links: Links
  /** What `toSave` of the owner before gave. */
  readonly saved: Buffer | undefined
  /** All up to here is folded and handed on, as the checkpoint tells. */
  readonly folded: bigint
  /** Has an actor of the partition answer a question. */
  ask (question: K['question']): void
  /** Something that held the log back does so no longer. */
  progressed (): void
  /** Something goes on failing, and is tried again; the reason in words. */
  failing (reason: string): void
}

/** What one kind has around its actors of one partition. */
export interface Surroundings<K extends KindTypes> {
  /** A block has come, before actors fold it. */
  received (block: { readonly offset: bigint, readonly items: ReadonlyArray<K['entry']> }): void
  /** Called once a second. */
  sweep (nowMs: number): void
  /** What the partition itself is to save; undefined where it is what this gave last. */
  toSave (): Buffer | undefined
  /** The next block is folded; what it has for other streams is to be handed on. */
  folded (block: FoldingBlock<K>): void
  /** @returns false where the partition ended before all up to `offset` was handed on */
  handedOn (offset: bigint): Promise<boolean>
  /** Of what is not handed on yet. */
  readonly bytes: number
  /** Since when something has been on its way, ms since 1970; 0 for nothing. */
  readonly sinceMs: number
  /** What is not handed on yet is the next owner's to do. */
  end (): void
  sink (turn: Turn<K>): Sink<K['effect']>
  answer (question: K['question'], state: K['state'], reading: Reading<K>): void | Promise<void>
  /** Nothing of this key is folded: whoever waits for one of these entries is told. */
  refuseEntries (entries: ReadonlyArray<K['entry']>): void
  refuse (question: K['question']): void
}

/** What the effects of one message's entries are performed with. */
export interface Turn<K extends KindTypes> extends Reading<K> {
  /** Whose they are. */
  readonly key: string
  readonly state: K['state']
  readonly block: FoldingBlock<K>
  /**
   * The entries are so old that whoever waits for an answer to them has asked again, or is gone: a replay of days sends
   * none of those days.
   */
  readonly history: boolean
}

/** How parts are read that a state does without. */
export interface Reading<K extends KindTypes> {
  readonly recovery: Recovery<K>
  /** They are not there or can not be read; the state goes on without them. */
  unreadable (error: Error): void
}

/** Performs the effects of one message's entries, in order. */
export interface Sink<F> {
  perform (effect: F): void
  /** Sends what is still being collected. */
  flush (): void
  /**
   * Sends what has to be read before. Whoever performs effects looks for it after those of each entry, and performs no
   * others before it is done.
   */
  readonly rest: (() => Promise<void>) | undefined
}
