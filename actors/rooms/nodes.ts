import type { EventLog } from '../../ledger/log.js'
import { rooms } from '../../schemas/streams.js'
import type { Interest, RoomState } from './state.js'

export interface NodesDeps {
  readonly log: Pick<EventLog, 'append'>
  readonly partition: number
  /** Whether this life of the node is over for good, as far as is known here. */
  isGone (nodeId: string, nodeEpoch: number): boolean
}

/** The nodes that have members of the rooms of one partition, as far as they live. */
export class Nodes {
  readonly #deps: NodesDeps
  /** Ends that are on their way to the stream. */
  readonly #ending = new Set<string>()

  constructor (deps: NodesDeps) { this.#deps = deps }

  /**
   * Those of a room that live. One that is gone can not say that it has left: whoever meets it says so in its place.
   */
  * living (roomId: string, { nodes }: RoomState): Generator<[nodeId: string, interest: Interest]> {
    for (const node of nodes) {
      const [nodeId, interest] = node
      if (this.#deps.isGone(nodeId, interest.nodeEpoch)) this.end(roomId, nodeId, interest)
      else yield node
    }
  }

  /** Puts those out of a room that are gone. */
  endGone (roomId: string, { nodes }: RoomState): void {
    for (const [nodeId, interest] of nodes) {
      if (this.#deps.isGone(nodeId, interest.nodeEpoch)) this.end(roomId, nodeId, interest)
    }
  }

  /** Says in the place of a node that it has left; once, however often it is called meanwhile. */
  end (roomId: string, nodeId: string, { nodeEpoch, interest }: Interest): void {
    const { log, partition } = this.#deps
    const key = JSON.stringify([roomId, nodeId, nodeEpoch, interest])
    if (this.#ending.has(key)) return
    this.#ending.add(key)
    const fact = { type: 'NodeLeft', nodeId, nodeEpoch, interest, code: 'node-lost' } as const
    log.append(rooms, partition, [{ roomId, atMs: Date.now(), fact }], { reserved: true, lazy: true })
      .catch(() => {}) // the next one who meets it tries again
      .finally(() => { this.#ending.delete(key) })
  }
}
