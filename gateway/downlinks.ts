import type { Block, Following } from '../ledger/log.js'
import { userKey } from '../schemas/apps.js'
import type { DownlinkRecord } from '../schemas/records.js'
import { downlinks } from '../schemas/streams.js'
import { DownlinkSender, type DownlinkSenderDeps, type PlacedCommand } from './downlink-sender.js'
import { Turns } from './turns.js'

/** Who follows the `downlinks` stream. */
export const downlinksGroup = 'push'

/** `00-`, 32 digits, `-`, 16 digits, `-01` */
const traceparentLength = 55

/** Commands on their way at once in one partition, and their bytes in memory; past either the stream waits. */
const underWayMax = 256
const underWayBytesMax = 4 << 20

type Headers = NonNullable<Block<DownlinkRecord>['headers']>

export interface DownlinksDeps extends DownlinkSenderDeps {
  /** Whether traces are of use: the header `traceparent` of a record is taken only then. */
  readonly isTracing?: boolean
}

/**
 * Sends what business services write to the `downlinks` stream. Each command is committed once its requests are in the
 * ledger; those that a crash repeats have the same `messageId`, which the fold knows. A command that can never be sent
 * goes to `downlinks.rejected`.
 */
export async function followDownlinks (deps: DownlinksDeps): Promise<Following> {
  const { isTracing = false } = deps
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
    received: ({ partition, offset, items, headers = [] }) =>
      partitions.get(partition)!.take(`${partition}@${offset}`, offset, isTracing ? withTrace(items, headers) : items),
    leaving: partition => { partitions.get(partition)?.end() },
    async revoked (partition) {
      partitions.delete(partition)
      done.delete(partition)
    },
  })
  for (const [partition, next] of done) member.following.commit(partition, next) // done before it could be told
  return member.following
}

/** Whoever wrote the record may be part of a trace. What is not as long as a context is none, and takes no memory. */
function withTrace (items: readonly DownlinkRecord[], headers: Headers): readonly DownlinkRecord[] {
  const header = headers.find(([name]) => name === 'traceparent')?.[1]
  if (header?.length !== traceparentLength) return items
  const traceparent = Buffer.from(header).toString('latin1')
  return items.map(item => ({ ...item, traceparent }))
}

/** A command without an id has its place for one, so that a repeat of it is known as such. */
function named (command: DownlinkRecord, position: string, index: number): DownlinkRecord {
  if (command.messageId !== '') return command
  return { ...command, messageId: `downlinks/${position}${index === 0 ? '' : `.${index}`}` }
}

/** Whom a command is for: what is for one of them keeps its order. */
function keysOf ({ app, roomId, userIds }: DownlinkRecord): string[] {
  return roomId === '' ? userIds.map(userId => `user ${userKey(app, userId)}`) : [`room ${userKey(app, roomId)}`]
}

/**
 * The commands of one partition that are not in the ledger yet. One that is tried again is not passed by later ones to
 * the same user or in the same room; those to others go on. What waits for one user, or one room, goes on together.
 */
class CommandsUnderWay {
  /** Offsets in order; those done wait for the ones before them. */
  readonly #offsets: Array<{ readonly offset: bigint, readonly bytes: number, done: boolean }> = []
  /** Of those, done or not. */
  #bytes = 0
  readonly #sender: DownlinkSender
  readonly #turns: Turns<PlacedCommand>
  #ended = false
  #room: (() => void) | undefined

  constructor (deps: DownlinkSenderDeps, readonly commit: (next: bigint) => void) {
    this.#sender = new DownlinkSender(deps)
    this.#turns = new Turns(placed => this.#sender.send(placed))
  }

  take (position: string, offset: bigint, commands: readonly DownlinkRecord[]): Promise<void> | void {
    const bytes = commands.reduce((sum, command) => sum + downlinks.bytesOf(command), 0)
    const place = { offset, bytes, done: false }
    this.#offsets.push(place)
    this.#bytes += bytes
    Promise.all(commands.map((command, i) =>
      this.#turns.take(keysOf(command), { command: named(command, position, i), position }))).then(() => {
      place.done = true
      this.#finish()
    })
    if (this.#isFull) return new Promise(resolve => { this.#room = resolve })
  }

  get #isFull (): boolean { return this.#offsets.length >= underWayMax || this.#bytes >= underWayBytesMax }

  end (): void {
    this.#ended = true
    this.#sender.end()
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
}
