import type { Links, LocalEnds } from '../actors/links.js'
import type { MembersKnown, PostsKnown, PostTimeKnown, RoomKnown, RoomMember, RoomPost } from '../actors/room-links.js'
import type { EventLog } from '../ledger/log.js'
import { partitionOf } from '../schemas/partitioning.js'
import { rooms } from '../schemas/streams.js'
import { Questions } from './questions.js'

export interface RoomQuestionsDeps {
  readonly log: Pick<EventLog, 'bounds' | 'partitions'>
  readonly links: Pick<Links, 'toRoom' | 'toMembers'> &
    Pick<LocalEnds, 'roomKnown' | 'postsKnown' | 'postTimeKnown' | 'membersKnown'>
  readonly nodeId: string
  /** How long an answer is waited for; below the deadline of a look-up over HTTP. */
  readonly answerMs?: number
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

/** What is asked about rooms, by their keys: of their owners, and of nodes that have members. */
export class RoomQuestions {
  readonly #deps: RoomQuestionsDeps
  readonly #partitions: number
  readonly #states: Questions<RoomKnown>
  readonly #posts: Questions<PostsKnown>
  readonly #times: Questions<PostTimeKnown>
  readonly #members: Questions<MembersKnown>

  constructor (deps: RoomQuestionsDeps) {
    const { log, links, answerMs } = deps
    this.#deps = deps
    this.#partitions = log.partitions(rooms)
    this.#states = new Questions('room', answerMs)
    this.#posts = new Questions('room', answerMs)
    this.#times = new Questions('room', answerMs)
    this.#members = new Questions('node', answerMs)
    links.roomKnown = answer => { this.#states.answered(answer.askId, answer) }
    links.postsKnown = answer => { this.#posts.answered(answer.askId, answer) }
    links.postTimeKnown = answer => { this.#times.answered(answer.askId, answer) }
    links.membersKnown = answer => { this.#members.answered(answer.askId, answer) }
  }

  /**
   * What the owner of the room knows.
   *
   * @param asOf an offset of the stream `rooms`: the answer knows what is before it. By default all that there is now
   * @throws GatewayError `not-ready` where the owner does not answer
   */
  async stateOf (roomId: string, asOf?: bigint): Promise<RoomKnown> {
    const { links, nodeId } = this.#deps
    const partition = partitionOf(roomId, this.#partitions)
    const end = asOf ?? await this.#end(partition)
    return await this.#states.ask(askId => {
      links.toRoom({ type: 'askRoomInfo', roomId, partition, nodeId, askId, asOf: end })
    })
  }

  /** @throws GatewayError `not-ready` where the owner of the room does not answer */
  async info (roomId: string): Promise<RoomInfo> {
    const { roomSeq, keptAfter, closed, nodes } = await this.stateOf(roomId)
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
    const { links, nodeId } = this.#deps
    const partition = partitionOf(roomId, this.#partitions)
    const asOf = await this.#end(partition)
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
    const { links, nodeId } = this.#deps
    const partition = partitionOf(roomId, this.#partitions)
    const asOf = await this.#end(partition)
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
    const { nodes } = await this.stateOf(roomId)
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

  async #end (partition: number): Promise<bigint> { return (await this.#deps.log.bounds(rooms, partition)).next }
}
