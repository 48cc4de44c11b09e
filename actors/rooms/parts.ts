import { GatewayError } from '../../schemas/errors.js'
import { type StoredRoomHead, roomHeadCodec, roomNodesCodec, roomPostCodec, roomTimesCodec, type StoredNode } from '../../schemas/room-state.js'
import type { States } from '../kind.js'
import { requestParts, requestsMax } from '../requests.js'
import type { LoadedState, PartId, SavedState, StateChanges } from '../snapshots.js'
import { type Interest, isUnused, newRoom, nodesPart, type RoomState, timesPart } from './state.js'
import { type KeptPost, postPart, tailMax } from './tail.js'

/*
  A room's state in parts, as that of a user (docs/decisions/0016-states-in-parts.md):

    head           numbers, and which of the other parts there are; written by every save
    m<roomSeq>     one of its last posts
    r<chunk>       32 remembered requests
    n0             nodes that have members, and those that had some
    t0             when some of its posts were posted

  All numbers are given by the fold, from entries alone: two owners of a room give the same ones to the same things.
*/

export const roomStates: States<RoomState> = {
  fresh: newRoom,
  partsOf,
  loaded,
  rebuilding (state) {
    state.tail.rebuilding()
    state.rebuiltFrom = state.requests.savedEnd
  },
  changesOf,
  savedStateOf,
  stateOf,
  leftOut: () => [],
  unsavable: reason => Buffer.from(unsavableMark + reason.slice(0, reasonCharsMax)),
  comparable,
}

const nothing: Omit<StateChanges, 'gone'> = { head: undefined, added: new Map(), changed: new Map() }

const unsavableMark = 'This state could not be saved: '
const reasonCharsMax = 500

function changesOf (state: RoomState): StateChanges {
  const unused = isUnused(state)
  const parts = unused ? nothing : encoded(state, false)
  const gone = new Set(state.gone.splice(0))
  for (const id of state.tail.saved()) gone.add(id)
  if (state.rebuiltFrom !== undefined) {
    // Requests that were forgotten since: the chunk of the oldest that is known is still named.
    const { first, end } = state.requests
    const [remembered] = requestParts(first, end)
    for (const id of requestParts(state.rebuiltFrom, first)) if (id !== remembered) gone.add(id)
  }
  state.rebuiltFrom = undefined
  if (unused || (state.nodesChanged && !hasNodes(state))) gone.add(nodesPart)
  state.nodesChanged = false
  state.times.changed = false
  state.requests.saved()
  // What an earlier owner had begun to save may have the number of what is saved now.
  return { ...parts, gone: [...gone].filter(id => !parts.added.has(id) && !parts.changed.has(id)) }
}

