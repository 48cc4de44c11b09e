import type { Connection } from '../connection/connection.js'
import type { SharedFrame } from '../connection/wire.js'

/** A signal on its way to the members. */
interface SignalRound {
  readonly shared: SharedFrame
  readonly members: Iterator<[Connection, number]>
  bytes: number
}

/** Signals of one room that wait for members to be written to: what comes beyond is lost, as signals may be. */
const signalsMax = 100
/** What one takes besides its payload and service. */
const overheadBytes = 256

/** The signals of a room that some members have not had yet. */
export class RoomSignals {
  readonly #rounds: SignalRound[] = []
  readonly #took: (bytes: number) => void

  /** @param took told of each change of what they take in memory, bytes */
  constructor (took: (bytes: number) => void) { this.#took = took }

  /** @param payloadBytes of its payload and service */
  add (shared: SharedFrame, payloadBytes: number, members: Iterator<[Connection, number]>): void {
    if (this.#rounds.length >= signalsMax) return
    const bytes = overheadBytes + payloadBytes
    this.#rounds.push({ shared, members, bytes })
    this.#took(bytes)
  }

  /** The next member that has not had the oldest signal. */
  next (): { shared: SharedFrame, connection: Connection } | undefined {
    for (;;) {
      const [first] = this.#rounds
      if (!first) return undefined
      const { value, done } = first.members.next()
      if (!done) return { shared: first.shared, connection: value[0] }
      this.#rounds.shift()
      this.#took(-first.bytes)
    }
  }

  /** The oldest one was encoded once more. */
  encoded (bytes: number): void {
    const [first] = this.#rounds
    if (!first) return
    first.bytes += bytes
    this.#took(bytes)
  }

  /** Nobody waits for them any more. */
  drop (): void {
    for (const { bytes } of this.#rounds.splice(0)) this.#took(-bytes)
  }
}
