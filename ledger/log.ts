import type { Stream } from '../schemas/streams.js'

/**
 * The reading half of the log: all that evidence needs. Every EventLog is one.
 *
 * Offsets count blocks within one partition, from 0n, growing without reuse; gaps are allowed.
 */
export interface LogReader {
  /** How many partitions the stream was created with; fixed for its life. */
  partitions (stream: Stream<any>): number

  /**
   * Blocks from offset `from` (or the first kept after it) up to but without `to`; by default up to the end as it was
   * at the call. With `signal` it goes on as blocks arrive until the signal aborts, which ends it without an error.
   */
  read<T> (stream: Stream<T>, partition: number, range: ReadRange): AsyncIterable<Block<T>>

  /** The first offset still kept and the one that the next block gets. */
  bounds (stream: Stream<any>, partition: number): Promise<{ first: bigint, next: bigint }>

  /**
   * The first offset whose block was appended at or after `atMs` (ms since 1970); `next` where there is none. Where the
   * clock was set back the blocks pass `atMs` more than once, and it is one of those places.
   */
  offsetAt (stream: Stream<any>, partition: number, atMs: number): Promise<bigint>
}

/**
 * The port to the streams (design.md 3). Everything durable goes through it; nobody else touches Kafka or the local
 * log. Both sides pass the suite in `test/ledger/log-contract.ts`.
 */
export interface EventLog extends LogReader {
  /**
   * Appends `items`, in order, and resolves with the position of the first once they are durable. Appends that arrive
   * while another is in flight wait and are committed together (group commit). Those to one partition keep their order,
   * but for those of different sources (`AppendOptions.source`).
   *
   * A block has at most 1 MiB. Items of at most 256 KiB together, as `Stream.bytesOf` counts, stand side by side in one
   * block, so the position of the first gives that of each. A caller that needs all positions appends no more than that
   * at a time (`piecesOf`). A larger append may take several blocks, in order; the last of them has `derivedFrom`, and
   * appends of others may stand between them.
   *
   * From the call on the items belong to the log, which may hand these very objects to followers: they own their bytes,
   * and nobody changes them.
   *
   * @param items at least one
   * @throws GatewayError `ledger-unavailable` nothing was written: disk full, log closed, or no room in
   *   `pendingBytesMax`; `payload-too-large` an item alone is more than a block has room for
   * @throws EncodeError an item can not be encoded
   */
  append<T> (stream: Stream<T>, partition: number, items: readonly T[], options?: AppendOptions): Promise<Position>

  /**
   * Hands each partition to exactly one member of `group`, its blocks in order from the offset that `assigned` returns.
   * Resolves once the first assignment is complete.
   */
  follow<T> (stream: Stream<T>, group: string, follower: Follower<T>, options?: FollowOptions): Promise<Following>

  /** The highest `derivedFrom` that was appended to this partition with a block; -1n for none. */
  derivedFrom (stream: Stream<any>, partition: number): Promise<bigint>

  /** False while appends are being refused; the reason goes to `/readyz`. */
  health (): { ok: boolean, reason: string }

  /** Flushes what is pending, ends every follower and reader, frees the store. */
  close (): Promise<void>
}

export interface AppendOptions {
  /**
   * Offset of the block of another stream that these items were derived from, stored atomically with them: after a
   * crash the deriver asks `derivedFrom` and leaves out what is there already.
   */
  readonly derivedFrom?: bigint
  /** May wait for the next commit, at most `lazyCommitMs`, rather than cause one of its own. */
  readonly lazy?: boolean
  /**
   * What the gateway must write for itself (ends of connections, load reports, derived streams): it may take the share
   * of `pendingBytesMax` that is kept from what clients and services send.
   */
  readonly reserved?: boolean
  /**
   * Who caused the append: the user id, for what a client sent. Where more waits than one commit takes, sources take
   * turns, so that a source with little does not wait for one with much. Order is kept within a source. Between sources
   * it is free, but for one rule: nothing overtakes an append that is `reserved` and has no source. A log may keep the
   * order of all appends.
   */
  readonly source?: string
  /** What the items take in memory, as `Stream.bytesOf` counts, from a caller that has counted them. */
  readonly bytes?: number
}

export interface ReadRange {
  readonly from: bigint
  readonly to?: bigint
  readonly signal?: AbortSignal
  /**
   * Blocks without an item of this key (`Stream.key`) may be left out; where that costs much to know, they come all the
   * same. The codec has to store the key as its UTF-8 bytes, as all of ours do.
   */
  readonly key?: string
  /**
   * Only items of these keys are decoded (`Stream.decodeItemsOf`) where the log can tell them apart; others may come
   * all the same. Every block of the range comes, also one without such items, with `stored` where the log knows it.
   */
  readonly keys?: ReadonlySet<string>
  /**
   * Called where retention has deleted blocks that were still to be read, at the beginning of the range too: before the
   * first block behind them comes, or the end. Must not throw.
   */
  readonly passed?: (hole: Hole) => void
}

/** Blocks that retention deleted before a reader came to them: from `from` up to but without `to`. */
export interface Hole { readonly from: bigint, readonly to: bigint }

