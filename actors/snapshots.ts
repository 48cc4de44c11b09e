/**
 * The port to saved user states and checkpoints (design.md 4, Checkpoint). Rebuilt from the ledger when it is lost.
 * A snapshot is the single-object Avro encoding of one user's state; see `user/snapshot.ts`.
 */
export interface Snapshots {
  /** The first ledger offset of the partition that no saved snapshot includes; 0n for none. */
  checkpoint (partition: number): Promise<bigint>

  /** The user's saved state, or undefined. */
  load (partition: number, userId: string): Promise<Buffer | undefined>

  /**
   * Saves the states of the users touched and the checkpoint in one atomic write. Moves only forward: it is ignored
   * when the stored checkpoint is already beyond `next`. A save that fails is tried again by the store, in order, so
   * that no later checkpoint moves past it; it rejects only when the store closes.
   *
   * @param next the first offset that these snapshots do not include
   */
  save (partition: number, next: bigint, states: ReadonlyMap<string, Buffer>): Promise<void>
}
