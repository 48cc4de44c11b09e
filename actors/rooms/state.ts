import { Requests } from '../requests.js'
import type { PartId } from '../snapshots.js'
import { Tail } from './tail.js'
import { PostTimes } from './times.js'

/**
 * Everything that the entries of `rooms` up to `offset` say about one room. Only the fold changes it, and it marks what
 * it changes: the next save writes that alone (parts.ts).
 */
export interface RoomState {
  /** Highest block that is folded in; -1n for none. An entry at or below it is skipped. */
  offset: bigint
  /** Its last posts. */
  readonly tail: Tail
  /** When some of its posts were posted, for whoever reads old ones. */
  readonly times: PostTimes
  /** Nodes that have members of it, by id. */
  readonly nodes: Map<string, Interest>
  /** Nodes that had some of late, longest ago first, so that a late repeat brings none back. At most `leftMax`. */
  readonly left: Map<string, Interest>
  nodesChanged: boolean
  /** By partition of the ledger, the last entry of an uplink that was taken: one at or below it is a repeat. */
  readonly sources: Map<number, Source>
  /** What business services requested of late, so that a repeat is known as such. */
  readonly requests: Requests
  /** No posts and no members are taken any more. */
  closed: boolean
  /** What members are told. */
  closeReason: string
  /** When somebody posted, came or left last, by the times of the entries, ms since 1970; 0 for never. */
  usedAtMs: number
  /** Saved parts that nothing names any more. */
  readonly gone: PartId[]
  /** The first request that was not saved when the state was rebuilt; undefined once it was given since. */
  rebuiltFrom: number | undefined
}

/** A time in the life of a node for which it had members of the room. */
export interface Interest {
  readonly nodeEpoch: number
  readonly interest: number
}

/** A place in a partition of the ledger. */
export interface Source {
  readonly offset: number
  readonly index: number
}

export const leftMax = 64
export const nodesPart: PartId = 'n0'
export const timesPart: PartId = 't0'

export function newRoom (): RoomState {
  const gone: PartId[] = []
  return {
    offset: -1n,
    tail: new Tail(gone),
    times: new PostTimes(),
    nodes: new Map(),
    left: new Map(),
    nodesChanged: false,
    sources: new Map(),
    requests: new Requests(gone),
    closed: false,
    closeReason: '',
    usedAtMs: 0,
    gone,
    rebuiltFrom: undefined,
  }
}

/**
 * Whether there was never a post in it, and nobody is: nothing of it is kept, whatever it was told. One that has had a
 * post is known for ever, so that its numbers never begin anew.
 */
export function isUnused ({ tail, nodes, closed }: RoomState): boolean {
  return tail.roomSeq === 0 && nodes.size === 0 && !closed
}

/** Somebody uses it. By the newest of the clocks that say so: one that is behind makes nothing look unused. */
export function noteUse (state: RoomState, atMs: number): void { state.usedAtMs = Math.max(state.usedAtMs, atMs) }

/** Whether `one` is later than `other` in the life of a node, or in that of a later one of the same name. */
export function isLater (one: Interest, other: Interest): boolean {
  return one.nodeEpoch > other.nodeEpoch || (one.nodeEpoch === other.nodeEpoch && one.interest > other.interest)
}
