import { EventEmitter } from 'node:events'
import type { Redis } from 'ioredis'
import { Channel, type SharedStore } from './channel.js'

/** Probabilities for one message to one subscriber, and how much later than others it may be. */
export interface PubSubTrouble {
  lost: number
  lateMsMax: number
}

export const noPubSubTrouble: PubSubTrouble = { lost: 0, lateMsMax: 5 }

/**
 * Publish and subscribe, as the nodes of a simulated cluster have it: at most once, in order from one sender unless
 * something is lost, in no order across senders. What is below `redisLinks`, which runs unchanged on it.
 */
export class PubSub {
  trouble: PubSubTrouble = noPubSubTrouble
  readonly #subscribers = new Map<string, Set<Subscriber>>()

  constructor (readonly store: SharedStore) {}

  subscribe (channel: string, subscriber: Subscriber): void {
    let all = this.#subscribers.get(channel)
    if (!all) this.#subscribers.set(channel, all = new Set())
    all.add(subscriber)
  }

  unsubscribe (channel: string, subscriber: Subscriber): void { this.#subscribers.get(channel)?.delete(subscriber) }

  /** The connection of a subscriber is gone, and with it what it had subscribed to. */
  forget (subscriber: Subscriber): void { for (const all of this.#subscribers.values()) all.delete(subscriber) }

  /** @returns how many it went out to */
  publish (from: Publisher, channel: string, bytes: Buffer): number {
    const { random } = this.store
    const all = this.#subscribers.get(channel) ?? []
    let count = 0
    for (const subscriber of all) {
      count++
      if (random.chance(this.trouble.lost)) continue
      subscriber.deliver(from, channel, Buffer.from(bytes), random.between(0, this.trouble.lateMsMax))
    }
    return count
  }
}

/** The commands of a connection that publishes. */
export class Publisher {
  constructor (readonly pubSub: PubSub, readonly channel: Channel) {}

  async spublish (channel: string, bytes: Buffer): Promise<number> {
    const copy = Buffer.from(bytes)
    return await this.channel.ask('spublish', () => this.pubSub.publish(this, channel, copy))
  }
}

/** The commands and the one event of a connection that subscribes. */
export class Subscriber extends EventEmitter {
  readonly #channels = new Set<string>()
  /** Until when the last message of each sender is on its way: none overtakes it. */
  readonly #untilMs = new WeakMap<Publisher, number>()

  constructor (readonly pubSub: PubSub, readonly channel: Channel) { super() }

  async ssubscribe (channel: string): Promise<void> {
    this.#channels.add(channel)
    await this.channel.ask('ssubscribe', () => { this.pubSub.subscribe(channel, this) })
  }

  async sunsubscribe (channel: string): Promise<void> {
    this.#channels.delete(channel)
    await this.channel.ask('sunsubscribe', () => { this.pubSub.unsubscribe(channel, this) })
  }

  /** @param reconnects subscribes again, as ioredis does once it has connected */
  disconnect (reconnects = false): void {
    this.pubSub.forget(this)
    if (!reconnects) return
    this.channel.ask('connect', () => { for (const channel of this.#channels) this.pubSub.subscribe(channel, this) })
      .catch(() => { this.disconnect(true) })
  }

  deliver (from: Publisher, channel: string, bytes: Buffer, lateMs: number): void {
    const nowMs = this.channel.store.nowMs()
    const atMs = Math.max(this.#untilMs.get(from) ?? 0, nowMs + lateMs)
    this.#untilMs.set(from, atMs)
    this.channel.node.later(atMs - nowMs, `hears ${bytes.length} bytes on ${channel}`, () => {
      this.emit('smessageBuffer', Buffer.from(channel), bytes)
    })
  }
}

/** As `redisLinks` takes them: of ioredis it uses what is above. */
export function asRedis (connection: Publisher | Subscriber): Redis { return connection as unknown as Redis }
