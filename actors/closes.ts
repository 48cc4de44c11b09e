import type { Entry } from '../schemas/facts.js'
import type { ConnectionMessage, Links, Resync } from './links.js'
import type { CloseConnection } from './user/effects.js'

/** A close that its edge has not confirmed is told again after as long, and given up after as long. */
const repeatMs = 1_000
const giveUpMs = 120_000
const closesMax = 10_000

interface Close { readonly message: CloseConnection, readonly sinceMs: number, sentAtMs: number }

/**
 * The links of one partition's users, which lose no close: it is told again until the ledger says that the connection
 * has ended. A lost one would leave the socket open.
 */
export class Closes implements Links {
  readonly #links: Links
  /** By connection id. */
  readonly #due = new Map<string, Close>()

  constructor (links: Links) {
    this.#links = links
  }

  toConnection (message: ConnectionMessage): void {
    if (message.type === 'closeConnection' && this.#due.size < closesMax) {
      const nowMs = Date.now()
      this.#due.set(message.connectionId, { message, sinceMs: nowMs, sentAtMs: nowMs })
    }
    this.#links.toConnection(message)
  }

  toUser (question: Resync): void {
    this.#links.toUser(question)
  }

  /** What the ledger says now: some connections may have ended. */
  received (entries: readonly Entry[]): void {
    if (this.#due.size === 0) return
    for (const { fact } of entries) if (fact.type === 'ConnectionClosed') this.#due.delete(fact.connectionId)
  }

  /** A node that is gone has its connections closed in the ledger, so no close is told for ever. */
  repeat (nowMs: number): void {
    for (const [connectionId, close] of this.#due) {
      if (nowMs - close.sinceMs > giveUpMs) this.#due.delete(connectionId)
      else if (nowMs - close.sentAtMs >= repeatMs) {
        close.sentAtMs = nowMs
        this.#links.toConnection(close.message)
      }
    }
  }
}
