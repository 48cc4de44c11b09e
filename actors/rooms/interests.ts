import type { RoomEntry } from '../../schemas/room-facts.js'
import type { Interest } from './state.js'

export interface InterestsDeps {
  /** Whether this life of the node is over for good, as far as is known here. */
  isGone (nodeId: string, nodeEpoch: number): boolean
  /** Says in the place of a node that it has left. Once that is in the stream it comes as an entry. */
  end (roomId: string, nodeId: string, interest: Interest): void
}

/** Interests remembered of one partition; what comes beyond ends with the next post or join of its room. */
const interestsMax = 50_000
/** How many are ended by one sweep. */
const endsMax = 500

/** One life of a node, and its newest interest in each room. */
interface Life {
  readonly nodeId: string
  readonly nodeEpoch: number
  readonly rooms: Map<string, number>
}

/**
 * Which nodes have members of the rooms of one partition, as far as the entries tell that came since this process owns
 * it. A node that is gone can not say that it has left: it is put out of all rooms in its place, also of those in which
 * nothing happens. Nothing of this is saved: rooms that it does not know of put the node out themselves, when they meet
 * it (nodes.ts).
 */
export class Interests {
  readonly #deps: InterestsDeps
  readonly #lives = new Map<string, Life>()
  #count = 0

  constructor (deps: InterestsDeps) { this.#deps = deps }

  /** How many are remembered. */
  get size (): number { return this.#count }

  received (entries: readonly RoomEntry[]): void {
    for (const { roomId, fact } of entries) {
      switch (fact.type) {
        case 'NodeJoined': this.#joined(roomId, fact.nodeId, fact.nodeEpoch, fact.interest); break
        case 'NodeLeft': this.#left(roomId, fact.nodeId, fact.nodeEpoch, fact.interest); break
        case 'RoomClosed': for (const life of this.#lives.values()) this.#forget(life, roomId)
      }
    }
  }

  /** Called once a second. */
  sweep (): void {
    const { isGone, end } = this.#deps
    let left = endsMax
    for (const { nodeId, nodeEpoch, rooms } of this.#lives.values()) {
      if (!isGone(nodeId, nodeEpoch)) continue
      for (const [roomId, interest] of rooms) {
        if (left-- === 0) return
        end(roomId, nodeId, { nodeEpoch, interest })
      }
    }
  }

  #joined (roomId: string, nodeId: string, nodeEpoch: number, interest: number): void {
    const key = keyOf(nodeId, nodeEpoch)
    const life = this.#lives.get(key)
    const known = life?.rooms.get(roomId)
    if (known === undefined && this.#count >= interestsMax) return
    if (known === undefined) this.#count++
    if (life) life.rooms.set(roomId, Math.max(known ?? 0, interest))
    else this.#lives.set(key, { nodeId, nodeEpoch, rooms: new Map([[roomId, interest]]) })
  }

  #left (roomId: string, nodeId: string, nodeEpoch: number, interest: number): void {
    const life = this.#lives.get(keyOf(nodeId, nodeEpoch))
    const known = life?.rooms.get(roomId)
    if (life && known !== undefined && known <= interest) this.#forget(life, roomId)
  }

  #forget (life: Life, roomId: string): void {
    if (!life.rooms.delete(roomId)) return
    this.#count--
    if (life.rooms.size === 0) this.#lives.delete(keyOf(life.nodeId, life.nodeEpoch))
  }
}

function keyOf (nodeId: string, nodeEpoch: number): string { return `${nodeEpoch} ${nodeId}` }
