import type { Links } from '../actors/links.js'
import { type EventLog, formatPosition } from '../ledger/log.js'
import { appendInOrder } from '../ledger/pieces.js'
import { GatewayError } from '../schemas/errors.js'
import { partitionOf } from '../schemas/partitioning.js'
import type { RoomFact } from '../schemas/room-facts.js'
import { rooms } from '../schemas/streams.js'
import type { KnownRequests } from './known-requests.js'
import type { RoomQuestions } from './room-questions.js'

export interface RoomsDeps {
  readonly log: EventLog
  readonly links: Pick<Links, 'toRoom'>
  readonly known: Pick<KnownRequests, 'ofPost'>
  readonly questions: Pick<RoomQuestions, 'stateOf'>
}

/** What a business service says in a room. */
export interface PostCommand {
  /** The room's key. */
  readonly roomId: string
  /** Idempotency key within the room. */
  readonly messageId: string
  readonly service: string
  readonly payload: Uint8Array
  /** A signal goes to the members that are there, at most once. */
  readonly delivery: 'durable' | 'signal'
  /** Id of the API key that asks; empty for one of the environment. */
  readonly by: string
  /** W3C trace context of whoever asks; see tracing/. */
  readonly traceparent?: string
}

export interface PostAnswer {
  readonly messageId: string
  /**
   * `queued` durably for the room, which numbers it; a signal `sent` to nodes that have members, or `offline`, where
   * none has. The id was had before: `duplicate` for the same payload and service, `conflict` for others.
   */
  readonly status: 'queued' | 'duplicate' | 'conflict' | 'sent' | 'offline'
  /** Where the request stands in the stream `rooms`, `3@1021.4`. */
  readonly position?: string
}

export interface CloseCommand {
  /** The room's key. */
  readonly roomId: string
  readonly requestId: string
  /** What members are told. */
  readonly reason: string
  readonly by: string
}

/** What business services have done in rooms: posts, signals and ends. `RoomQuestions` tells what there is. */
export class Rooms {
  readonly #deps: RoomsDeps
  readonly #partitions: number
  /** By room: whether it is closed, asked by the first of the posts that wait for the answer (`postInOrder`). */
  readonly #closedAsked = new Map<string, Promise<boolean>>()

  constructor (deps: RoomsDeps) {
    this.#deps = deps
    this.#partitions = deps.log.partitions(rooms)
  }

  /**
   * Resolves once the post is durable, or the signal was handed on.
   *
   * @param tellsRepeats whether who repeats an id is told, at the cost of one more question
   * @throws GatewayError `room-closed`; `ledger-unavailable`; `payload-too-large`
   */
  async post (command: PostCommand, tellsRepeats: boolean): Promise<PostAnswer> {
    const { roomId, messageId, delivery } = command
    const partition = partitionOf(roomId, this.#partitions)
    const { next: asOf } = await this.#deps.log.bounds(rooms, partition)
    // Where nobody says so in time it goes on its way all the same: the room itself drops what is not for it.
    const [info, known] = await Promise.all([
      this.#deps.questions.stateOf(roomId, asOf).catch(() => undefined),
      tellsRepeats && delivery === 'durable' ? this.#deps.known.ofPost(command, partition, asOf) : 'first' as const,
    ])
    if (known !== 'first') return { messageId, status: known }
    if (info?.closed) throw new GatewayError('room-closed')
    if (delivery === 'signal') {
      this.#signal(command, partition)
      return { messageId, status: info?.nodes.length === 0 ? 'offline' : 'sent' }
    }
    return { messageId, status: 'queued', position: await this.#append(roomId, partition, requestOf(command)) }
  }

  /**
   * As `post`, for who does not wait between two of them: those of one room go in the order of the calls. A question
   * that is under way is theirs together, and nobody is told of repeats, which the room drops.
   *
   * @param commands durable ones, or one signal, of one room
   * @returns how many of them are stored; those behind are not
   * @throws GatewayError where not one is: `room-closed`; `ledger-unavailable`; `payload-too-large`
   */
  async postInOrder (commands: readonly PostCommand[]): Promise<number> {
    const { roomId, delivery } = commands[0]!
    const partition = partitionOf(roomId, this.#partitions)
    let asked = this.#closedAsked.get(roomId)
    if (!asked) {
      asked = this.#isClosed(roomId)
      this.#closedAsked.set(roomId, asked)
      asked.then(() => { this.#closedAsked.delete(roomId) })
    }
    if (await asked) throw new GatewayError('room-closed')
    if (delivery === 'signal') {
      this.#signal(commands[0]!, partition)
      return 1
    }
    const atMs = Date.now()
    return await appendInOrder(this.#deps.log, rooms, partition,
      commands.map(command => ({ roomId, atMs, fact: requestOf(command) })))
  }

  /** As far as anybody says: the room itself drops what is posted after its end. */
  async #isClosed (roomId: string): Promise<boolean> {
    try {
      return (await this.#deps.questions.stateOf(roomId)).closed
    } catch {
      return false
    }
  }

  #signal ({ roomId, service, payload }: PostCommand, partition: number): void {
    this.#deps.links.toRoom({ type: 'signalRoom', roomId, partition, service, payload })
  }

  /**
   * Resolves once it is durable.
   *
   * @returns where it stands; undefined where the room was closed before
   */
  async close ({ roomId, requestId, reason, by }: CloseCommand): Promise<string | undefined> {
    const partition = partitionOf(roomId, this.#partitions)
    const { next: asOf } = await this.#deps.log.bounds(rooms, partition)
    const info = await this.#deps.questions.stateOf(roomId, asOf).catch(() => undefined)
    if (info?.closed) return undefined
    return await this.#append(roomId, partition, { type: 'RoomClosed', requestId, reason, by })
  }

  async #append (roomId: string, partition: number, fact: RoomFact): Promise<string> {
    const { offset, index } = await this.#deps.log.append(rooms, partition, [{ roomId, atMs: Date.now(), fact }])
    return formatPosition({ partition, offset, index })
  }
}

function requestOf ({ messageId, service, payload, by }: PostCommand): RoomFact {
  return {
    type: 'PostRequested', messageId, from: '', service, payload, ledgerPartition: -1, ledgerOffset: -1, ledgerIndex: -1, by,
  }
}
