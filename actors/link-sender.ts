import type { Cluster, Redis } from 'ioredis'
import type { Health } from '../schemas/conditions.js'
import { ageOf, batchHead, decodeBatch, LinkBatch } from './link-batch.js'
import type { LinkMessage } from './link-codec.js'

export interface LinkSenderOptions {
  /** With a `commandTimeout`, and best without an offline queue: a message that is late is worth nothing. */
  readonly publisher: Redis | Cluster
  readonly nodeId: string
  /** Message bytes that are collected or not yet confirmed by Redis, over all channels. */
  readonly pendingBytesMax: number
  /** Nobody listens on the channel of `nodeId`, where this signal was to go. */
  notHere (nodeId: string, connectionId: string, signalId: number): void
  /** Nobody listens on the channel where this ack was to go. */
  nobodyAcks (askId: number): void
  /** Told of channels that nothing can be published on. */
  readonly health: Health
}

/** A batch that reaches this many bytes does not wait for the end of the tick. */
const batchBytesMax = 512 << 10

/** How often channels that failed are tried, also while there is nothing to send. */
const probeEveryMs = 1_000

/** Of the condition `links`. */
const what = 'messages to other nodes'

/** How long `stop` waits for what is on its way. */
const stopMs = 2_000

interface Channel {
  readonly name: string
  /** Whose connections listen there; empty for the channel of a partition. */
  readonly nodeId: string
  batch: LinkBatch
  inFlight: number
  /** The last publish failed. Until an empty batch gets through, nothing else is sent: see `#probe`. */
  silent: boolean
  probing: boolean
}

/** The way out to all channels: messages of one tick to one channel are one publish, in order. Drops, never waits. */
export class LinkSender {
  /** Messages that Redis has handed to somebody, and messages that nobody got. */
  sent = 0
  dropped = 0
  readonly #options: LinkSenderOptions
  readonly #head: Buffer
  /** Only those that have something to do or to remember. */
  readonly #channels = new Map<string, Channel>()
  #pendingBytes = 0
  #inFlight = 0
  #scheduled = false
  #stopped = false
  #probing: NodeJS.Timeout | undefined

  constructor (options: LinkSenderOptions) {
    this.#options = options
    this.#head = batchHead(options.nodeId)
  }

  send (name: string, nodeId: string, message: LinkMessage): void {
    if (this.#stopped) {
      this.dropped++
      return
    }
    let channel = this.#channels.get(name)
    if (!channel) {
      channel = { name, nodeId, batch: new LinkBatch(this.#head), inFlight: 0, silent: false, probing: false }
      this.#channels.set(name, channel)
    }
    // Each age has batches of its own, so that a node of a version before loses nothing but what is new to it.
    if (!channel.silent && channel.batch.messages > 0 && channel.batch.age !== ageOf(message)) this.#flush(channel)
    const full = channel.silent && channel.batch.length >= batchBytesMax
    const bytes = full ? 0 : channel.batch.add(message, this.#options.pendingBytesMax - this.#pendingBytes)
    if (bytes === 0) this.dropped++
    this.#pendingBytes += bytes
    if (channel.batch.length >= batchBytesMax) this.#flush(channel)
    else this.#schedule()
  }

  /** Sends what is collected, and waits a while until it is out. */
  async stop (): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#probing)
    this.#options.health.end('links', what)
    this.#flushAll()
    const deadline = Date.now() + stopMs
    while (this.#inFlight > 0 && Date.now() < deadline) await new Promise(resolve => setTimeout(resolve, 5))
  }

  #schedule (): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => { this.#flushAll() })
  }

  #flushAll (): void {
    this.#scheduled = false
    for (const channel of this.#channels.values()) this.#flush(channel)
  }

  #flush (channel: Channel): void {
    const { batch } = channel
    if (batch.messages === 0) this.#forget(channel)
    else if (channel.silent) this.#probe(channel)
    else this.#publish(channel, batch)
  }

  #publish (channel: Channel, batch: LinkBatch): void {
    channel.batch = new LinkBatch(this.#head)
    const bytes = batch.finish()
    this.#spublish(channel, bytes).then(
      receivers => {
        this.#pendingBytes -= batch.length
        if (receivers > 0) this.sent += batch.messages
        else this.#unheard(channel, batch, bytes)
        this.#forget(channel)
      },
      error => {
        this.#pendingBytes -= batch.length
        this.#lost(channel, batch, error)
      })
  }

  /**
   * A publish that timed out may still lie in the socket's queue, which nobody bounds while Redis is frozen. So a
   * channel that failed sends one empty batch at a time. What collects meanwhile goes out behind it or is dropped.
   */
  #probe (channel: Channel): void {
    if (channel.probing) return
    channel.probing = true
    this.#spublish(channel, new LinkBatch(this.#head).finish()).then(
      () => {
        channel.silent = channel.probing = false
        this.#flush(channel)
        if (![...this.#channels.values()].some(({ silent }) => silent)) this.#options.health.end('links', what)
      },
      error => {
        channel.probing = false
        const { batch } = channel
        channel.batch = new LinkBatch(this.#head)
        this.#pendingBytes -= batch.length
        this.#lost(channel, batch, error)
      })
  }

  /** @returns how many nodes got it */
  async #spublish (channel: Channel, bytes: Buffer): Promise<number> {
    channel.inFlight++
    this.#inFlight++
    try {
      return await this.#options.publisher.spublish(channel.name, bytes) as number
    } finally {
      channel.inFlight--
      this.#inFlight--
    }
  }

  #lost (channel: Channel, { messages }: LinkBatch, error: Error): void {
    channel.silent = true
    this.dropped += messages
    if (this.#stopped) return
    this.#options.health.begin('links', `they can not be published: ${error.message}`, what)
    this.#probing ??= setTimeout(() => {
      this.#probing = undefined
      for (const channel of this.#channels.values()) if (channel.silent) this.#probe(channel)
    }, probeEveryMs).unref()
  }

  /** The node has stopped, or the partition has no owner just now. */
  #unheard ({ nodeId }: Channel, batch: LinkBatch, bytes: Buffer): void {
    this.dropped += batch.messages
    for (const message of decodeBatch(bytes, nodeId).messages) {
      if (message.type === 'signal') this.#options.notHere(nodeId, message.connectionId, message.signalId)
      else if (message.type === 'askAck') this.#options.nobodyAcks(message.askId)
    }
  }

  #forget (channel: Channel): void {
    const idle = channel.batch.messages === 0 && channel.inFlight === 0 && !channel.silent
    if (idle) this.#channels.delete(channel.name)
  }
}
