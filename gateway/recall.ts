import { createHash } from 'node:crypto'
import type { Links, LocalEnds } from '../actors/links.js'
import type { RecallOutcome } from '../actors/user/recall.js'
import { type EventLog, formatPosition, parsePosition } from '../ledger/log.js'
import { appOf, userKey } from '../schemas/apps.js'
import type { DownlinkRecalled } from '../schemas/facts.js'
import { partitionOf } from '../schemas/partitioning.js'
import type { DownlinkCommand } from '../schemas/records.js'
import { ledger } from '../schemas/streams.js'
import { ttlMsDefault } from './downlink-command.js'
import type { PushAnswer, PushedUser } from './push.js'
import { Questions } from './questions.js'

/** Which downlink is to be taken back. */
export interface RecallCommand extends Pick<DownlinkRecalled, 'messageId' | 'requestId' | 'by' | 'reason'> {
  /** The user's key. */
  readonly userId: string
  /** Devices that may have it are told. */
  readonly notify: boolean
}

export interface RecallAnswer {
  /** Where it stands in the ledger, `3@1021.4`. */
  readonly position: string
  /** `unknown` also where the user's owner does not say so in time. */
  readonly status: RecallOutcome
  /** Id of the downlink that tells devices; absent where none are told. */
  readonly noticeId?: string
}

export interface RecallsDeps {
  readonly log: EventLog
  readonly links: Links & Pick<LocalEnds, 'recalledKnown'>
  readonly nodeId: string
  /** Bytes that an outbox in it may have. */
  outboxBytesMax (app: string): number
  /** The stream `receipts` is written. */
  readonly receipts: boolean
  /** How long an answer is waited for. */
  readonly answerMs?: number
}

/** Takes downlinks back, and asks the owners of their users what has become of them. */
export class Recalls {
  readonly #deps: RecallsDeps
  readonly #partitions: number
  readonly #questions: Questions<RecallOutcome>

  constructor (deps: RecallsDeps) {
    this.#deps = deps
    this.#partitions = deps.log.partitions(ledger)
    this.#questions = new Questions('user', deps.answerMs)
    deps.links.recalledKnown = ({ askId, outcome }) => { this.#questions.answered(askId, outcome) }
  }

  /**
   * Resolves once it is durable, and the user's actor has taken out what waits without a number.
   *
   * @throws GatewayError `ledger-unavailable`
   */
  async recall ({ userId, notify, ...asked }: RecallCommand): Promise<RecallAnswer> {
    const { log, outboxBytesMax, receipts } = this.#deps
    const noticeId = notify ? noticeIdOf(asked.requestId, asked.messageId) : ''
    const fact: DownlinkRecalled = {
      type: 'DownlinkRecalled',
      ...asked,
      noticeId,
      noticeTtlMs: ttlMsDefault,
      outboxBytesMax: outboxBytesMax(appOf(userId)),
      receipts,
    }
    const partition = partitionOf(userId, this.#partitions)
    const { offset, index } = await log.append(ledger, partition, [{ userId, atMs: Date.now(), fact }])
    const status = await this.#outcome(userId, asked.messageId, offset + 1n)
    const position = formatPosition({ partition, offset, index })
    return notify ? { position, status, noticeId } : { position, status }
  }

  /** Adds to the answer to a command with `replaces` what has become of the one that is replaced. */
  async told ({ app, replaces }: DownlinkCommand, { messageId, users }: PushAnswer): Promise<PushAnswer> {
    return {
      messageId,
      users: await Promise.all(users.map(async (user): Promise<PushedUser> => {
        const { status, position } = user
        if (status !== 'queued' && status !== 'duplicate') return user
        // Whoever said that it is a duplicate has folded the first one.
        const asOf = position === undefined ? 0n : parsePosition(position).offset + 1n
        return { ...user, replaced: await this.#outcome(userKey(app, user.userId), replaces, asOf) }
      })),
    }
  }

  async #outcome (userId: string, messageId: string, asOf: bigint): Promise<RecallOutcome> {
    const { links, nodeId } = this.#deps
    const partition = partitionOf(userId, this.#partitions)
    try {
      return await this.#questions.ask(askId => {
        links.toUser({ type: 'askRecalled', userId, partition, nodeId, askId, messageId, asOf })
      })
    } catch {
      return 'unknown' // the owner is moving
    }
  }
}

/** The same for a repeat: clients drop a message that they have processed. */
function noticeIdOf (requestId: string, messageId: string): string {
  const digest = createHash('sha256').update(`${requestId.length}/${requestId}${messageId}`).digest('base64url')
  return `recall/${digest.slice(0, 22)}`
}
