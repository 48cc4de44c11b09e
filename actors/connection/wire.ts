import type { Transport } from '../../schemas/facts.js'
import type { ServerFrame } from '../../schemas/frames.js'
import type { SharedSignal } from '../links.js'

/** One socket, TCP or WebSocket, as its connection actor sees it. Made by the edge. */
export interface Wire {
  readonly transport: Transport
  /** Remote IP address and port. */
  readonly address: string
  /** Encodes a frame behind those not yet flushed. */
  write (frame: ServerFrame): void
  /** The same for a signal that goes to many: it is encoded once for all of them. */
  writeSignal (signal: SharedSignal): void
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
