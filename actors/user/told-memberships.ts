import type { Entry } from '../../schemas/facts.js'
import { LinksAround } from '../links-around.js'
import type { ConnectionMessage, MembershipsTold } from '../links.js'
import { ToldAgain } from './told-again.js'

/** What may be lost is told again so long after it was told first. */
const repeatAfterMs = [1_000, 5_000, 30_000]
/** Of what is told again, all fields counted: about 2,000 connections whose users are in one room. */
const bytesMax = 1 << 20

interface Told {
  readonly message: MembershipsTold
  readonly bytes: number
  readonly sinceMs: number
  /** How often it has been told again. */
  times: number
}

/**
 * The links of one partition's users, which repeat in which rooms business has a user. An edge can not know that it
 * missed that: its connection would read and post on in a room that was taken from its user, and be refused in one that
 * was given to him. One that is told twice knows it by the version. What has not arrived after the last time, the next
 * change tells, or a new connection.
 */
export class ToldMemberships extends LinksAround {
  readonly #told = new ToldAgain<Told>(bytesMax)

  /** How many are told again. */
  get size (): number { return this.#told.size }

  override toConnection (message: ConnectionMessage): void {
    if (message.type === 'memberships' && this.mayLose(message.nodeId)) this.#remember(message)
    super.toConnection(message)
  }

  #remember (message: MembershipsTold): void {
    const { connectionId, version } = message
    if (this.#told.get(connectionId)?.message.version === version) return
    this.#told.remember(connectionId, { message, bytes: bytesOf(message), sinceMs: Date.now(), times: 0 })
  }

  /** Forgets connections that have ended, as these entries of the ledger say. */
  received (entries: readonly Entry[]): void {
    if (this.#told.size === 0) return
    for (const { fact } of entries) {
      if (fact.type === 'ConnectionClosed') this.#told.forget(fact.connectionId)
    }
  }

  /** Tells those again that are due. */
  repeat (nowMs: number): void {
    for (const told of this.#told.values()) {
      if (nowMs - told.sinceMs < repeatAfterMs[told.times]!) continue
      super.toConnection(told.message)
      if (++told.times === repeatAfterMs.length) this.#told.forget(told.message.connectionId)
    }
  }
}

/** In memory. */
function bytesOf ({ nodeId, connectionId, rooms }: MembershipsTold): number {
  let bytes = 256 + 2 * (nodeId.length + connectionId.length)
  for (const { roomId } of rooms) bytes += 64 + 2 * roomId.length
  return bytes
}
