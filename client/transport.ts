import type { ClientFrame, Frame } from '../schemas/frames.js'

/** One socket that carries frames. */
export interface Transport {
  send (frame: ClientFrame): void
  /** Ends it once all that was sent is out. */
  close (): void
  /** Ends it now. */
  destroy (): void
}

export interface TransportHandlers {
  readonly opened: () => void
  /** `payload`s are views on what was read: whoever keeps one copies it. */
  readonly received: (frame: Frame) => void
  /** Called once, whoever ended it. */
  readonly closed: (end: TransportEnd) => void
}

export interface TransportEnd {
  /** WebSocket close code; 0 for none. */
  readonly closeCode: number
  readonly reason: string
  /** The server said how long to stay away; 0 if not. */
  readonly retryAfterMs: number
}
