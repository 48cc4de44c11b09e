import type { Links, LocalEnds } from '../actors/links.js'
import { type Membership, membershipsMax } from '../actors/user/memberships.js'
import { type EventLog, formatPosition } from '../ledger/log.js'
import { userInWords } from '../schemas/apps.js'
import { GatewayError } from '../schemas/errors.js'
import type { Fact, RoomGranted, RoomRevoked } from '../schemas/facts.js'
import { partitionOf } from '../schemas/partitioning.js'
import { ledger } from '../schemas/streams.js'
import { Questions } from './questions.js'

export interface MembershipsDeps {
  readonly log: EventLog
  readonly links: Links & Pick<LocalEnds, 'membershipsKnown'>
  readonly nodeId: string
  /** How long an answer is waited for; below the deadline of a look-up over HTTP. */
  readonly answerMs?: number
}

/** Whom business wants in which room. It is what his ledger is told. */
export interface GrantCommand extends Omit<RoomGranted, 'type'> {
  /** The user's key. */
  readonly userId: string
}

export interface GrantAnswer extends Omit<GrantCommand, 'by' | 'requestId'> {
  /** Where it is in the ledger, `3@1021.4`; undefined where he had these rights before. */
  readonly position: string | undefined
}

export interface RevokeCommand extends Omit<RoomRevoked, 'type'> {
  /** The user's key. */
  readonly userId: string
}

/**
 * Writes into users' ledgers in which rooms business has them, and asks user actors for the rooms that there are: the
 * ledger keeps its entries for some days, and the state that is made of them keeps a room until it is revoked.
 */
export class MembershipRequests {
  readonly #deps: MembershipsDeps
  readonly #partitions: number
  readonly #questions: Questions<readonly Membership[]>

  constructor (deps: MembershipsDeps) {
    this.#deps = deps
    this.#partitions = deps.log.partitions(ledger)
    this.#questions = new Questions('user', deps.answerMs)
    deps.links.membershipsKnown = ({ askId, rooms }) => { this.#questions.answered(askId, rooms) }
  }

  /**
   * Resolves once it is durable. Where nobody says which rooms there are, it is written all the same.
   *
   * @throws GatewayError `bad-request` where the user has as many as are kept; `ledger-unavailable`
   */
  async grant ({ userId, roomId, rights, ...asked }: GrantCommand): Promise<GrantAnswer> {
    const rooms = await this.of(userId).catch(() => [])
    const known = rooms.find(room => room.roomId === roomId)
    if (known?.rights === rights) return { userId, roomId, rights, position: undefined }
    if (!known && rooms.length >= membershipsMax) {
      throw new GatewayError('bad-request', `user ${userInWords(userId)} is in ${membershipsMax} rooms: take him out of some first`)
    }
    return { userId, roomId, rights, position: await this.#append(userId, { type: 'RoomGranted', roomId, rights, ...asked }) }
  }

  /**
   * Resolves once that is durable.
   *
   * @throws GatewayError `not-found` where business does not have the user in that room; `ledger-unavailable`
   */
  async revoke ({ userId, roomId, ...asked }: RevokeCommand): Promise<void> {
    const rooms = await this.of(userId).catch(() => undefined)
    if (rooms && !rooms.some(room => room.roomId === roomId)) {
      throw new GatewayError('not-found', `nobody has put the user ${userInWords(userId)} into the room ${roomId}`)
    }
    await this.#append(userId, { type: 'RoomRevoked', roomId, ...asked })
  }

  /**
   * The one granted first comes first.
   *
   * @throws GatewayError `not-ready` where the owner of the user does not say so in time
   */
  of (userId: string): Promise<readonly Membership[]> {
    const { log, links, nodeId } = this.#deps
    const partition = partitionOf(userId, this.#partitions)
    return this.#questions.ask(async askId => {
      const { next: asOf } = await log.bounds(ledger, partition)
      links.toUser({ type: 'askMemberships', userId, partition, nodeId, askId, asOf })
    })
  }

  async #append (userId: string, fact: Fact): Promise<string> {
    const partition = partitionOf(userId, this.#partitions)
    const { offset, index } = await this.#deps.log.append(ledger, partition, [{ userId, atMs: Date.now(), fact }])
    return formatPosition({ partition, offset, index })
  }
}
