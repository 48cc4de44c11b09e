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
  /** What its client had processed before. */
  readonly downlinkSeq: number
  /** A connection of the same epoch of its node was closed before, for the end of that. */
  readonly afterLost: Lost | undefined
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

/** The first connection that was closed for the end of an epoch of a node. */
interface Lost {
  readonly connectionId: string
  readonly line: Line
  readonly place: Place
  /** A connection that opened behind it, and shows that the process lived then. */
  used: { readonly connectionId: string, readonly place: Place } | undefined
}

/** A connection that opened in an epoch of a node behind one that had opened in a later epoch. */
interface Behind {
  readonly fact: ConnectionOpened
  readonly newest: number
  readonly place: Place
}

/** Closed connections remembered in a partition, to tell a repeat of an end from one that never began. */
export const endedMax = 1 << 16
/** How long those who watch nodes may take to close what an ended one has left, ms. */
const closingMs = 60_000
/** A process may open connections for as long before its start is in `nodes`. */
const startingMs = 60_000
/** Connections that opened in an epoch behind those of a later one, of a partition; more are not judged. */
const behindMax = 64

/** The connections of one ledger partition: each opens once and closes once, or is open on a node that lives. */
export class Lines {
  readonly #open = new Map<string, Line>()
  readonly #ended = new Map<string, Ended>()
  /** By node: the newest epoch that a connection has opened in. */
  readonly #epochs = new Map<string, number>()
  /** By node and epoch: the first connection that opened in it behind one of a later epoch. */
  readonly #behind = new Map<string, Behind>()
  /** By node and epoch. */
  readonly #lost = new Map<string, Lost>()

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
      this.walk.report(place, 'opened-twice', { userId },
        `Connection ${connectionId} opened twice, for user ${known.userId} and ${userId}.`,
        [placeIn(ledger, known.opened), placeIn(ledger, place)])
      return
    }
    const counts = new LedgerCounts()
    counts.add(fact)
    this.#open.set(connectionId, {
      userId,
      deviceId,
      nodeId,
      nodeEpoch,
      openedAtMs: atMs,
      opened: place,
      downlinkSeq: fact.downlinkSeq,
      afterLost: this.#lost.get(`${nodeId}/${nodeEpoch}`),
      counts,
    })
    if (this.walk.inRange(place)) this.walk.books.connections.opened++
    this.#checkEpoch(fact, place)
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
      this.walk.report(place, 'closed-twice', { userId },
        `Connection ${connectionId} of user ${userId} closed with ${earlier.code}, and again with ${code}.`,
        [placeIn(ledger, earlier.place), placeIn(ledger, place)])
      return undefined
    }
    const line = this.#open.get(connectionId)
    this.#open.delete(connectionId)
    this.#remember(connectionId, { atMs, code, place, recorded: false })
    if (line) {
      if (counts) count(books.connections.closed, code)
      if (code === 'node-lost') this.#closedForNode(connectionId, line, place)
      else if (fact.told || fact.ackedSeq > line.downlinkSeq) wasUsed(connectionId, line, place)
      return line
    }
    if (wasNeverOpen(fact)) {
      if (counts) books.connections.unopened++
    } else if (!this.walk.cut) {
      this.walk.report(place, 'closed-unopened', { userId },
        `Connection ${connectionId} of user ${userId} closed, and never opened.`,
        [placeIn(ledger, place)])
    } else if (counts) {
      books.unjudged.ends++
    }
    return undefined
  }

  /** A fact of a connection while it is open. */
  add (connectionId: string, fact: Entry['fact'], place: Place): void {
    const line = this.#open.get(connectionId)
    if (!line) return
    line.counts.add(fact)
    if (fact.type === 'DeliveryReported' && fact.ackedSeq > line.downlinkSeq) wasUsed(connectionId, line, place)
  }

  /** A fact of a connection that its user's state does not hold. It may have closed long ago. */
  used ({ userId, fact }: Entry, connectionId: string, place: Place): void {
    if (this.walk.cut || this.#ended.has(connectionId)) return
    if (this.#open.get(connectionId)?.userId === userId) return
    this.walk.report(place, 'connection-unknown', { userId },
      `${fact.type} is of connection ${connectionId}, which user ${userId} never opened.`, [placeIn(ledger, place)])
  }

  /**
   * Judges what is open where the range ends. What those who watch nodes had yet to close is told by the reports that
   * stand behind the end of the node, for they go on only while somebody is there who may close it; the clocks of two
   * nodes would tell nothing.
   *
   * @param isWhole the range ends where the ledger does: what it has behind the range is not known here
   * @param readAtMs when the stream `nodes` was read
   */
  finish (isWhole: boolean, readAtMs: number): void {
    const { connections } = this.walk.books
    for (const [connectionId, { userId, nodeId, nodeEpoch, opened }] of this.#open) {
      const end = this.lives.endOf(nodeId, nodeEpoch)
      const positions = [placeIn(ledger, opened)]
      const which = `Connection ${connectionId} of user ${userId} is open on node ${nodeId}`
      // A node's first connections may be there before it is.
      const isNew = end === undefined && nodeEpoch > readAtMs - startingMs
      if (end === 'living' || isNew) connections.open++
      else if (end === undefined) {
        this.walk.report(undefined, 'open-on-unknown-node', { userId },
          `${which}, which the stream nodes does not know.`, positions)
      } else if (!isWhole || end.agoMs < closingMs) connections.closing++
      else {
        this.walk.report(undefined, 'open-on-dead-node', { userId },
          `${which}, whose epoch ${nodeEpoch} has ended.`, positions)
      }
    }
  }

  /** Judges what goes by the stream `nodes` as it is by now. */
  async finishNodes (): Promise<void> {
    if (this.#lost.size === 0 && this.#behind.size === 0) return
    await this.lives.readOn()
    this.#finishLost()
    this.#finishBehind()
  }

  /**
   * Judges those who closed connections in a node's place: they know that it has ended, for `nodes` told them. No clock
   * says whether that is so, for two nodes have two of them; the order of the streams does. An end that they knew of
   * stands in `nodes` by now. And a connection that opened behind the one they closed was welcomed only once the ledger
   * had its opening: where its client then acked something, the process lived on. One that was declared lost may do
   * that, for it may have slept, and one that was replaced, for it looks once a second whether it is: the start of a
   * process that has ended may be stored behind its own.
   */
  #finishLost (): void {
    for (const { connectionId, line: { userId, nodeId, nodeEpoch, opened }, place, used } of this.#lost.values()) {
      const fate = this.lives.fateOf(nodeId, nodeEpoch)
      if (fate !== 'living' && (fate !== 'over' || !used)) continue
      const how = fate === 'living' ? 'has not ended' : `went on: connection ${used!.connectionId} opened in it and was in use`
      this.walk.report(place, 'lost-on-living-node', { userId },
        `Connection ${connectionId} of user ${userId} was closed for the ` +
        `end of node ${nodeId}, whose epoch ${nodeEpoch} ${how}.`,
        [opened, place, ...used ? [used.place] : []].map(each => placeIn(ledger, each)))
    }
  }

  /**
   * Judges epochs that went back. An append of a process that has ended may come behind those of its successor, and a
   * process goes on until it sees that it has one: both are of an epoch that `nodes` has as an earlier one. A process
   * that has begun in an earlier epoch than the one before it is not.
   */
  #finishBehind (): void {
    for (const { fact: { nodeId, nodeEpoch, connectionId }, newest, place } of this.#behind.values()) {
      if (!this.lives.neverHad(nodeId, nodeEpoch)) continue
      this.walk.report(place, 'epoch-went-back', { nodeId },
        `Connection ${connectionId} opened in epoch ${nodeEpoch} of node ${nodeId}, which had begun ${newest} and ` +
          'never told of that one.', [placeIn(ledger, place)])
    }
  }

  #remember (connectionId: string, ended: Ended): void {
    this.#ended.set(connectionId, ended)
    if (this.#ended.size > endedMax) this.#ended.delete(this.#ended.keys().next().value!)
  }

  #closedForNode (connectionId: string, line: Line, place: Place): void {
    const key = `${line.nodeId}/${line.nodeEpoch}`
    if (this.#lost.has(key) || !this.walk.inRange(place)) return
    this.#lost.set(key, { connectionId, line, place, used: undefined })
  }

  #checkEpoch (fact: ConnectionOpened, place: Place): void {
    const { nodeId, nodeEpoch } = fact
    const newest = this.#epochs.get(nodeId) ?? nodeEpoch
    this.#epochs.set(nodeId, Math.max(newest, nodeEpoch))
    const key = `${nodeId}/${nodeEpoch}`
    if (nodeEpoch >= newest || this.#behind.has(key) || this.#behind.size >= behindMax) return
    this.#behind.set(key, { fact, newest, place })
  }
}

/** The client of the connection has read its `connected`. */
function wasUsed (connectionId: string, { afterLost }: Line, place: Place): void {
  if (afterLost) afterLost.used ??= { connectionId, place }
}

/** The ledger did not take its opening, and nobody was welcomed: an edge tells the end all the same, to be certain. */
function wasNeverOpen ({ told, writtenSeq, ackedSeq, uplinks }: ConnectionClosed): boolean {
  return !told && writtenSeq <= 0 && ackedSeq <= 0 && uplinks <= 0
}
