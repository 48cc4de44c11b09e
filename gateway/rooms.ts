import type { Links, LocalEnds } from '../actors/links.js'
import type { MembersKnown, PostsKnown, PostTimeKnown, RoomKnown, RoomMember, RoomPost } from '../actors/room-links.js'
import { type EventLog, formatPosition } from '../ledger/log.js'
import { appendInOrder } from '../ledger/pieces.js'
import { GatewayError } from '../schemas/errors.js'
import { partitionOf } from '../schemas/partitioning.js'
import type { RoomFact } from '../schemas/room-facts.js'
import { rooms } from '../schemas/streams.js'
import type { KnownRequests } from './known-requests.js'
import { Questions } from './questions.js'

export interface RoomsDeps {
  readonly log: EventLog
  readonly links: Links & Pick<LocalEnds, 'roomKnown' | 'postsKnown' | 'postTimeKnown' | 'membersKnown'>
  readonly known: Pick<KnownRequests, 'ofPost'>
  readonly nodeId: string
  /** How long an answer is waited for; below the deadline of a look-up over HTTP. */
  readonly answerMs?: number
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

/** What is known of a room. */
export interface RoomInfo {
  /** Number of its last post. */
  readonly roomSeq: number
  /** Posts after this one are kept for who joins. */
  readonly keptAfter: number
  readonly closed: boolean
  /** Nodes that have members of it; null where one does not say how many. */
  readonly nodes: ReadonlyArray<{ readonly nodeId: string, readonly members: number | null }>
}

export interface MembersPage {
  readonly members: ReadonlyArray<RoomMember & { readonly nodeId: string }>
  /** Connection id after which the next page begins; null where there is none. */
  readonly next: string | null
  /** Of those nodes that answered. */
  readonly total: number
  /** Nodes that did not. */
  readonly unknown: readonly string[]
}

/** Of an `int` in a link message. */
const intMax = 0x7fff_ffff

/** What business services ask of rooms: facts in their stream, and questions to those that know. */
export class Rooms {
  readonly #deps: RoomsDeps
  readonly #partitions: number
  readonly #infos: Questions<RoomKnown>
  readonly #posts: Questions<PostsKnown>
  readonly #times: Questions<PostTimeKnown>
  readonly #members: Questions<MembersKnown>
  /** By room: whether it is closed, asked by the first of the posts that wait for the answer (`postInOrder`). */
  readonly #closedAsked = new Map<string, Promise<boolean>>()

  constructor (deps: RoomsDeps) {
    this.#deps = deps
    this.#partitions = deps.log.partitions(rooms)
    this.#infos = new Questions('room', deps.answerMs)
    this.#posts = new Questions('room', deps.answerMs)
    this.#times = new Questions('room', deps.answerMs)
    this.#members = new Questions('node', deps.answerMs)
    deps.links.roomKnown = answer => { this.#infos.answered(answer.askId, answer) }
    deps.links.postsKnown = answer => { this.#posts.answered(answer.askId, answer) }
    deps.links.postTimeKnown = answer => { this.#times.answered(answer.askId, answer) }
    deps.links.membersKnown = answer => { this.#members.answered(answer.askId, answer) }
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
      this.#info(roomId, partition, asOf).catch(() => undefined),
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
      return (await this.#known(roomId)).closed
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
    const info = await this.#info(roomId, partition, asOf).catch(() => undefined)
    if (info?.closed) return undefined
    return await this.#append(roomId, partition, { type: 'RoomClosed', requestId, reason, by })
  }

  /** @throws GatewayError `not-ready` where the owner of the room does not answer */
  async info (roomId: string): Promise<RoomInfo> {
    const { roomSeq, keptAfter, closed, nodes } = await this.#known(roomId)
    const counted = await Promise.all(nodes.map(async nodeId => {
      const answer = await this.#membersOn(nodeId, roomId, '', 0)
      return { nodeId, members: answer?.total ?? null }
    }))
    return { roomSeq, keptAfter, closed, nodes: counted }
  }

  /**
   * The posts after `afterSeq`, from the room itself.
   *
   * @param max so many of the first ones; `Infinity` for all
   * @returns undefined where it does not keep all that are after `afterSeq`
   * @throws GatewayError `not-ready` where the owner of the room does not answer
   */
  async keptPosts (roomId: string, afterSeq: number, max: number): Promise<readonly RoomPost[] | undefined> {
    const { log, links, nodeId } = this.#deps
    const partition = partitionOf(roomId, this.#partitions)
    const { next: asOf } = await log.bounds(rooms, partition)
    const { keptAfter, posts } = await this.#posts.ask(askId => {
      links.toRoom({ type: 'askPosts', roomId, partition, nodeId, askId, afterSeq, postsMax: Math.min(max, intMax), asOf })
    })
    return keptAfter <= afterSeq ? posts : undefined
  }

  /**
   * Since when a post has stood in the stream `posts`, about.
   *
   * @returns when a post not far before it was posted, 0 for not known, and the number of the room's last post
   * @throws GatewayError `not-ready` where the owner of the room does not answer
   */
  async timeOf (roomId: string, roomSeq: number): Promise<Pick<PostTimeKnown, 'postedAtMs' | 'roomSeq'>> {
    const { log, links, nodeId } = this.#deps
    const partition = partitionOf(roomId, this.#partitions)
    const { next: asOf } = await log.bounds(rooms, partition)
    return await this.#times.ask(askId => {
      links.toRoom({ type: 'askPostTime', roomId, partition, nodeId, askId, roomSeq, asOf })
    })
  }

  /**
   * Members in the order of their connection ids.
   *
   * @param after connection id of the last one of the page before; empty for none
   * @throws GatewayError `not-ready` where the owner of the room does not answer
   */
  async members (roomId: string, after: string, limit: number): Promise<MembersPage> {
    const { nodes } = await this.#known(roomId)
    const pages = await Promise.all(nodes.map(async nodeId =>
      ({ nodeId, answer: await this.#membersOn(nodeId, roomId, after, limit) })))
    const all = pages.flatMap(({ nodeId, answer }) => answer?.members.map(member => ({ ...member, nodeId })) ?? [])
    all.sort((one, other) => one.connectionId < other.connectionId ? -1 : 1)
    const members = all.slice(0, limit)
    return {
      members,
      next: members.length === limit ? members.at(-1)!.connectionId : null,
      total: pages.reduce((sum, { answer }) => sum + (answer?.total ?? 0), 0),
      unknown: pages.filter(({ answer }) => answer === undefined).map(({ nodeId }) => nodeId),
    }
  }

  async #known (roomId: string): Promise<RoomKnown> {
    const partition = partitionOf(roomId, this.#partitions)
    const { next: asOf } = await this.#deps.log.bounds(rooms, partition)
    return await this.#info(roomId, partition, asOf)
  }

  #info (roomId: string, partition: number, asOf: bigint): Promise<RoomKnown> {
    const { links, nodeId } = this.#deps
    return this.#infos.ask(askId => { links.toRoom({ type: 'askRoomInfo', roomId, partition, nodeId, askId, asOf }) })
  }

  async #membersOn (nodeId: string, roomId: string, after: string, limit: number): Promise<MembersKnown | undefined> {
    const { links, nodeId: askNodeId } = this.#deps
    try {
      return await this.#members.ask(askId => {
        links.toMembers({ type: 'askMembers', nodeId, askNodeId, askId, roomId, after, limit })
      })
    } catch {
      return undefined // it may be gone
    }
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
