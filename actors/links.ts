import type { CloseConnection, Deliver, RefuseUplink, Welcome } from './user/effects.js'

/**
 * The port between user actors and the connection actors that they answer (design.md 3), which may be on another node.
 * At most once, and in order unless something is lost: what is lost, the edge's sweep asks for again with `Resync`.
 */
export interface Links {
  /** To the edge that holds the connection; dropped where it is gone. */
  toConnection (message: ConnectionMessage): void
  /** To the node that owns the user's partition; dropped where nobody does just now. */
  toUser (question: Resync): void
}

/** Each names its connection and the node that holds it. */
export type ConnectionMessage = Welcome | AckUplinks | RefuseUplink | Deliver | CloseConnection | Gone | Signalled

/** Accepted up to `seq`; `userSeqs` are the numbers of the last ones, ending at `seq`. */
export interface AckUplinks {
  readonly type: 'ackUplinks'
  readonly nodeId: string
  readonly connectionId: string
  seq: number
  readonly userSeqs: number[]
}

/** The downlink that a resync asked for was dropped or has expired: only a new `connected` can announce that. */
export interface Gone {
  readonly type: 'gone'
  readonly nodeId: string
  readonly connectionId: string
}

/** A signal for the client. One object for all connections that it goes to, so that each encoding is made once. */
export interface Signalled {
  readonly type: 'signal'
  readonly nodeId: string
  readonly connectionId: string
  readonly signal: SharedSignal
}

export interface SharedSignal {
  readonly service: string
  readonly payload: Uint8Array
  /** Filled by the edge: the whole frame as it goes over the wire, by the name of its framing. */
  readonly encoded: Map<string, Buffer>
}

/**
 * Asks a user actor for what a connection has not seen: its `Welcome` while `welcomed` is false, else acks above
 * `uplinkSeq` and downlinks above `downlinkSeq`, up to `bytesMax` payload bytes. Changes nothing.
 */
export interface Resync {
  readonly type: 'resync'
  readonly userId: string
  readonly partition: number
  readonly nodeId: string
  readonly connectionId: string
  readonly welcomed: boolean
  readonly uplinkSeq: number
  readonly downlinkSeq: number
  readonly bytesMax: number
}

/** The embedded side: everything is in this process, so a message is a call. */
export function localLinks (): Links & LocalEnds {
  return {
    connections: () => {},
    users: () => {},
    toConnection (message) { this.connections(message) },
    toUser (question) { this.users(question) },
  }
}

/** Where the messages arrive; set once, when edge and users have started. */
export interface LocalEnds {
  connections: (message: ConnectionMessage) => void
  users: (question: Resync) => void
}
