import type { ServerFrame } from '../../schemas/frames.js'
import type { Connection } from '../connection/connection.js'
import type { SharedFrame } from '../connection/wire.js'

/** Frames of one connection, in order. */
interface Collected {
  readonly frames: Array<ServerFrame | SharedFrame>
  bytes: number
}

/**
 * What one turn has for members of rooms: a member of several rooms, or of one with several posts, gets it all as one
 * write. A write costs more than all else that is done for a post and a member.
 */
export class TurnOutput {
  readonly #collected = new Map<Connection, Collected>()
  #bytes = 0

  /** Connections that there is something for. */
  get connections (): number { return this.#collected.size }
  /** Of all posts and signals. */
  get bytes (): number { return this.#bytes }

  bytesFor (connection: Connection): number { return this.#collected.get(connection)?.bytes ?? 0 }

  /** One that is for this connection alone. */
  add (connection: Connection, frame: ServerFrame): void { this.#of(connection).frames.push(frame) }

  /** @param bytes that it takes on the wire of this connection */
  addShared (connection: Connection, shared: SharedFrame, bytes: number): void {
    const collected = this.#of(connection)
    collected.frames.push(shared)
    collected.bytes += bytes
    this.#bytes += bytes
  }

  /** Writes it all. */
  send (): void {
    for (const [connection, { frames }] of this.#collected) {
      for (let i = 0; i < frames.length; i++) {
        const frame = frames[i]!
        if ('op' in frame) connection.write(frame)
        else connection.writeShared(frame)
      }
      connection.wire.flush()
    }
    this.#collected.clear()
    this.#bytes = 0
  }

  #of (connection: Connection): Collected {
    let collected = this.#collected.get(connection)
    if (!collected) this.#collected.set(connection, collected = { frames: [], bytes: 0 })
    return collected
  }
}
