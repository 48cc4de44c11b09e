import type { Entry } from '../schemas/facts.js'
import { LinksAround } from './links-around.js'
import type { ConnectionMessage, Links } from './links.js'
import type { CloseConnection } from './user/effects.js'

/** A close that its edge has not confirmed is told again after as long, and given up after as long. */
const repeatMs = 1_000
/** One that may turn out to be wrong is told after as long, within which a node's next append is stored. */
const doubtfulMs = 500
const giveUpMs = 120_000
/** An edge of the version before can't read who asked for a close: from then on it is told without that. */
const anonymousMs = 3_500
/** Of those that wait for their edges, all fields counted: they are saved together, with the partition's checkpoint. */
const bytesMax = 1 << 20

interface Close {
  readonly message: CloseConnection
  readonly sinceMs: number
  /** When it was sent, or came where it is yet to be. */
  sentAtMs: number
  isSent: boolean
}

/**
 * The links of one partition's users, which lose no close: it is told again until the ledger says that the connection
 * has ended, by the next owner of the partition too. A lost one would leave the socket open, of a connection that gets
 * no downlinks any more.
 */
export class UnconfirmedCloses extends LinksAround {
  /** By connection id. */
  readonly #due = new Map<string, Close>()
  #bytes = 0
  #changed = false

  /** @param closes `all` of the owner before */
  constructor (links: Links, closes: readonly CloseConnection[]) {
    super(links)
    const nowMs = Date.now()
    for (const message of closes) this.#remember(message, nowMs, message.isDoubtful ? nowMs : 0)
  }

  /** How many are told again and again. */
  get size (): number { return this.#due.size }

  override toConnection (message: ConnectionMessage): void {
    if (message.type === 'closeConnection') this.#close(message)
    else super.toConnection(message)
  }

  /**
   * A connection that is closed a second time is told the first code and reason again. Where it has not been told yet,
   * it is only told earlier what takes the first close back.
   */
  #close (message: CloseConnection): void {
    const nowMs = Date.now()
    const due = this.#due.get(message.connectionId)
    if (due && !due.isSent) {
      if (message.code !== 'internal') return
      this.#forget(message.connectionId)
    } else if (due) {
      due.sentAtMs = nowMs
      super.toConnection(due.message)
      return
    }
    const isKept = this.#bytes + bytesOf(message) <= bytesMax
    if (isKept) {
      this.#remember(message, nowMs, nowMs)
      this.#changed = true
    }
    if (!isKept || !message.isDoubtful) super.toConnection(message)
  }

  #remember (message: CloseConnection, sinceMs: number, sentAtMs: number): void {
    this.#due.set(message.connectionId, { message, sinceMs, sentAtMs, isSent: !message.isDoubtful })
    this.#bytes += bytesOf(message)
  }

  #forget (connectionId: string): void {
    const close = this.#due.get(connectionId)
    if (!close) return
    this.#due.delete(connectionId)
    this.#bytes -= bytesOf(close.message)
    this.#changed = true
  }

  /** Forgets the closes of connections that have ended, as these entries of the ledger say. */
  received (entries: readonly Entry[]): void {
    if (this.#due.size === 0) return
    for (const { fact } of entries) {
      if (fact.type === 'ConnectionClosed') this.#forget(fact.connectionId)
    }
  }

  /** Tells those again that are due. None is told for ever: the ledger ends the connections of a node that is gone. */
  repeat (nowMs: number): void {
    for (const [connectionId, close] of this.#due) {
      if (nowMs - close.sinceMs > giveUpMs) this.#forget(connectionId)
      else if (nowMs - close.sentAtMs >= (close.isSent ? repeatMs : doubtfulMs)) {
        close.sentAtMs = nowMs
        close.isSent = true
        super.toConnection(nowMs - close.sinceMs < anonymousMs ? close.message : { ...close.message, by: '' })
      }
    }
  }

  /** The closes that are still to be told, for the next owner. */
  get all (): CloseConnection[] { return Array.from(this.#due.values(), ({ message }) => message) }

  /** Whether `all` has changed since the last call. */
  takeChanged (): boolean {
    const changed = this.#changed
    this.#changed = false
    return changed
  }
}

/** In memory, and more than it takes where it is saved. */
function bytesOf ({ nodeId, connectionId, reason, by }: CloseConnection): number {
  return 128 + nodeId.length + 2 * connectionId.length + reason.length + by.length
}
