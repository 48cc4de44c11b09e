import type { Entry } from '../../schemas/facts.js'
import { LinksAround } from '../links-around.js'
import type { ConnectionMessage, MembershipsTold } from '../links.js'

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
  /** By connection id, what was told last at the end. */
  readonly #told = new Map<string, Told>()
  #bytes = 0

  /** How many are told again. */
  get size (): number { return this.#told.size }

  override toConnection (message: ConnectionMessage): void {
    if (message.type === 'memberships' && this.mayLose(message.nodeId)) this.#remember(message)
    super.toConnection(message)
  }

  /** Past the bound those that were told longest ago are told no more: of all they are likeliest to have arrived. */
  #remember (message: MembershipsTold): void {
    const { connectionId, version } = message
    if (this.#told.get(connectionId)?.message.version === version) return
    this.#forget(connectionId)
    const bytes = bytesOf(message)
    this.#told.set(connectionId, { message, bytes, sinceMs: Date.now(), times: 0 })
    this.#bytes += bytes
    for (const oldest of this.#told.keys()) {
      if (this.#bytes <= bytesMax) break
      this.#forget(oldest)
    }
  }

  #forget (connectionId: string): void {
    const told = this.#told.get(connectionId)
    if (!told) return
    this.#told.delete(connectionId)
    this.#bytes -= told.bytes
  }

  /** Forgets connections that have ended, as these entries of the ledger say. */
  received (entries: readonly Entry[]): void {
    if (this.#told.size === 0) return
    for (const { fact } of entries) {
      if (fact.type === 'ConnectionClosed') this.#forget(fact.connectionId)
    }
  }

  /** Tells those again that are due. */
  repeat (nowMs: number): void {
    for (const [connectionId, told] of this.#told) {
      if (nowMs - told.sinceMs < repeatAfterMs[told.times]!) continue
      super.toConnection(told.message)
      if (++told.times === repeatAfterMs.length) this.#forget(connectionId)
    }
  }
}

/** In memory. */
function bytesOf ({ nodeId, connectionId, rooms }: MembershipsTold): number {
  let bytes = 256 + 2 * (nodeId.length + connectionId.length)
  for (const { roomId } of rooms) bytes += 64 + 2 * roomId.length
  return bytes
}
