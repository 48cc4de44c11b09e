import { randomInt } from 'node:crypto'
import type { Cluster, Redis } from 'ioredis'
import type { Health } from '../schemas/conditions.js'
import { batchHead, decodeBatch, LinkBatch, type ReceivedBatch } from './link-batch.js'
import type { LinkMessage } from './link-codec.js'
import { LinkListener } from './link-listener.js'
import { LinkSender } from './link-sender.js'
import {
  type Answer, answerHere, type BansKnown, type ConnectionMessage, type Links, type LocalEnds, type MembershipsKnown,
  type NotHere, type OwnedStream, type Question, type RequestKnown, type SharedSignal, type Signalled, tellHere,
  type Traced,
} from './links.js'
import type { AskAck } from './group-links.js'
import type { AskMembers, RoomMessage, RoomQuestion } from './room-links.js'

export interface RedisLinksOptions {
  /** See `LinkSenderOptions`. */
  readonly publisher: Redis | Cluster
  /** A connection of its own; of a Cluster, with `shardedSubscribers`. Its owner listens to its errors. */
  readonly subscriber: Redis | Cluster
  /** What the channels of all nodes of this system begin with. */
  readonly prefix: string
  readonly nodeId: string
  /** Bytes of messages that Redis has not confirmed; beyond them messages are dropped. */
  readonly pendingBytesMax?: number
  /** How often it is checked that each channel is heard. */
  readonly helloEveryMs?: number
  readonly health: Health
  failed (what: string, error: Error, fields: object): void
}

export interface RedisLinks extends Links, LocalEnds {
  readonly metrics: LinkMetrics
  /** Sends what is collected and stops listening. The connections to Redis stay open. */
  stop (): Promise<void>
}

/** Counts of messages between nodes since the start; what stays on this node is not counted. */
export interface LinkMetrics {
  readonly sent: number
  readonly received: number
  /** Lost on the way out: too much is pending, Redis is away, or nobody listens. */
  readonly dropped: number
  /** Signals that this node could not hand to a connection. */
  readonly notHere: number
  /** Batches that could not be decoded. */
  readonly undecoded: number
}

/**
 * Signals of late, so that a `NotHere` finds its own. Whoever sent one remembers by it to whom it went, so each of its
 * messages counts as well.
 */
const signalBytesMax = 16 << 20
const signalBytes = 512
const messageBytes = 256

/** A node of another version may say a thousand things a second that this one can't read. */
const reportEveryMs = 1_000

/**
 * The distributed side of `Links`, over Redis sharded pub/sub. Messages to the connections of a node go to
 * `<prefix>:node:<nodeId>`; questions to `<prefix>:partition:<n>`, where whoever owns the ledger partition listens, and
 * those to rooms to `<prefix>:rooms:<n>`. So nobody needs to know who that is; where two believe that they own it, both
 * answer, and the edge drops repeats by seq. A channel that can't be subscribed at once is tried again in the
 * background.
 */
export async function redisLinks (options: RedisLinksOptions): Promise<RedisLinks> {
  const links = new RedisSide(options)
  await links.start()
  return links
}

class RedisSide implements RedisLinks {
  connections: LocalEnds['connections'] = () => false
  users: LocalEnds['users'] = () => {}
  rooms: LocalEnds['rooms'] = () => {}
  members: LocalEnds['members'] = () => {}
  roomKnown: LocalEnds['roomKnown'] = () => {}
  postsKnown: LocalEnds['postsKnown'] = () => {}
  postTimeKnown: LocalEnds['postTimeKnown'] = () => {}
  membersKnown: LocalEnds['membersKnown'] = () => {}
  acks: LocalEnds['acks'] = () => {}
  ackKnown: LocalEnds['ackKnown'] = () => {}
  traced: LocalEnds['traced'] = () => {}
  notHere: (answer: NotHere) => void = () => {}
  requestKnown: (answer: RequestKnown) => void = () => {}
  bansKnown: (answer: BansKnown) => void = () => {}
  membershipsKnown: (answer: MembershipsKnown) => void = () => {}
  recalledKnown: LocalEnds['recalledKnown'] = () => {}
  readonly #options: RedisLinksOptions
  readonly #sender: LinkSender
  readonly #listener: LinkListener
  readonly #signals = new RecentSignals()
  #received = 0
  #notHere = 0
  #undecoded = 0
  #reportedAtMs = 0

