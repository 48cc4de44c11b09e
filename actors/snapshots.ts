/** In the place of a user id: nobody's state, but what the partition itself keeps beside those of its users. */
export const ofPartition = ''

/** Names one part of a user's saved state: a letter for its kind and a number. ASCII, 1 to 20 characters. */
export type PartId = string

/** A user's saved state: its head, and those of the parts it names that were asked for. */
export interface SavedState {
  readonly head: Buffer
  readonly parts: ReadonlyMap<PartId, Buffer>
}

/** As it was found in the store. */
export interface LoadedState extends SavedState {
  /**
   * Parts that were seen to be stored and not asked for. One that the state does not know is left from a save that
   * never came to its end: the owner has it removed with the user's next changes, as one of the `gone`.
   */
  readonly others: readonly PartId[]
}

/** What has changed of a user's state since it was saved last. */
export interface StateChanges {
  /** Undefined for a state that is to be known no more: it is removed, with those parts that are `gone`. */
  readonly head: Buffer | undefined
  /** Parts that no saved head names before this one, and that never change: they may be stored before the head. */
  readonly added: ReadonlyMap<PartId, Uint8Array>
  /** Parts that are written anew, together with the head. */
  readonly changed: ReadonlyMap<PartId, Uint8Array>
  /** Parts that go, with the head or after it. */
  readonly gone: readonly PartId[]
}

/**
 * The port to saved user states and checkpoints (design.md 4, Checkpoint). A state is saved in parts, so that a
 * checkpoint writes what has changed and not what the user has: see `user/parts.ts`.
 *
 * A head that is loaded is never older or newer than the parts that come with it.
 */
export interface Snapshots {
  /**
   * The first ledger offset of the partition that no saved snapshot includes; 0n for none. The owner asks for it when
   * the partition is assigned: what is loaded and saved from then on is measured against it.
   */
  checkpoint (partition: number): Promise<bigint>

  /**
   * The user's saved state, or undefined.
   *
   * @param partsOf the parts that are wanted, by the head. A head of an older format names none: it is the whole state
   * @throws whatever `partsOf` throws
   * @throws SnapshotsLost the store went back; the partition must be assigned again
   * @throws GatewayError `bad-record` nothing can ever be saved under this id: it is longer than a key may be
   */
  load (partition: number, userId: string, partsOf: PartsOf): Promise<LoadedState | undefined>

  /**
   * Single parts of a saved state, such as payloads that were left out when it was loaded. Those that are not there are
   * left out of the map.
   *
   * @throws SnapshotsLost the store went back; the partition must be assigned again
   */
  parts (partition: number, userId: string, ids: readonly PartId[]): Promise<ReadonlyMap<PartId, Buffer>>

  /**
   * Saves what changed of the users touched, and the checkpoint with the last of it or after it. Moves only forward: it
   * is ignored when the stored checkpoint is already beyond `next`. A save that fails is tried again by the store, in
   * order, so that no later checkpoint moves past it; it rejects only when the store stops, or has lost what it had.
   *
   * @param next the first offset that these changes do not include
   * @param changes must stay as they are until the promise settles
   * @throws SnapshotsLost the store went back; the partition must be assigned again
   */
  save (partition: number, next: bigint, changes: ReadonlyMap<string, StateChanges>): Promise<void>
}

/** One thing that is stored: the head of a user's state, or one part of it. */
export interface SavedKey {
  readonly userId: string
  /** Undefined for the head. */
  readonly part: PartId | undefined
}

/** A saved state's head as it is stored. */
export interface SavedHead {
  readonly userId: string
  readonly head: Buffer
}

export type PartsOf = (head: Buffer) => readonly PartId[]

/** Snapshots that can be looked through and put right by somebody who does not own the partition. */
export interface RebuildableSnapshots extends Snapshots {
  /** As `checkpoint`, but changes nothing for the owner. */
  savedTo (partition: number): Promise<bigint>

  /** As `load`, for whoever does not own the partition. */
  saved (partition: number, userId: string, partsOf: PartsOf): Promise<LoadedState | undefined>

  /** As `parts`, for whoever does not own the partition. */
  savedParts (partition: number, userId: string, ids: readonly PartId[]): Promise<ReadonlyMap<PartId, Buffer>>

  /**
   * Every head, and every part whether a head names it or not, at least once each and in no order; those saved or
   * removed meanwhile may be among them.
   */
  keys (partition: number): AsyncIterable<SavedKey>

  /**
   * Every head at least once, in no order; those saved or removed meanwhile may be among them. What makes a page is
   * bounded work, however many parts there are; a page may be empty.
   */
  heads (partition: number): AsyncIterable<readonly SavedHead[]>

  /** The parts that are stored of these users, whether a head names them or not. */
  partIds (partition: number, userIds: ReadonlySet<string>): Promise<ReadonlyMap<string, readonly PartId[]>>

  /**
   * Puts these states in place of those saved, undefined to remove one, and takes the partition from its owner: what it
   * remembers may come from a state that was wrong. It meets `SnapshotsLost`, and begins anew from what is saved now.
   * Parts that are stored and that the state does not have are removed.
   *
   * @param checkpoint what the states are right for
   * @returns the users whose states are in place: not all where the checkpoint is another one by now
   */
  replace (
    partition: number, checkpoint: bigint, states: ReadonlyMap<string, SavedState | undefined>
  ): Promise<ReadonlySet<string>>
}

/**
 * The store no longer holds what it held when the partition was assigned: it was flushed, restored from an older copy,
 * or written to by another owner. Trying again is of no use: only a new assignment starts from what is stored.
 */
export class SnapshotsLost extends Error {
  override readonly name = 'SnapshotsLost'
}
