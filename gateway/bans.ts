import type { Links, LocalEnds } from '../actors/links.js'
import { bansMax, isInForce, type Ban } from '../actors/user/bans.js'
import { type EventLog, formatPosition } from '../ledger/log.js'
import { userInWords } from '../schemas/apps.js'
import { GatewayError } from '../schemas/errors.js'
import type { BanLifted, Fact, UserBanned } from '../schemas/facts.js'
import { partitionOf } from '../schemas/partitioning.js'
import { ledger } from '../schemas/streams.js'
import { Questions } from './questions.js'

export interface BansDeps {
  readonly log: EventLog
  readonly links: Links & Pick<LocalEnds, 'bansKnown'>
  readonly nodeId: string
  /** How long an answer is waited for; below the deadline of a look-up over HTTP. */
  readonly answerMs?: number
}

/** Whom to keep out: the user, or one of his devices, or one of his tokens. It is what his ledger is told. */
export interface BanCommand extends Omit<UserBanned, 'type'> {
  /** The user's key. */
  readonly userId: string
}

/** Of the ban that stands, which is the first one with its id. */
export interface BanAnswer extends Omit<BanCommand, 'reason' | 'by'> {
  /** Where it is in the ledger, `3@1021.4`; undefined where it was there before. */
  readonly position: string | undefined
}

export interface LiftCommand extends Omit<BanLifted, 'type'> {
  /** The user's key. */
  readonly userId: string
}

/**
 * Writes bans into users' ledgers, and asks user actors for those that there are: the ledger keeps its entries for
 * some days, and the state that is made of them keeps a ban until it is over.
 */
export class BanRequests {
  readonly #deps: BansDeps
  readonly #partitions: number
  readonly #questions: Questions<readonly Ban[]>

  constructor (deps: BansDeps) {
    this.#deps = deps
    this.#partitions = deps.log.partitions(ledger)
    this.#questions = new Questions('user', deps.answerMs)
    deps.links.bansKnown = ({ askId, bans }) => { this.#questions.answered(askId, bans) }
  }

  /**
   * Resolves once it is durable. Where nobody says which bans there are, it is written all the same.
   *
   * @throws GatewayError `bad-request` where the user has as many as are kept; `ledger-unavailable`
   */
  async ban (command: BanCommand): Promise<BanAnswer> {
    const { userId, reason, by, ...fact } = command
    const bans = await this.#ofUser(userId).catch(() => [])
    const known = bans.find(({ banId }) => banId === command.banId)
    if (known) {
      const { banId, deviceId, tokenId, untilMs } = known
      return { userId, banId, deviceId, tokenId, untilMs, position: undefined }
    }
    if (bans.filter(ban => isInForce(ban, Date.now())).length >= bansMax) {
      throw new GatewayError('bad-request', `user ${userInWords(userId)} has ${bansMax} bans: lift some, or ban the user, first`)
    }
    return { userId, ...fact, position: await this.#append(userId, { type: 'UserBanned', ...fact, reason, by }) }
  }

  /**
   * Resolves once that is durable.
   *
   * @throws GatewayError `not-found` where the user has no such ban; `ledger-unavailable`
   */
  async lift ({ userId, banId, reason, by }: LiftCommand): Promise<void> {
    const bans = await this.#ofUser(userId).catch(() => undefined)
    if (bans && !bans.some(ban => ban.banId === banId)) {
      throw new GatewayError('not-found', `user ${userInWords(userId)} has no ban ${banId}`)
    }
    await this.#append(userId, { type: 'BanLifted', banId, reason, by })
  }

  /**
   * Those that are in force, oldest first.
   *
   * @throws GatewayError `not-ready` where the owner of the user does not say so in time
   */
  async of (userId: string): Promise<readonly Ban[]> {
    const nowMs = Date.now()
    return (await this.#ofUser(userId)).filter(ban => isInForce(ban, nowMs))
  }

  #ofUser (userId: string): Promise<readonly Ban[]> {
    const { log, links, nodeId } = this.#deps
    const partition = partitionOf(userId, this.#partitions)
    return this.#questions.ask(async askId => {
      const { next: asOf } = await log.bounds(ledger, partition)
      links.toUser({ type: 'askBans', userId, partition, nodeId, askId, asOf })
    })
  }

  async #append (userId: string, fact: Fact): Promise<string> {
    const partition = partitionOf(userId, this.#partitions)
    const { offset, index } = await this.#deps.log.append(ledger, partition, [{ userId, atMs: Date.now(), fact }])
    return formatPosition({ partition, offset, index })
  }
}