  constructor (options: RedisLinksOptions) {
    const { publisher, subscriber, nodeId, pendingBytesMax = 8 << 20, helloEveryMs = 5_000, health } = options
    this.#options = options
    this.#sender = new LinkSender({
      publisher,
      nodeId,
      pendingBytesMax,
      health,
      notHere: (nodeId, connectionId, signalId) => { this.#lookAgain(nodeId, connectionId, signalId) },
      nobodyAcks: askId => { this.ackKnown({ type: 'ackKnown', nodeId, askId, code: 'not-leased' }) },
    })
    this.#listener = new LinkListener({
      subscriber,
      publisher,
      hello: new LinkBatch(batchHead(nodeId)).finish(),
      helloEveryMs,
      health,
      received: bytes => { this.#arrived(bytes) },
    })
  }

  get metrics (): LinkMetrics {
    const { sent, dropped } = this.#sender
    return { sent, dropped, received: this.#received, notHere: this.#notHere, undecoded: this.#undecoded }
  }

  async start (): Promise<void> {
    await this.#listener.join(this.#node(this.#options.nodeId))
  }

  async stop (): Promise<void> {
    await this.#sender.stop()
    await this.#listener.stop()
  }

  mayLose (nodeId: string): boolean { return nodeId !== this.#options.nodeId }

  toConnection (message: ConnectionMessage): void {
    const { nodeId } = message
    if (nodeId === this.#options.nodeId) tellHere(this, message)
    else if (message.type !== 'signal') this.#sender.send(this.#node(nodeId), nodeId, message)
    else {
      const signalId = this.#signals.idOf(message)
      this.#sender.send(this.#node(nodeId), nodeId, { ...message, signalId })
    }
  }

  toAsker (answer: Answer): void {
    const { nodeId } = answer
    if (nodeId === this.#options.nodeId) answerHere(this, answer)
    else this.#sender.send(this.#node(nodeId), nodeId, answer)
  }

  toUser (question: Question): void {
    const channel = this.#partition('ledger', question.partition)
    if (this.#listener.has(channel)) this.users(question)
    else this.#sender.send(channel, '', question)
  }

  toRoom (question: RoomQuestion): void {
    const channel = this.#partition('rooms', question.partition)
    if (this.#listener.has(channel)) this.rooms(question)
    else this.#sender.send(channel, '', question)
  }

  toMembers (message: RoomMessage | AskMembers): void {
    const { nodeId } = message
    if (nodeId === this.#options.nodeId) this.members(message)
    else this.#sender.send(this.#node(nodeId), nodeId, message)
  }

  toReaders (message: AskAck): void {
    const { nodeId } = message
    if (nodeId === this.#options.nodeId) this.acks(message)
    else this.#sender.send(this.#node(nodeId), nodeId, message)
  }

  toTracer (message: Traced): void {
    const { nodeId } = message
    if (nodeId === this.#options.nodeId) this.traced(message)
    else this.#sender.send(this.#node(nodeId), nodeId, message)
  }

  owns (of: OwnedStream, partition: number): Promise<void> {
    return this.#listener.join(this.#partition(of, partition))
  }

  disowns (of: OwnedStream, partition: number): void {
    this.#listener.leave(this.#partition(of, partition))
  }

  #node (nodeId: string): string { return `${this.#options.prefix}:node:${nodeId}` }
  #partition (of: OwnedStream, partition: number): string {
    return `${this.#options.prefix}:${of === 'ledger' ? 'partition' : of}:${partition}`
  }

  #arrived (bytes: Buffer): void {
    const { nodeId, failed } = this.#options
    let batch: ReceivedBatch
    try {
      batch = decodeBatch(bytes, nodeId)
    } catch (err) {
      this.#undecoded++
      const now = Date.now()
      if (now - this.#reportedAtMs < reportEveryMs) return
      this.#reportedAtMs = now
      failed('a link batch could not be decoded', err as Error, { bytes: bytes.length, undecoded: this.#undecoded })
      return
    }
    const { fromNodeId, messages } = batch
    try {
      for (let i = 0; i < messages.length; i++) this.#receive(fromNodeId, messages[i]!)
    } catch (err) { // it must not reach the reader of the socket, which is ioredis
      failed('a link message could not be handled', err as Error, { fromNodeId })
    }
  }

  #receive (fromNodeId: string, message: LinkMessage): void {
    this.#received++
    switch (message.type) {
      case 'requestKnown':
      case 'bansKnown':
      case 'membershipsKnown':
      case 'recalledKnown':
      case 'roomKnown':
      case 'postsKnown':
      case 'postTimeKnown':
      case 'membersKnown':
      case 'ackKnown': answerHere(this, message); return
      case 'resync':
      case 'askBans':
      case 'askMemberships':
      case 'askRecalled':
      case 'askRequest':
        if (this.#listener.has(this.#partition('ledger', message.partition))) this.users(message)
        return
      case 'askRoom':
      case 'askRoomInfo':
      case 'askPost':
      case 'askPosts':
      case 'askPostTime':
      case 'signalRoom':
        if (this.#listener.has(this.#partition('rooms', message.partition))) this.rooms(message)
        return
      case 'roomPosts':
      case 'roomTail':
      case 'roomSignal':
      case 'askMembers': this.members(message); return
      case 'askAck': this.acks(message); return
      case 'traced': this.traced(message); return
      case 'notHere': this.#lookAgain(message.nodeId, message.connectionId, message.signalId); return
      case 'signal': {
        if (this.connections(message)) return
        this.#notHere++
        const { nodeId, connectionId, signalId } = message
        this.#sender.send(this.#node(fromNodeId), fromNodeId, { type: 'notHere', nodeId, connectionId, signalId })
        return
      }
      default: this.connections(message)
    }
  }

  #lookAgain (nodeId: string, connectionId: string, signalId: number): void {
    const signal = this.#signals.get(signalId)
    if (signal) this.notHere({ type: 'notHere', nodeId, connectionId, signal })
  }
}

/** The signals that this process has sent last, by a number that stands for each of them on the wire. */
export class RecentSignals {
  readonly #byId = new Map<number, { readonly signal: SharedSignal, bytes: number }>()
  readonly #ids = new WeakMap<SharedSignal, number>()
  /** Not from 1: an answer to the process that had our node id before us must not meet a signal of ours. */
  #lastId = randomInt(1 << 28)
  #bytes = 0

  get size (): number { return this.#byId.size }

  /** @returns the number of the signal that goes to this connection */
  idOf ({ signal, connectionId }: Signalled): number {
    let signalId = this.#ids.get(signal)
    if (signalId === undefined) {
      signalId = ++this.#lastId
      this.#ids.set(signal, signalId)
      this.#byId.set(signalId, { signal, bytes: 0 })
      // Also in the forms that it is encoded in for connections of this node.
      this.#count(signalId, signalBytes + signal.service.length + 2 * signal.payload.length)
    }
    this.#count(signalId, messageBytes + 2 * connectionId.length)
    return signalId
  }

  /** @returns undefined where it was long ago */
  get (signalId: number): SharedSignal | undefined { return this.#byId.get(signalId)?.signal }

  #count (signalId: number, bytes: number): void {
    const counted = this.#byId.get(signalId)
    if (!counted) return // it was so large that it is forgotten while it is sent
    counted.bytes += bytes
    this.#bytes += bytes
    for (const [oldestId, oldest] of this.#byId) {
      if (this.#bytes <= signalBytesMax) break
      this.#byId.delete(oldestId)
      this.#bytes -= oldest.bytes
    }
  }
}
