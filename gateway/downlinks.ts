import type { EventLog, Following } from '../ledger/log.js'
import type { Health } from '../schemas/conditions.js'
import { isAppName, userIdOf, userKey } from '../schemas/apps.js'
import { GatewayError } from '../schemas/errors.js'
import type { DownlinkCommand, DownlinkRecord } from '../schemas/records.js'
import { downlinks, downlinksRejected } from '../schemas/streams.js'
import { refusalOf } from './downlink-command.js'
import type { PushAnswer, PushedUser } from './push.js'
import type { PostCommand } from './rooms.js'
import { Turns } from './turns.js'

/** Who follows the `downlinks` stream. */
export const downlinksGroup = 'push'

/** Commands on their way at once in one partition, and their bytes in memory; past either the stream waits. */
const underWayMax = 256
const underWayBytesMax = 4 << 20
const retryMsMin = 100
const retryMsMax = 5_000
/** Of a command that is set aside where a record has no room for all of it. */
const evidenceBytesMax = 8 << 10

export interface DownlinksDeps {
  readonly log: EventLog
  push (command: DownlinkCommand): Promise<PushAnswer>
  /**
   * Resolves once it is durable.
   *
   * @throws GatewayError `room-closed` and `payload-too-large`, which it will always be; others, which may pass
   */
  post (command: PostCommand): Promise<void>
  /** Whether there is such an app; the default one has no name. */
  hasApp (app: string): boolean
  readonly frameBytesMax: number
  readonly health: Health
}

/**
 * Sends what business services write to the `downlinks` stream. Each command is committed once its requests are in the
 * ledger; those that a crash repeats have the same `messageId`, which the fold knows. A command that can never be sent
 * goes to `downlinks.rejected`.
 */
export async function followDownlinks (deps: DownlinksDeps): Promise<Following> {
  const partitions = new Map<number, CommandsUnderWay>()
  const done = new Map<number, bigint>()
  const member: { following?: Following } = {}
  member.following = await deps.log.follow(downlinks, downlinksGroup, {
    async assigned (partition, committed) {
      partitions.set(partition, new CommandsUnderWay(deps, next => {
        done.set(partition, next)
        member.following?.commit(partition, next)
      }))
      return committed
    },
    received: ({ partition, offset, items }) =>
      partitions.get(partition)!.take(`${partition}@${offset}`, offset, items),
    leaving: partition => { partitions.get(partition)?.end() },
    async revoked (partition) {
      partitions.delete(partition)
      done.delete(partition)
    },
  })
  for (const [partition, next] of done) member.following.commit(partition, next) // done before it could be told
  return member.following
}

/** A command without an id has its place for one, so that a repeat of it is known as such. */
function named (command: DownlinkRecord, position: string): DownlinkRecord {
  return command.messageId === '' ? { ...command, messageId: `downlinks/${position}` } : command
}

function isForGood ({ code }: GatewayError): boolean { return code === 'room-closed' || code === 'payload-too-large' }

/** Whom a command is for: what is for one of them keeps its order. */
function keysOf ({ app, roomId, userIds }: DownlinkRecord): string[] {
  return roomId === '' ? userIds.map(userId => `user ${userKey(app, userId)}`) : [`room ${userKey(app, roomId)}`]
}

/**
 * The commands of one partition that are not in the ledger yet. One that is tried again is not passed by later ones to
 * the same user or in the same room; those to others go on.
 */
class CommandsUnderWay {
  /** Offsets in order; those done wait for the ones before them. */
  readonly #offsets: Array<{ readonly offset: bigint, readonly bytes: number, done: boolean }> = []
  /** Of those, done or not. */
  #bytes = 0
  readonly #turns = new Turns()
  #ended = false
  #room: (() => void) | undefined

  constructor (readonly deps: DownlinksDeps, readonly commit: (next: bigint) => void) {}

  take (position: string, offset: bigint, commands: readonly DownlinkRecord[]): Promise<void> | void {
    const bytes = commands.reduce((sum, command) => sum + downlinks.bytesOf(command), 0)
    const place = { offset, bytes, done: false }
    this.#offsets.push(place)
    this.#bytes += bytes
    Promise.all(commands.map(command =>
      this.#turns.take(keysOf(command), () => this.#send(named(command, position), position)))).then(() => {
      place.done = true
      this.#finish()
    })
    if (this.#isFull) return new Promise(resolve => { this.#room = resolve })
  }

  get #isFull (): boolean { return this.#offsets.length >= underWayMax || this.#bytes >= underWayBytesMax }

  end (): void {
    this.#ended = true
    this.#room?.()
  }

  #finish (): void {
    let next: bigint | undefined
    while (this.#offsets[0]?.done) {
      const { offset, bytes } = this.#offsets.shift()!
      next = offset + 1n
      this.#bytes -= bytes
    }
    if (next === undefined || this.#ended) return
    this.commit(next)
    if (this.#isFull) return
    this.#room?.()
    this.#room = undefined
  }

  /** Never rejects. Until it succeeds nothing behind it is committed. */
  async #send (command: DownlinkRecord, position: string): Promise<void> {
    const { deps } = this
    let left = command
    for (let waitMs = retryMsMin; !this.#ended; waitMs = Math.min(2 * waitMs, retryMsMax)) {
      try {
        const rest = await this.#sent(left)
        if (!rest) break
        left = rest
        deps.health.begin('downlinks', 'the ledger did not take the request of each user', position)
      } catch (err) {
        deps.health.begin('downlinks', (err as Error).message, position)
      }
      await new Promise(resolve => setTimeout(resolve, waitMs))
    }
    deps.health.end('downlinks', position)
  }

  /** @returns what of the command is not stored yet; undefined where all of it is, or is set aside */
  async #sent (command: DownlinkRecord): Promise<DownlinkRecord | undefined> {
    const refusal = refusalOf(command, this.deps.frameBytesMax) ?? this.#refusalOfApp(command)
    if (refusal) await this.#reject(command, refusal)
    else if (command.roomId !== '') await this.#post(command)
    else {
      const userIds = await this.#notStored(command)
      if (userIds.length > 0) return { ...command, userIds }
    }
    return undefined
  }

  /** A room that is closed stays so, and a post that is too large never gets smaller: both are set aside. */
  async #post (command: DownlinkRecord): Promise<void> {
    const { app, roomId, messageId, service, payload, delivery } = command
    try {
      await this.deps.post({ roomId: userKey(app, roomId), messageId, service, payload, delivery, by: '' })
    } catch (err) {
      if (!(err instanceof GatewayError && isForGood(err))) throw err
      await this.#reject(command, err)
    }
  }

  #refusalOfApp ({ app }: DownlinkRecord): GatewayError | undefined {
    return this.deps.hasApp(app) ? undefined : new GatewayError('bad-request', 'app: want one of LEDGERLINE_APPS')
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
      command: Buffer.from(downlinks.encodeRecord(command)),
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
