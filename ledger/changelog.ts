/** A key of a changelog and its value from now on; null where it has none any more. */
export interface Change {
  readonly key: Buffer
  readonly value: Buffer | null
}

/**
 * What a store holds, as the last value of each key: durable, in partitions, compacted and never deleted by age. The
 * store may lose everything, and is filled from here in a time that goes with what it held.
 */
export interface Changelog {
  /**
   * Takes the partition from whoever writes to it: what he writes from then on is refused.
   *
   * @throws GatewayError `ledger-unavailable`
   */
  open (partition: number): Promise<ChangelogWriter>
}

/** The one writer of a partition. */
export interface ChangelogWriter {
  /**
   * Stores all of the changes or none, in their order; durable when it resolves. One call at a time.
   *
   * @throws ChangelogFenced somebody else has opened the partition since; nothing is stored
   * @throws GatewayError `ledger-unavailable` it may be stored all the same; a later call stores what it is given
   */
  write (changes: readonly Change[]): Promise<void>

  /** The offset that the next change gets, or a higher one. */
  next (): Promise<bigint>

  /**
   * What stands in the partition from an offset on, oldest first. A key may come more than once; the last one counts.
   *
   * @throws GatewayError `ledger-unavailable`
   */
  read (from: bigint): AsyncIterable<Change>

  /** The last value of a key that is written with every call of `write`; undefined where there is none. */
  last (key: Buffer): Promise<Buffer | null | undefined>
}

/** Somebody else writes to the partition now. Trying again is of no use. */
export class ChangelogFenced extends Error {
  override readonly name = 'ChangelogFenced'
}