/** A log that hands out its blocks without decoding them. */
export interface StoredBlocks {
  /**
   * Blocks from offset `from` up to but without `to`, and the holes among them, as frames (frames.ts), many to a
   * chunk. A chunk is valid until the next one is asked for, and takes a quarter of a millisecond to collect. Bodies
   * are whole and those that were appended, but nobody has tried to decode them.
   */
  readFrames (stream: Stream<any>, partition: number, range: FramesRange): AsyncIterable<Buffer>
}

export type FramesRange = Required<Pick<ReadRange, 'from' | 'to'>> & Pick<ReadRange, 'key'>

/** All items that one commit has for one partition of a stream. */
export interface Block<T> {
  readonly partition: number
  readonly offset: bigint
  readonly items: readonly T[]
  /** Of the record that it came in, where that is one of Kafka. */
  readonly headers?: ReadonlyArray<readonly [name: string, value: Uint8Array]>
  /** What the items take in memory, as `Stream.bytesOf` counts, where the log knows it from their appends. */
  readonly bytes?: number
  /** What the block takes where it is stored, before anything compresses it, where a reader asked for `keys`. */
  readonly stored?: number
}

/** A place in a stream: partition, block offset, index within the block. Written `3@1021.4`. */
export interface Position {
  readonly partition: number
  readonly offset: bigint
  readonly index: number
}

export interface Follower<T> {
  /**
   * The partition is this member's now. Returns the first offset that it wants, from its own store. When it throws it
   * is asked again.
   *
   * @param committed what the group last committed here, 0n for nothing: for followers that have no store of their own
   * @param index how many items of the block there are done as well
   */
  assigned (partition: number, committed: bigint, index: number): Promise<bigint>
  /**
   * One block, after the one before it was taken: the next one of this partition waits for the returned promise.
   * Must not throw: a failure is the follower's to record.
   */
  received (block: Block<T>): void | Promise<void>
  /**
   * Retention has deleted blocks that it was still to take: told after the one before them was taken, and before the
   * first one behind them comes. A follower that begins at 0n is not told of what was gone by then. Must not throw.
   */
  passed? (partition: number, hole: Hole): void
  /** The partition is about to be revoked: what `received` still waits for, it waits for no longer. */
  leaving? (partition: number): void
  /** The partition goes to somebody else once this resolves; no block of it is being handled then. */
  revoked (partition: number): Promise<void>
}

export interface FollowOptions {
  /** The group does not wait for this member to come back when it stops, whatever it does for others. */
  readonly comesAndGoes?: boolean
}

/** Where a group goes on in a partition: `index` items of the block at `next` are done as well. */
export interface Place { readonly next: bigint, readonly index: number }

/** What groups have committed, for whoever looks after them. */
export interface GroupMember {
  /** By which its process is known to the brokers. */
  readonly clientId: string
  readonly partitions: readonly number[]
}

export interface GroupPlaces {
  /** Groups of these streams that have committed anything, or have members. */
  list (streams: ReadonlyArray<Stream<any>>): Promise<Array<{ readonly stream: string, readonly group: string }>>
  /** By partition; one without is left out. */
  of (stream: Stream<any>, group: string): Promise<Map<number, Place>>
  hasMembers (stream: Stream<any>, group: string): Promise<boolean>
  /** Of all processes, with the partitions that each has; absent where no other process has any. */
  members? (stream: Stream<any>, group: string): Promise<readonly GroupMember[]>
  /**
   * Forgets what the group has committed.
   *
   * @throws GatewayError `has-readers` where it has members
   */
  forget (stream: Stream<any>, group: string): Promise<void>
}

export interface Following {
  /**
   * Keeps `next`, the first offset that is not done yet, for the group. At best effort and a little later: after a
   * crash an older one may come back. Ignored for a partition that is not this member's.
   */
  commit (partition: number, next: bigint): void
  /**
   * Keeps a place for the group, and resolves once it is durable.
   *
   * @throws GatewayError `not-leased` where the partition is not this member's; `ledger-unavailable` where it is not
   *   known to be stored
   */
  keep (partition: number, place: Place): Promise<void>
  /**
   * Gives the partition back and takes it again, from what `assigned` says then: the follower's store went back.
   * Resolves once it was asked; at once where the partition is not this member's.
   */
  reassign (partition: number): Promise<void>
  /** Revokes every partition and leaves the group. */
  stop (): Promise<void>
}

export function formatPosition ({ partition, offset, index }: Position): string {
  return `${partition}@${offset}.${index}`
}

/** @throws RangeError when `text` is not `partition@offset` or `partition@offset.index` */
export function parsePosition (text: string): Position {
  const match = /^(\d{1,9})@(\d{1,18})(?:\.(\d{1,9}))?$/.exec(text)
  if (!match) {
    throw new RangeError(`position: got ${JSON.stringify(text)}, want partition@offset or partition@offset.index`)
  }
  return { partition: Number(match[1]), offset: BigInt(match[2]!), index: Number(match[3] ?? 0) }
}
