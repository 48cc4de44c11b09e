import type { Posted } from '../../schemas/records.js'
import type { NodeJoined, NodeLeft, PostRequested, RoomClosed, RoomEntry, RoomFellSilent } from '../../schemas/room-facts.js'
import { contentOf } from '../digest.js'
import { nameOf } from '../requests.js'
import { isLater, isUnused, leftMax, noteUse, type Interest, type RoomState } from './state.js'

/** What must be done because of an entry. */
export type RoomEffect = Post | Joined | Closed

/** To the stream `posts`, and to the nodes that have members. */
export interface Post {
  readonly type: 'post'
  readonly post: Posted
}

/** To a node: the room's tail, which says so where the room is closed. */
export interface Joined {
  readonly type: 'joined'
  readonly roomId: string
  readonly nodeId: string
  readonly interest: number
}

/** To a node that had members as the room was closed: the room's tail, and what it was still to get. */
export interface Closed {
  readonly type: 'closed'
  readonly roomId: string
  readonly nodeId: string
  readonly interest: number
}

const nothing: RoomEffect[] = []

/** Folds one entry of `rooms` into `state`; returns what must be done now. Same entries, same effects, on any node. */
export function foldRoom (state: RoomState, entry: RoomEntry): RoomEffect[] {
  const { fact } = entry
  switch (fact.type) {
    case 'PostRequested': return postRequested(state, entry, fact)
    case 'NodeJoined': return nodeJoined(state, entry, fact)
    case 'NodeLeft': return nodeLeft(state, entry, fact)
    case 'RoomClosed': return roomClosed(state, entry, fact)
    case 'PostsDelivered': return nothing // for evidence alone
    case 'RoomFellSilent': return roomFellSilent(state, fact)
  }
}

function postRequested (state: RoomState, { roomId, atMs }: RoomEntry, fact: PostRequested): RoomEffect[] {
  const { messageId, from, service, payload } = fact
  if (isRepeat(state, fact, atMs) || state.closed) return nothing
  noteUse(state, atMs)
  const { roomSeq, ...post } = state.tail.add({
    messageId,
    from,
    service,
    // Bytes of its own: the entry's are a view on a whole block, which would be kept for as long as this is.
    payload: Uint8Array.prototype.slice.call(payload),
    postedAtMs: atMs,
  })
  state.times.add(roomSeq, atMs)
  return [{ type: 'post', post: { roomId, roomSeq, ...post } }]
}

/**
 * Uplinks of one partition of the ledger come in its order, repeats included: whatever is not behind the last one was
 * taken before, however long ago. A request of a business service is known by its id, for a day.
 */
function isRepeat ({ sources, requests, closed }: RoomState, fact: PostRequested, atMs: number): boolean {
  const { messageId, service, payload, ledgerPartition, ledgerOffset: offset, ledgerIndex: index } = fact
  if (ledgerPartition < 0) {
    // What a room that is closed refuses, it need not know again.
    return !closed && requests.take(nameOf.post(messageId), contentOf(service, payload), atMs) !== 'first'
  }
  const last = sources.get(ledgerPartition)
  if (last && (offset < last.offset || (offset === last.offset && index <= last.index))) return true
  sources.set(ledgerPartition, { offset, index })
  return false
}

function nodeJoined (
  state: RoomState, { roomId, atMs }: RoomEntry, { nodeId, nodeEpoch, interest }: NodeJoined
): RoomEffect[] {
  const now = { nodeEpoch, interest }
  if (state.closed) return [{ type: 'joined', roomId, nodeId, interest }]
  const last = state.nodes.get(nodeId) ?? state.left.get(nodeId)
  if (last && !isLater(now, last)) return nothing
  state.nodes.set(nodeId, now)
  state.left.delete(nodeId)
  state.nodesChanged = true
  noteUse(state, atMs)
  return [{ type: 'joined', roomId, nodeId, interest }]
}

function nodeLeft (state: RoomState, { atMs }: RoomEntry, { nodeId, nodeEpoch, interest }: NodeLeft): RoomEffect[] {
  const ended = { nodeEpoch, interest }
  const joined = state.nodes.get(nodeId)
  if (joined ? isLater(joined, ended) : !isNewEnd(state, nodeId, ended)) return nothing
  state.nodes.delete(nodeId)
  state.left.delete(nodeId)
  state.left.set(nodeId, ended)
  if (state.left.size > leftMax) state.left.delete(state.left.keys().next().value!)
  noteUse(state, atMs)
  // It is as if nobody had ever been there: anybody can have as many of these as there are names.
  if (isUnused(state)) {
    state.left.clear()
    state.usedAtMs = 0
  }
  state.nodesChanged = true
  return nothing
}

/** Its end may come before its beginning, which is then the repeat of one that was lost sight of. */
function isNewEnd ({ left }: RoomState, nodeId: string, ended: Interest): boolean {
  const last = left.get(nodeId)
  return !last || isLater(ended, last)
}

function roomClosed (state: RoomState, { roomId }: RoomEntry, { reason }: RoomClosed): RoomEffect[] {
  if (state.closed) return nothing
  state.closed = true
  state.closeReason = reason
  const effects = Array.from(state.nodes, ([nodeId, { interest }]): RoomEffect =>
    ({ type: 'closed', roomId, nodeId, interest }))
  state.nodesChanged ||= state.nodes.size > 0 || state.left.size > 0
  state.nodes.clear()
  state.left.clear()
  return effects
}

/** Whoever has posted since, or is there, uses it: the fact comes too late. */
function roomFellSilent (state: RoomState, { roomSeq }: RoomFellSilent): RoomEffect[] {
  const { tail, requests, nodes, left } = state
  if (tail.roomSeq !== roomSeq || nodes.size > 0) return nothing
  tail.drop()
  requests.drop()
  state.nodesChanged ||= left.size > 0
  left.clear()
  return nothing
}
