/** In the place of a user id: nobody's state, but what the partition itself keeps beside those of its users. */
export const ofPartition = ''

/**
 * The port to saved user states and checkpoints (design.md 4, Checkpoint). Rebuilt from the ledger when it is lost.
 * A snapshot is the single-object Avro encoding of one user's state; see `user/snapshot.ts`.
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
   * @throws SnapshotsLost the store went back; the partition must be assigned again
   * @throws GatewayError `bad-record` nothing can ever be saved under this id: it is longer than a key may be
   */
  load (partition: number, userId: string): Promise<Buffer | undefined>

  /**
   * Saves the states of the users touched, and the checkpoint with the last of them or after it. Moves only forward: it
   * is ignored when the stored checkpoint is already beyond `next`. A save that fails is tried again by the store, in
   * order, so that no later checkpoint moves past it; it rejects only when the store stops, or has lost what it had.
   *
   * @param next the first offset that these snapshots do not include
   * @throws SnapshotsLost the store went back; the partition must be assigned again
   */
  save (partition: number, next: bigint, states: ReadonlyMap<string, Buffer>): Promise<void>
}

/** Snapshots that can be looked through and put right by somebody who does not own the partition. */
export interface RebuildableSnapshots extends Snapshots {
  /** As `checkpoint`, but changes nothing for the owner. */
  savedTo (partition: number): Promise<bigint>

  /** As `load`, for whoever does not own the partition. */
  saved (partition: number, userId: string): Promise<Buffer | undefined>

  /** Every user with a saved state, at least once each; those saved or removed meanwhile may be among them. */
  users (partition: number): AsyncIterable<string>

  /**
   * Puts these states in place of those saved, undefined to remove one, and takes the partition from its owner: what it
   * remembers may come from a state that was wrong. It meets `SnapshotsLost`, and begins anew from what is saved now.
   *
   * @param checkpoint what the states are right for
   * @returns false, with nothing changed, where the checkpoint is another one by now
   */
  replace (
    partition: number, checkpoint: bigint, states: ReadonlyMap<string, Buffer | undefined>
  ): Promise<boolean>
}

/**
 * The store no longer holds what it held when the partition was assigned: it was flushed, restored from an older copy,
 * or written to by another owner. Trying again is of no use: only a new assignment starts from what is stored.
 */
export class SnapshotsLost extends Error {
  override readonly name = 'SnapshotsLost'
}
