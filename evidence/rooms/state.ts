import { foldRoom } from '../../actors/rooms/fold.js'
import { newRoom, type RoomState } from '../../actors/rooms/state.js'
import { formatPosition, type LogReader } from '../../ledger/log.js'
import { userInWords, userOf } from '../../schemas/apps.js'
import { partitionOf } from '../../schemas/partitioning.js'
import type { RoomEntry } from '../../schemas/room-facts.js'
import { rooms } from '../../schemas/streams.js'
import { type Beginning, beginningOf } from '../beginning.js'
import { roomEntriesOf } from '../entries.js'
import { isBehind, type Moment } from '../moment.js'
import { checkPosition } from '../state.js'
import { findGone } from '../surroundings.js'
import type { Placed } from '../trace.js'
import { anew } from '../whole.js'
import { Stays } from './stays.js'

/** A room's state as the fold had it, without the payloads. */
export interface RoomView {
  /** Absent for the default one. */
  readonly app?: string
  readonly roomId: string
  /** The last entry of `rooms` that it holds; null where there is none. */
  readonly asOf: { readonly position: string, readonly atMs: number } | null
  /** Where retention has deleted what was before: posts are counted from there. */
  readonly knownSince: Beginning | null
  /** Number of the last post. */
  readonly roomSeq: number
  /** Posts after this one are kept for whoever joins. */
  readonly keptAfter: number
  readonly closed: boolean
  readonly closeReason: string
  /** Nodes that have members. */
  readonly nodes: readonly RoomNodeView[]
  /** Those that are kept, oldest first. */
  readonly posts: readonly PostView[]
}

export interface RoomNodeView {
  readonly nodeId: string
  readonly nodeEpoch: number
  readonly interest: number
  readonly joinedAtMs: number
  /** The last post that its members were given, as it said last, and when; 0 where it has said nothing. */
  readonly deliveredSeq: number
  readonly deliveredAtMs: number
  /** As it said then. */
  readonly members: number
  /** Those of them that read too slowly. */
  readonly behind: number
  /** `node-lost`, `node-silent`: it is gone, and the next post ends its stay. Empty while it lives. */
  readonly gone: string
}

export interface PostView {
  readonly roomSeq: number
  readonly messageId: string
  readonly from: string
  readonly service: string
  readonly payloadBytes: number
  readonly postedAtMs: number
}

/**
 * What the room actor knew at a moment, by the fold that ran in production over the room's entries.
 *
 * @param moment by default the end of the stream
 * @throws GatewayError as `stateAt`, of the stream `rooms`
 */
export async function roomStateAt (
  log: LogReader, roomId: string, moment?: Moment, nowMs = Date.now()
): Promise<RoomView> {
  const partition = partitionOf(roomId, log.partitions(rooms))
  if (moment?.type === 'position') {
    await checkPosition(log, rooms, `room ${userInWords(roomId)}`, partition, moment.position)
  }
  return await anew(() => roomStateIn(log, roomId, partition, moment, nowMs))
}

async function roomStateIn (
  log: LogReader, roomId: string, partition: number, moment: Moment | undefined, nowMs: number
): Promise<RoomView> {
  const state = newRoom()
  const stays = new Stays()
  let last: Placed<RoomEntry> | undefined
  for await (const placed of roomEntriesOf(log, roomId)) {
    if (moment && isBehind(moment, placed)) break
    foldRoom(state, placed.entry)
    stays.after(placed.entry, state)
    last = placed
  }
  const { tail, closed, closeReason } = state
  const atMs = moment === undefined ? nowMs : moment.type === 'time' ? moment.atMs : last?.entry.atMs ?? nowMs
  return {
    ...shownRoom(roomId),
    asOf: last ? { position: formatPosition(last.position), atMs: last.entry.atMs } : null,
    knownSince: await beginningOf(log, partition, rooms),
    roomSeq: tail.roomSeq,
    keptAfter: tail.keptAfter,
    closed,
    closeReason,
    nodes: await Promise.all(nodesOf(state, stays).map(async node =>
      ({ ...node, gone: (await findGone(log, node.nodeId, node.nodeEpoch, atMs))?.code ?? '' }))),
    posts: tail.posts.map(({ payload, ...post }) => ({ ...post, payloadBytes: payload.length })),
  }
}

function nodesOf ({ nodes }: RoomState, stays: Stays): Array<Omit<RoomNodeView, 'gone'>> {
  return stays.open.filter(({ nodeId }) => nodes.has(nodeId))
    .map(({ nodeId, nodeEpoch, interest, joinedAtMs, delivered }) => ({
      nodeId,
      nodeEpoch,
      interest,
      joinedAtMs,
      deliveredSeq: delivered?.roomSeq ?? 0,
      deliveredAtMs: delivered?.atMs ?? 0,
      members: delivered?.members ?? 0,
      behind: delivered?.behind ?? 0,
    }))
}

/** What an answer says of a room: `app` is not there where it is the default one. */
export function shownRoom (key: string): { readonly app?: string, readonly roomId: string } {
  const { app, userId: roomId } = userOf(key)
  return app === '' ? { roomId } : { app, roomId }
}
