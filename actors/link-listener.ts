import type { Cluster, Redis } from 'ioredis'
import type { Health } from '../schemas/conditions.js'

export interface LinkListenerOptions {
  readonly subscriber: Redis | Cluster
  /** Says `hello` on the channels that are listened to. */
  readonly publisher: Redis | Cluster
  /** A batch without messages. */
  readonly hello: Buffer
  readonly helloEveryMs: number
  readonly health: Health
  received (bytes: Buffer): void
}

/** The subscriber's commands have no timeout of their own: they wait until it is connected. */
const answerMs = 2_000
const retryMsMin = 100
const retryMsMax = 2_000

/**
 * The way in from all channels. ioredis subscribes again after it has lost a connection, but it does not notice one
 * that is silent because its other end is gone, and a node that hears nothing acks nothing. So this one talks to itself
 * on every channel, and where it does not hear that, it connects and subscribes anew.
 */
export class LinkListener {
  readonly #options: LinkListenerOptions
  /** A token a channel, so that trying to subscribe ends with the wish that it began for. */
  readonly #channels = new Map<string, object>()
  /** Channels on which Redis took the last `hello`, or still may, and it was not heard. */
  readonly #unheard = new Set<string>()
  readonly #timer: NodeJS.Timeout

  constructor (options: LinkListenerOptions) {
    this.#options = options
    options.subscriber.on('smessageBuffer', this.#arrived)
    // After the next reads: when the whole process was paused, messages of that time are still to be read.
    this.#timer = setInterval(() => { setImmediate(() => { this.#check() }) }, options.helloEveryMs).unref()
  }

  has (channel: string): boolean { return this.#channels.has(channel) }

  /** @returns when it is subscribed, or once that has failed: then it is tried again until `leave` */
  async join (channel: string): Promise<void> {
    if (this.#channels.has(channel)) return
    const token = {}
    this.#channels.set(channel, token)
    if (!await this.#subscribe(channel, token)) this.#subscribeLater(channel, token)
  }

  /** Where Redis is away it is not told, and messages may go on arriving: nobody here takes them. */
  async leave (channel: string): Promise<void> {
    if (!this.#channels.delete(channel)) return
    this.#unheard.delete(channel)
    this.#options.health.end('links', channel)
    await answered(this.#options.subscriber.sunsubscribe(channel)).catch(() => {})
  }

  async stop (): Promise<void> {
    clearInterval(this.#timer)
    this.#options.subscriber.off('smessageBuffer', this.#arrived)
    await Promise.all([...this.#channels.keys()].map(channel => this.leave(channel)))
  }

  async #subscribe (channel: string, token: object): Promise<boolean> {
    try {
      await answered(this.#options.subscriber.ssubscribe(channel))
      this.#options.health.end('links', channel)
      return true
    } catch (err) {
      // Nobody would end it, where the channel was left meanwhile.
      if (this.#channels.get(channel) === token) {
        this.#options.health.begin('links', `it could not be subscribed: ${(err as Error).message}`, channel)
      }
      return false
    }
  }

  async #subscribeLater (channel: string, token: object): Promise<void> {
    for (let waitMs = retryMsMin; ; waitMs = Math.min(2 * waitMs, retryMsMax)) {
      await new Promise(resolve => setTimeout(resolve, waitMs).unref())
      if (this.#channels.get(channel) !== token || await this.#subscribe(channel, token)) return
    }
  }

  #check (): void {
    const { subscriber, publisher, hello, health } = this.#options
    if (this.#unheard.size > 0) {
      const channels = [...this.#unheard]
      this.#unheard.clear()
      for (const channel of channels) health.begin('links', 'own messages are not heard: it is subscribed anew', channel)
      subscriber.disconnect(true)
      for (const channel of channels) {
        const token = {}
        this.#channels.set(channel, token)
        this.#subscribeLater(channel, token)
      }
      return
    }
    for (const channel of this.#channels.keys()) {
      this.#unheard.add(channel)
      publisher.spublish(channel, hello).catch(() => { this.#unheard.delete(channel) })
    }
  }

  readonly #arrived = (channel: Buffer, bytes: Buffer): void => {
    const { hello } = this.#options
    if (bytes.length === hello.length && hello.equals(bytes)) this.#unheard.delete(channel.toString())
    else this.#options.received(bytes)
  }
}

/** Rejects where it takes too long; what comes of it then nobody waits for. */
function answered<T> (command: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => { reject(new Error(`no answer within ${answerMs} ms`)) }, answerMs)
    command.then(resolve, reject).finally(() => { clearTimeout(timer) })
  })
}
