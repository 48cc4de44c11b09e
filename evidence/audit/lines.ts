import { LedgerCounts } from '../../projections/ledger-counts.js'
import type { ConnectionClosed, ConnectionOpened, Entry } from '../../schemas/facts.js'
import { ledger } from '../../schemas/streams.js'
import { count } from './books.js'
import type { Walk } from './ledger-walk.js'
import type { NodeLives } from './node-lives.js'
import { type Place, placeIn } from './violation.js'

/** One connection, from its opening in the ledger. */
export interface Line {
  readonly userId: string
  readonly deviceId: string
  readonly nodeId: string
  readonly nodeEpoch: number
  readonly openedAtMs: number
  readonly opened: Place
  /** What the ledger tells of it so far. */
  readonly counts: LedgerCounts
}

/** How a connection ended, the first time that the ledger says so. */
export interface Ended {
  readonly atMs: number
  readonly code: string
  readonly place: Place
  /** It is in the stream `connections`. */
  recorded: boolean
}

/** Closed connections remembered in a partition, to tell a repeat of an end from one that never began. */
export const endedMax = 1 << 16
/** How long those who watch nodes may take to close what an ended one has left, ms. */
const closingMs = 60_000
/** A process may open connections for as long after its successor has begun, and before its start is in `nodes`. */
const replacedMs = 60_000
/** By how much the clocks of two nodes may differ, ms. */
export const clocksMs = 60_000

/** The connections of one ledger partition: each opens once and closes once, or is open on a node that lives. */
export class Lines {
  readonly #open = new Map<string, Line>()
  readonly #ended = new Map<string, Ended>()
  /** By node: its newest epoch, and when it first showed. */
  readonly #epochs = new Map<string, { epoch: number, sinceMs: number }>()

  constructor (readonly walk: Walk, readonly lives: NodeLives) {}

