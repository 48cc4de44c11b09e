import { EncodeError } from '../ledger/encode-error.js'
import type { EventLog } from '../ledger/log.js'
import { isForGood } from '../ledger/pieces.js'
import { commandBytes } from '../ledger/rejected.js'
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
   * @throws where not one is. `isForGood` tells whether the first one is never stored; any other error may pass
   */
  pushInOrder (commands: readonly DownlinkCommand[]): Promise<number>
  /**
   * Durable posts in one room, or one signal to it, in order.
   *
   * @returns how many of them are stored
   * @throws as `pushInOrder`, and GatewayError `room-closed`, which is for good, too
   */
  postInOrder (commands: readonly PostCommand[]): Promise<number>
  /** Whether there is such an app; the default one has no name. */
  hasApp (app: string): boolean
  readonly frameBytesMax: number
  readonly health: Health
  /** A command was set aside, with this code. */
  rejected (code: string): void
}

const retryMsMin = 100
const retryMsMax = 5_000
/** Of a command that is set aside where a record has no room for all of it. */
const evidenceBytesMax = 8 << 10

/** Why a command is refused however often it is tried; undefined where that may pass. */
function endOf (err: unknown): GatewayError | undefined {
  if (err instanceof EncodeError) return new GatewayError('internal', err.message)
  return err instanceof GatewayError && (err.code === 'room-closed' || isForGood(err)) ? err : undefined
}

/** Why the request of one of several users is never stored, by code. */
const neverStored = {
  'payload-too-large': 'no block of the ledger has room for it', internal: 'it can not be encoded',
} as const

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
   * A room that is closed stays so, what is too large never gets smaller, and what can not be encoded never can: such a
   * first one is set aside.
   *
   * @returns how many are stored or set aside
   */
  async #inOrder (run: readonly DownlinkRecord[]): Promise<number> {
    const first = run[0]!
    try {
      return first.roomId === '' ? await this.deps.pushInOrder(run) : await this.deps.postInOrder(run.map(postOf))
    } catch (err) {
      const end = endOf(err)
      if (!end) throw err
      await this.#reject(first, end)
      return 1
    }
  }

  /**
   * Those that the ledger will never take are set aside. Whose request is stored is not asked for again.
   *
   * @returns users whose request could not be stored yet
   */
  async #notStored (command: DownlinkRecord): Promise<string[]> {
    const rejected = (await this.#pushed(command)).filter(({ status }) => status === 'rejected')
    const ended = rejected.filter(({ code = '' }) => code in neverStored)
    for (const [code, message] of Object.entries(neverStored) as Array<[keyof typeof neverStored, string]>) {
      const userIds = ended.filter(user => user.code === code).map(({ userId }) => userId)
      if (userIds.length > 0) await this.#reject({ ...command, userIds }, new GatewayError(code, message))
    }
    return rejected.filter(user => !ended.includes(user)).map(({ userId }) => userId)
  }

  async #pushed (command: DownlinkRecord): Promise<readonly PushedUser[]> {
    try {
      return (await this.deps.push(command)).users
    } catch (err) {
      // A signal is looked up and not stored: nothing of that is for good.
      const end = command.delivery === 'durable' ? endOf(err) : undefined
      if (!end) throw err
      return command.userIds.map(userId => ({ userId, status: 'rejected', code: end.code }))
    }
  }

  async #reject (command: DownlinkRecord, { code, message }: GatewayError): Promise<void> {
    const { log } = this.deps
    const { app, userIds: [first = ''] } = command
    const record = {
      // An id with the separator in it would name a user of another app.
      userId: userIdOf(first) === first ? userKey(isAppName(app) ? app : '', first) : '',
      command: evidenceOf(command),
      code,
      reason: code === 'internal' ? `${command.messageId}: ${message}` : message,
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
    this.deps.rejected(code)
  }
}

/** Its bytes; none where it is the command itself that can not be encoded. */
function evidenceOf (command: DownlinkRecord): Buffer {
  try {
    return commandBytes(command)
  } catch {
    return Buffer.of()
  }
}

function postOf (
  { app, roomId, messageId, service, payload, delivery, traceparent }: DownlinkRecord
): PostCommand {
  const trace = traceparent === undefined ? {} : { traceparent }
  return { roomId: userKey(app, roomId), messageId, service, payload, delivery, by: '', ...trace }
}
