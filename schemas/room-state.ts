import { loadSchema } from './avsc-files.js'
import { PartCodec } from './part-codec.js'

/* The parts of a room's saved state that are Avro records (`room-state/`). */

/** What names the other parts. */
export interface StoredRoomHead {
  offset: number
  roomSeq: number
  keptAfter: number
  requestsFirst: number
  requestsEnd: number
  sources: StoredSource[]
  nodes: boolean
  closed: boolean
  closeReason: string
  /** -1 where the version that wrote it did not know. */
  usedAtMs: number
  times: boolean
}

export interface StoredSource {
  partition: number
  offset: number
  index: number
}

export interface StoredNode {
  nodeId: string
  nodeEpoch: number
  interest: number
}

export interface StoredPost {
  messageId: string
  from: string
  service: string
  payload: Uint8Array
  postedAtMs: number
}

export interface StoredTime {
  number: number
  roomSeq: number
  postedAtMs: number
}

export const roomHeadCodec = new PartCodec<StoredRoomHead>(loadSchema('room-state/head'))
export const roomNodesCodec = new PartCodec<{ joined: StoredNode[], left: StoredNode[] }>(loadSchema('room-state/nodes'))
export const roomPostCodec = new PartCodec<StoredPost>(loadSchema('room-state/post'))
export const roomTimesCodec = new PartCodec<{ times: StoredTime[] }>(loadSchema('room-state/times'))