  isOpen (connectionId: string): boolean { return this.#open.has(connectionId) }
  ended (connectionId: string): Ended | undefined { return this.#ended.get(connectionId) }
  get open (): number { return this.#open.size }

  /** Before the fold: it forgets closed connections, and those that never opened it takes as closed. */
  opened ({ userId, atMs }: Entry, fact: ConnectionOpened, place: Place): void {
    const { connectionId, nodeId, nodeEpoch, deviceId } = fact
    if (this.#ended.has(connectionId)) return // a repeat, late
    const known = this.#open.get(connectionId)
    if (known) {
      if (known.openedAtMs === atMs && known.userId === userId && known.deviceId === deviceId) return
      this.walk.report(place, 'opened-twice', `Connection ${connectionId} opened twice, for user ${known.userId} and ${userId}.`,
        [placeIn(ledger, known.opened), placeIn(ledger, place)])
      return
    }
    const counts = new LedgerCounts()
    counts.add(fact)
    this.#open.set(connectionId, { userId, deviceId, nodeId, nodeEpoch, openedAtMs: atMs, opened: place, counts })
    if (this.walk.inRange(place)) this.walk.books.connections.opened++
    this.#checkEpoch(fact, atMs, place)
  }

  /** @returns the connection, where this is the end of one that was open */
  closed ({ userId, atMs }: Entry, fact: ConnectionClosed, place: Place): Line | undefined {
    const { connectionId, code } = fact
    const { books } = this.walk
    const counts = this.walk.inRange(place)
    const earlier = this.#ended.get(connectionId)
    if (earlier) {
      // Whoever takes a node for lost closes its connections, and a node that only slept closes them once more.
      const same = (earlier.code === code && earlier.atMs === atMs) || earlier.code === 'node-lost' || code === 'node-lost'
      if (counts) books.connections.closedAgain++
      if (same) return undefined
      this.walk.report(place, 'closed-twice',
        `Connection ${connectionId} of user ${userId} closed with ${earlier.code}, and again with ${code}.`,
        [placeIn(ledger, earlier.place), placeIn(ledger, place)])
      return undefined
    }
    const line = this.#open.get(connectionId)
    this.#open.delete(connectionId)
    this.#remember(connectionId, { atMs, code, place, recorded: false })
    if (line) {
      if (counts) count(books.connections.closed, code)
      if (code === 'node-lost') this.#checkLost(line, fact, atMs, place)
      return line
    }
    if (wasNeverOpen(fact)) {
      if (counts) books.connections.unopened++
    } else if (!this.walk.cut) {
      this.walk.report(place, 'closed-unopened', `Connection ${connectionId} of user ${userId} closed, and never opened.`,
        [placeIn(ledger, place)])
    } else if (counts) {
      books.unjudged.ends++
    }
    return undefined
  }

  /** A fact of a connection while it is open. */
  add (connectionId: string, fact: Entry['fact']): void { this.#open.get(connectionId)?.counts.add(fact) }

  /** A fact of a connection that its user's state does not hold. It may have closed long ago. */
  used ({ userId, fact }: Entry, connectionId: string, place: Place): void {
    if (this.walk.cut || this.#ended.has(connectionId)) return
    if (this.#open.get(connectionId)?.userId === userId) return
    this.walk.report(place, 'connection-unknown',
      `${fact.type} is of connection ${connectionId}, which user ${userId} never opened.`, [placeIn(ledger, place)])
  }

  /**
   * Judges what is open where the range ends.
   *
   * @param nowMs time of that end
   * @param readAtMs when the stream `nodes` was read
   */
  finish (nowMs: number, readAtMs: number): void {
    const { connections } = this.walk.books
    for (const [connectionId, { userId, nodeId, nodeEpoch, opened }] of this.#open) {
      const endedAtMs = this.lives.endOf(nodeId, nodeEpoch)
      const positions = [placeIn(ledger, opened)]
      const which = `Connection ${connectionId} of user ${userId} is open on node ${nodeId}`
      // A node's first connections may be there before it is.
      const isNew = endedAtMs === undefined && nodeEpoch > readAtMs - replacedMs
      if (endedAtMs === Infinity || isNew) connections.open++
      else if (endedAtMs !== undefined && nowMs - endedAtMs < closingMs) connections.closing++
      else if (endedAtMs !== undefined) {
        this.walk.report(undefined, 'open-on-dead-node', `${which}, whose epoch ${nodeEpoch} has ended.`, positions)
      } else {
        this.walk.report(undefined, 'open-on-unknown-node', `${which}, which the stream nodes does not know.`, positions)
      }
    }
  }

  #remember (connectionId: string, ended: Ended): void {
    this.#ended.set(connectionId, ended)
    if (this.#ended.size > endedMax) this.#ended.delete(this.#ended.keys().next().value!)
  }

  /**
   * Whoever closes connections in a node's place knows that it has ended. The stream `nodes` may learn of that late,
   * where it is the next start that tells; but the node must have told nothing more in that epoch.
   */
  #checkLost ({ userId, nodeId, nodeEpoch, opened }: Line, fact: ConnectionClosed, atMs: number, place: Place): void {
    const lastWordAtMs = this.lives.lastWordOf(nodeId, nodeEpoch)
    if (lastWordAtMs === undefined || lastWordAtMs - atMs <= clocksMs) return
    this.walk.report(place, 'lost-on-living-node', `Connection ${fact.connectionId} of user ${userId} was closed for the ` +
      `end of node ${nodeId}, whose epoch ${nodeEpoch} went on for ${lastWordAtMs - atMs} ms.`,
    [placeIn(ledger, opened), placeIn(ledger, place)])
  }

  #checkEpoch ({ nodeId, nodeEpoch, connectionId }: ConnectionOpened, atMs: number, place: Place): void {
    const newest = this.#epochs.get(nodeId)
    if (!newest || nodeEpoch > newest.epoch) {
      this.#epochs.set(nodeId, { epoch: nodeEpoch, sinceMs: atMs })
    } else if (nodeEpoch < newest.epoch && atMs - newest.sinceMs > replacedMs) {
      this.walk.report(place, 'epoch-went-back',
        `Connection ${connectionId} opened in epoch ${nodeEpoch} of node ${nodeId}, which had begun ${newest.epoch}.`,
        [placeIn(ledger, place)])
    }
  }
}

/** The ledger did not take its opening, and nobody was welcomed: an edge tells the end all the same, to be certain. */
function wasNeverOpen ({ told, writtenSeq, ackedSeq, uplinks }: ConnectionClosed): boolean {
  return !told && writtenSeq <= 0 && ackedSeq <= 0 && uplinks <= 0
}
