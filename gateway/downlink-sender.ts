import { commandBytes } from '../ledger/rejected.js'
import type { EventLog } from '../ledger/log.js'
import { isAppName, userIdOf, userKey } from '../schemas/apps.js'
import type { Health } from '../schemas/conditions.js'
import { GatewayError } from '../schemas/errors.js'
import type { DownlinkCommand, DownlinkRecord } from '../schemas/records.js'
import { downlinksRejected } from '../schemas/streams.js'
import { refusalOf } from './downlink-command.js'
import type { PushAnswer, PushedUser } from './push.js'
import type { PostCommand } from './rooms.js'

export interface DownlinkSenderDeps {
  readonly log: EventLog
  push (command: DownlinkCommand): Promise<PushAnswer>
  /**
   * Durable requests of one user, in order.
   *
   * @returns how many of them are stored
   * @throws GatewayError where not one is: `payload-too-large`, which the first will always be; others, which may pass
   */
  pushInOrder (commands: readonly DownlinkCommand[]): Promise<number>
  /**
   * Durable posts in one room, or one signal to it, in order.
   *
   * @returns how many of them are stored
   * @throws GatewayError where not one is: `room-closed` and `payload-too-large`, which the first will always be;
   *   others, which may pass
   */
  postInOrder (commands: readonly PostCommand[]): Promise<number>
  /** Whether there is such an app; the default one has no name. */
  hasApp (app: string): boolean
  readonly frameBytesMax: number
  readonly health: Health
}

const retryMsMin = 100
const retryMsMax = 5_000
/** Of a command that is set aside where a record has no room for all of it. */
const evidenceBytesMax = 8 << 10

function isForGood ({ code }: GatewayError): boolean { return code === 'room-closed' || code === 'payload-too-large' }

/** A command and where it stands in its stream, `3@1021`. */
export interface PlacedCommand { readonly command: DownlinkRecord, readonly position: string }

/** Sends commands, or sets aside those that can never be sent. */
export class DownlinkSender {
  #ended = false

  constructor (readonly deps: DownlinkSenderDeps) {}

  /** What is not stored by now is the next one's to send. */
  end (): void { this.#ended = true }

  /**
   * Resolves once all are stored or set aside, or it has ended; never rejects.
   *
   * @param placed in order: one, or several that are for one and the same user, or room
   */
  async send (placed: readonly PlacedCommand[]): Promise<void> {
    const { health } = this.deps
    const { position } = placed[0]!
    const left = placed.map(({ command }) => command)
    for (let waitMs = retryMsMin; !this.#ended; waitMs = Math.min(2 * waitMs, retryMsMax)) {
      try {
        while (left.length > 0) await this.#sendFirst(left)
        break
      } catch (err) {
        health.begin('downlinks', (err as Error).message, position)
      }
      await new Promise(resolve => setTimeout(resolve, waitMs))
    }
    health.end('downlinks', position)
  }

  /** Takes the first out of `left`, and those behind it that could go with it. @throws why the first is still there */
  async #sendFirst (left: DownlinkRecord[]): Promise<void> {
    const first = left[0]!
    const { roomId, userIds, delivery } = first
    const refusal = this.#refusalOf(first)
    if (refusal) {
      await this.#reject(first, refusal)
      left.shift()
    } else if (roomId !== '' || (userIds.length === 1 && delivery === 'durable')) {
      left.splice(0, await this.#inOrder(this.#runOf(left)))
    } else {
      const notStored = await this.#notStored(first)
      if (notStored.length > 0) {
        left[0] = { ...first, userIds: notStored }
        throw new Error('the ledger did not take the request of each user')
      }
      left.shift()
    }
  }

  #refusalOf (command: DownlinkRecord): GatewayError | undefined {
    const { hasApp, frameBytesMax } = this.deps
    return refusalOf(command, frameBytesMax) ??
      (hasApp(command.app) ? undefined : new GatewayError('bad-request', 'app: want one of LEDGERLINE_APPS'))
  }

  /** The first and what is behind it, as far as one append can have it. */
  #runOf (left: readonly DownlinkRecord[]): readonly DownlinkRecord[] {
    if (left[0]!.delivery === 'signal') return left.slice(0, 1)
    const end = left.findIndex((command, i) =>
      i > 0 && (command.delivery === 'signal' || this.#refusalOf(command) !== undefined))
    return end < 0 ? left : left.slice(0, end)
  }

  /**
   * A room that is closed stays so, and what is too large never gets smaller: such a first one is set aside.
   *
   * @returns how many are stored or set aside
   */
  async #inOrder (run: readonly DownlinkRecord[]): Promise<number> {
    const first = run[0]!
    try {
      return first.roomId === '' ? await this.deps.pushInOrder(run) : await this.deps.postInOrder(run.map(postOf))
    } catch (err) {
      if (!(err instanceof GatewayError && isForGood(err))) throw err
      await this.#reject(first, err)
      return 1
    }
  }

  /**
   * Those that are too large for the ledger never get smaller: they are set aside. Whose request is stored is not asked
   * for again.
   *
   * @returns users whose request could not be stored yet
   */
  async #notStored (command: DownlinkRecord): Promise<string[]> {
    const users = await this.#pushed(command)
    const tooLarge = users.filter(({ code }) => code === 'payload-too-large').map(({ userId }) => userId)
    if (tooLarge.length > 0) {
      const error = new GatewayError('payload-too-large', 'no block of the ledger has room for it')
      await this.#reject({ ...command, userIds: tooLarge }, error)
    }
    return users.filter(({ status, code }) => status === 'rejected' && code !== 'payload-too-large')
      .map(({ userId }) => userId)
  }

  async #pushed (command: DownlinkRecord): Promise<readonly PushedUser[]> {
    try {
      return (await this.deps.push(command)).users
    } catch (err) {
      if (!(err instanceof GatewayError && err.code === 'payload-too-large')) throw err
      return command.userIds.map(userId => ({ userId, status: 'rejected', code: err.code }))
    }
  }

  async #reject (command: DownlinkRecord, { code, message }: GatewayError): Promise<void> {
    const { log } = this.deps
    const { app, userIds: [first = ''] } = command
    const record = {
      // An id with the separator in it would name a user of another app.
      userId: userIdOf(first) === first ? userKey(isAppName(app) ? app : '', first) : '',
      command: commandBytes(command),
      code,
      reason: message,
      rejectedAtMs: Date.now(),
    }
    try {
      await log.append(downlinksRejected, 0, [record], { reserved: true })
    } catch (err) {
      // The stream has no room for all of it either: then for what tells which one it was.
      if (!(err instanceof GatewayError && err.code === 'payload-too-large')) throw err
      const short = { ...record, command: record.command.subarray(0, evidenceBytesMax) }
      await log.append(downlinksRejected, 0, [short], { reserved: true })
    }
  }
}

function postOf (
  { app, roomId, messageId, service, payload, delivery, traceparent }: DownlinkRecord
): PostCommand {
  const trace = traceparent === undefined ? {} : { traceparent }
  return { roomId: userKey(app, roomId), messageId, service, payload, delivery, by: '', ...trace }
}
