/** Where the log was when a actor stopped, and how often it did without a checkpoint behind that place. */
interface Stop { readonly offset: bigint, readonly times: number, readonly error: Error }

/**
 * Users of one partition whose actor stopped with the state that it had, by a defect of ours. The partition is assigned
 * again and folds what they have since the checkpoint. Where a actor stops for a second time before that place
 * is saved, it would stop again each time: nothing of him is folded then, or the others would wait for ever.
 */
export class StoppedActors {
  readonly #stops = new Map<string, Stop>()

  /** @param offset the last block that was handed to the users */
  stopped (userId: string, offset: bigint, error: Error): void {
    const before = this.#stops.get(userId)
    this.#stops.set(userId, { offset: before?.offset ?? offset, times: (before?.times ?? 0) + 1, error })
  }

  /** Why he is to be set aside; undefined where he is not. */
  reason (userId: string): Error | undefined {
    const stop = this.#stops.get(userId)
    return stop && stop.times > 1 ? stop.error : undefined
  }

  /** States are saved up to but without `next`. */
  saved (next: bigint): void {
    for (const [userId, { offset }] of this.#stops) if (offset < next) this.#stops.delete(userId)
  }
}
