import type { RoomState } from '../../actors/rooms/state.js'
import type { NodeJoined, NodeLeft, PostsDelivered, RoomEntry } from '../../schemas/room-facts.js'

/** A time for which one life of a node had members of a room, as the stream `rooms` tells it. */
export interface Stay {
  readonly nodeId: string
  readonly nodeEpoch: number
  readonly joinedAtMs: number
  /** Number of the room's last post when it joined. */
  readonly fromSeq: number
  /** The newest one of it. */
  interest: number
  /** What the node has said last; undefined where it has said nothing. */
  delivered?: Delivered
  end?: { readonly atMs: number, readonly code: NodeLeft['code'] }
}

export interface Delivered {
  readonly atMs: number
  /** Members were given the posts up to this one, but those that are `behind`. */
  readonly roomSeq: number
  readonly members: number
  readonly behind: number
}

/** The nodes of one room: since when they have had members, and what they say that they gave them. */
export class Stays {
  /** The last one of each node. */
  readonly #stays = new Map<string, Stay>()
  readonly #ended: (stay: Stay) => void

  /** @param ended called when a stay has ended */
  constructor (ended: (stay: Stay) => void = () => {}) { this.#ended = ended }

  /** Those that have not ended. */
  get open (): Stay[] { return [...this.#stays.values()].filter(({ end }) => end === undefined) }

  /** Takes one over that has not ended. */
  goesOn (stay: Stay): void { this.#stays.set(stay.nodeId, stay) }

  /**
   * Takes an entry that was folded.
   *
   * @param state what the fold has made of it
   * @returns the stay that it tells something new of
   */
  after ({ atMs, fact }: RoomEntry, state: RoomState): Stay | undefined {
    switch (fact.type) {
      case 'NodeJoined': return this.#joined(fact, atMs, state)
      case 'NodeLeft': return this.#left(fact, atMs)
      case 'PostsDelivered': return this.#delivered(fact, atMs)
      default: return undefined
    }
  }

  #joined (
    { nodeId, nodeEpoch, interest }: NodeJoined, joinedAtMs: number, { nodes, tail }: RoomState
  ): Stay | undefined {
    const taken = nodes.get(nodeId)
    if (taken?.nodeEpoch !== nodeEpoch || taken.interest !== interest) return undefined // late, or the room is closed
    const before = this.#stays.get(nodeId)
    if (before && !before.end && before.nodeEpoch === nodeEpoch) {
      before.interest = interest
      return before
    }
    if (before && !before.end) this.#end(before, joinedAtMs, 'node-lost') // it has begun anew, and nobody has told
    const stay = { nodeId, nodeEpoch, joinedAtMs, fromSeq: tail.roomSeq, interest }
    this.#stays.set(nodeId, stay)
    return stay
  }

  #left ({ nodeId, nodeEpoch, interest, code }: NodeLeft, atMs: number): Stay | undefined {
    const stay = this.#stays.get(nodeId)
    if (!stay || stay.end || stay.nodeEpoch !== nodeEpoch || stay.interest > interest) return undefined
    this.#end(stay, atMs, code)
    return stay
  }

  /** Of a room that is closed, too: its members are given what there was. */
  #delivered ({ nodeId, nodeEpoch, roomSeq, members, behind }: PostsDelivered, atMs: number): Stay | undefined {
    const stay = this.#stays.get(nodeId)
    if (!stay || stay.nodeEpoch !== nodeEpoch || (stay.delivered && stay.delivered.roomSeq > roomSeq)) return undefined
    stay.delivered = { atMs, roomSeq, members, behind }
    return stay
  }

  #end (stay: Stay, atMs: number, code: NodeLeft['code']): void {
    stay.end = { atMs, code }
    this.#ended(stay)
  }
}
