import type { Transport } from '../../schemas/facts.js'
import type { ServerFrame } from '../../schemas/frames.js'
import type { SharedSignal } from '../links.js'

/** A frame for many sockets. */
export interface SharedFrame {
  readonly frame: ServerFrame
  /** Filled by the edge: the whole frame as it goes over the wire, by the name of its framing. */
  readonly encoded: Map<string, Buffer>
}

/** One socket, TCP or WebSocket, as its connection actor sees it. Made by the edge. */
export interface Wire {
  readonly transport: Transport
  /** Remote IP address and port. */
  readonly address: string
  /** Encodes a frame behind those not yet flushed. */
  write (frame: ServerFrame): void
  /** The same for a signal that goes to many: it is encoded once for all of them. */
  writeSignal (signal: SharedSignal): void
  /** The same for any frame. */
  writeShared (shared: SharedFrame): void
  /** What it takes on this wire, for which it is encoded. */
  bytesOf (shared: SharedFrame): number
  /** Gives what was written to the socket, as one write. */
  flush (): void
  /** Bytes given to the socket that the kernel has not taken yet. */
  readonly queuedBytes: number
  /** Bytes received and sent so far. */
  readonly bytesIn: number
  readonly bytesOut: number
  /** Stops and goes on reading; what is left unread holds the client back. */
  pause (): void
  resume (): void
  /** Closes once all is sent: a FIN, or a WebSocket close frame with this code. */
  end (closeCode: number, reason: string): void
  /** Closes at once. */
  destroy (): void
}
