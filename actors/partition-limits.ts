export interface PartitionLimits {
  /** Entries folding at once, and their bytes in memory; past either the log waits. */
  readonly foldingMax: number
  readonly foldingBytesMax: number
  /** Bytes of uplinks that are accepted and not in their stream; past it the log waits. */
  readonly unpublishedBytesMax: number
  /** Entries after which a checkpoint is due before its second is over. */
  readonly checkpointEntries: number
  /** A user that nothing happened to for this long is passivated. */
  readonly passivateAfterMs: number
  readonly resumeBytesMax: number
  /** Of what was there when the partition came, what is older is history: see `UserActorDeps.isHistory`. */
  readonly historyAgeMs: number
  /** How long giving the partition back may take. What is not saved by then, the next owner folds again. */
  readonly revokeMs: number
}

export const partitionLimits: PartitionLimits = {
  foldingMax: 20_000,
  foldingBytesMax: 4 << 20,
  unpublishedBytesMax: 4 << 20,
  checkpointEntries: 5_000,
  passivateAfterMs: 2_000,
  resumeBytesMax: 128 * 1024,
  historyAgeMs: 60_000,
  revokeMs: 5_000,
}