function savedStateOf (state: RoomState): SavedState | undefined {
  if (isUnused(state)) return undefined
  const { head, added, changed } = encoded(state, true)
  const parts = new Map<PartId, Buffer>()
  for (const [id, bytes] of [...changed, ...added]) {
    parts.set(id, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
  }
  return { head, parts }
}

function partsOf (head: Buffer): PartId[] {
  if (isUnsavable(head)) return []
  const { roomSeq, keptAfter, requestsFirst, requestsEnd, nodes, times } = headOf(head)
  const parts = requestParts(requestsFirst, requestsEnd)
  for (let n = keptAfter + 1; n <= roomSeq; n++) parts.push(postPart(n))
  if (nodes) parts.push(nodesPart)
  if (times) parts.push(timesPart)
  return parts
}

function stateOf ({ head, parts }: SavedState): RoomState {
  if (isUnsavable(head)) throw new GatewayError('bad-record', head.toString())
  const stored = headOf(head)
  const state = newRoom()
  const part = (id: PartId): Buffer => {
    const bytes = parts.get(id)
    if (!bytes) throw new GatewayError('bad-record', `part ${id} of a room's state is missing`)
    return bytes
  }
  state.offset = BigInt(stored.offset)
  const posts: KeptPost[] = []
  for (let roomSeq = stored.keptAfter + 1; roomSeq <= stored.roomSeq; roomSeq++) {
    const { messageId, from, service, payload, postedAtMs } = roomPostCodec.decode(part(postPart(roomSeq)))
    posts.push({ roomSeq, messageId, from, service, payload, postedAtMs })
  }
  state.tail.restore(posts, stored.roomSeq)
  const wrong = state.requests.restoreParts(parts, stored.requestsFirst, stored.requestsEnd)
  if (wrong !== undefined) throw new GatewayError('bad-record', `part ${wrong} of a room's state is missing or too short`)
  for (const { partition, offset, index } of stored.sources) state.sources.set(partition, { offset, index })
  if (stored.nodes) {
    const { joined, left } = roomNodesCodec.decode(part(nodesPart))
    for (const { nodeId, nodeEpoch, interest } of joined) state.nodes.set(nodeId, { nodeEpoch, interest })
    for (const { nodeId, nodeEpoch, interest } of left) state.left.set(nodeId, { nodeEpoch, interest })
  }
  if (stored.times) state.times.restore(roomTimesCodec.decode(part(timesPart)).times)
  state.closed = stored.closed
  state.closeReason = stored.closeReason
  state.usedAtMs = stored.usedAtMs < 0 ? posts.at(-1)?.postedAtMs ?? 0 : stored.usedAtMs
  return state
}

/** Whether a room may be silent, by its head alone, and has anything to let go of (silence.ts). */
export function maybeSilent (head: Buffer, beforeMs: number): boolean {
  if (isUnsavable(head)) return false
  try {
    const { roomSeq, keptAfter, requestsFirst, requestsEnd, nodes, usedAtMs } = headOf(head)
    return usedAtMs < beforeMs && (keptAfter < roomSeq || requestsFirst < requestsEnd || nodes)
  } catch {
    return false // whoever loads it sets it aside
  }
}

/** As `stateOf`; what else is stored of the room, and nothing names, goes with the next save. */
function loaded (stored: LoadedState): RoomState {
  const state = stateOf(stored)
  state.gone.push(...stored.others)
  return state
}

function isUnsavable (head: Buffer): boolean {
  return head.toString('latin1', 0, unsavableMark.length) === unsavableMark
}

/** @param all whether they have changed or not */
function encoded (state: RoomState, all: boolean): Omit<StateChanges, 'gone'> & { readonly head: Buffer } {
  const { tail, times, requests, sources } = state
  const added = new Map<PartId, Uint8Array>()
  const changed = new Map<PartId, Uint8Array>()
  for (const post of all ? tail.posts : tail.unsaved()) {
    const { payload } = post
    const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength) // avsc takes a Buffer only
    added.set(postPart(post.roomSeq), roomPostCodec.encode({ ...post, payload: bytes }))
  }
  requests.collect(changed, all)
  const nodes = hasNodes(state)
  if (nodes && (all || state.nodesChanged)) {
    changed.set(nodesPart, roomNodesCodec.encode({ joined: stored(state.nodes), left: stored(state.left) }))
  }
  if (times.all.length > 0 && (all || times.changed)) {
    changed.set(timesPart, roomTimesCodec.encode({ times: [...times.all] }))
  }
  const head = roomHeadCodec.encode({
    offset: Number(state.offset),
    roomSeq: tail.roomSeq,
    keptAfter: tail.keptAfter,
    requestsFirst: requests.first,
    requestsEnd: requests.end,
    sources: Array.from(sources, ([partition, source]) => ({ partition, ...source })),
    nodes,
    closed: state.closed,
    closeReason: state.closeReason,
    usedAtMs: state.usedAtMs,
    times: times.all.length > 0,
  })
  return { head, added, changed }
}

function hasNodes ({ nodes, left }: RoomState): boolean { return nodes.size > 0 || left.size > 0 }

function stored (nodes: ReadonlyMap<string, Interest>): StoredNode[] {
  return Array.from(nodes, ([nodeId, interest]) => ({ nodeId, ...interest }))
}

function headOf (head: Buffer): StoredRoomHead {
  const stored = roomHeadCodec.decode(head)
  const { roomSeq, keptAfter, requestsFirst, requestsEnd } = stored
  if (keptAfter < 0 || keptAfter > roomSeq || roomSeq - keptAfter > tailMax) {
    throw new GatewayError('bad-record', `a room's state with the posts after ${keptAfter} up to ${roomSeq}`)
  }
  if (requestsFirst < 0 || requestsEnd - requestsFirst > requestsMax) {
    throw new GatewayError('bad-record', `a room's state with requests ${requestsFirst} to ${requestsEnd}`)
  }
  return stored
}

/** When it was used, and when its posts were posted, nobody knows of the time before states told it. */
function comparable ({ offset, tail, requests, nodes, left, sources, closed, closeReason }: RoomState): unknown {
  const { bytes } = requests
  return {
    offset,
    roomSeq: tail.roomSeq,
    posts: tail.posts.map(post => ({ ...post, payload: Buffer.from(post.payload) })),
    requests: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
    nodes: [...nodes],
    left: [...left],
    sources: [...sources].sort(([a], [b]) => a - b),
    closed,
    closeReason,
  }
}
