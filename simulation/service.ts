import { type Address, type Answer, Api, jsonOf } from './api.js'
import type { Network } from './network.js'
import type { Host, World } from './world.js'

export interface ServiceOptions {
  readonly address: string
  readonly apiKey: string
  /** Nodes that take pushes. */
  readonly nodes: readonly Address[]
  /** Ms between two pushes to one user, about. */
  readonly pushEveryMs: (userId: string) => number
  /** What everybody's pace is multiplied with just now. */
  readonly pace: () => number
}

/** Waits that much longer while the pace is 0. */
const idleMs = 1_000

interface PushedUser { readonly userId: string, readonly status: string, readonly replaced?: string }

/** A business service: pushes to each user, one message after the other, until a node has said that it is queued. */
export class Service {
  readonly host: Host
  /** Message ids that were queued, by user, in the order of that. */
  readonly queued = new Map<string, string[]>()
  /** Message ids that nodes were asked to queue, by user. */
  readonly asked = new Map<string, Set<string>>()
  /** Ids of signals that were sent to somebody, by user. */
  readonly signalled = new Map<string, Set<string>>()
  /** Ids of pushes that somebody may have taken back, or replaced. */
  readonly recalled = new Set<string>()
  /** Those of which was said that they wait for no device of a user any more, and none has had them; by user. */
  readonly takenBack = new Map<string, Set<string>>()
  /** Ids of signals to everybody. */
  readonly broadcasts = new Set<string>()
  readonly complaints: string[] = []
  isQuiet = false
  /** Of a push that has no answer yet. */
  pending = 0
  readonly #api: Api
  /** What is pushed to one user is so one after the other, or nobody would know its order. */
  readonly #turns = new Map<string, Promise<void>>()
  readonly #isReady = new Map<string, () => boolean>()
  #others = 0

  constructor (world: World, network: Network, readonly options: ServiceOptions) {
    this.host = world.host('business', options.address)
    this.#api = new Api(this.host, options.apiKey)
    network.attach(this.host)
  }

  /** @param isReady whether the user has all its sessions: what is pushed before goes to the first one alone */
  serve (userId: string, isReady: () => boolean): void {
    this.queued.set(userId, [])
    this.asked.set(userId, new Set())
    this.signalled.set(userId, new Set())
    this.takenBack.set(userId, new Set())
    this.#isReady.set(userId, isReady)
    this.#next(userId, 0)
  }

  /** Pushes one message to many users at once. */
  pushToMany (userIds: readonly string[]): void {
    const ready = userIds.filter(userId => this.#isReady.get(userId)!())
    if (ready.length > 0) this.#soon(() => this.#inTurn(ready, () => this.#push(ready, `all-${++this.#others}`)))
  }

  /** Pushes what is soon too old to be delivered. */
  pushBriefly (userId: string, ttlMs: number): void {
    if (!this.#isReady.get(userId)!()) return
    this.#soon(() => this.#inTurn([userId], () => this.#push([userId], `${userId}-brief-${++this.#others}`, { ttlMs })))
  }

  /** Sends a signal, once: whether it arrived nobody knows. */
  signal (userId: string): void {
    const messageId = `${userId}-signal-${++this.#others}`
    this.signalled.get(userId)!.add(messageId)
    const { host, options: { nodes } } = this
    const body = { to: { userIds: [userId] }, delivery: 'signal', payload: messageId }
    this.#soon(async () => { await this.#api.ask(host.random.pick(nodes), 'POST', '/v1/downlinks', body) })
  }

  /** Takes one of the last pushes to a user back, where it still can be. */
  recall (userId: string): void {
    const { host, options: { nodes } } = this
    const messageId = this.#oneOfTheLast(userId)
    if (messageId === undefined) return
    this.recalled.add(messageId)
    const path = `/v1/downlinks/${messageId}?userId=${userId}&reason=wrong&notify=${host.random.chance(0.5)}`
    this.#soon(async () => {
      const answer = await this.#api.ask(host.random.pick(nodes), 'DELETE', path)
      const { status, text } = answer
      if (status >= 400 && status < 500) this.complaints.push(`recall of ${messageId}: ${status} ${text}`)
      if (status === 202 && jsonOf(answer)?.status === 'recalled') this.takenBack.get(userId)!.add(messageId)
    })
  }

  /** Pushes what takes the place of one of the last pushes to a user. */
  replace (userId: string): void {
    const replaces = this.#oneOfTheLast(userId)
    if (replaces === undefined || !this.#isReady.get(userId)!()) return
    this.recalled.add(replaces)
    const messageId = `${userId}-instead-${++this.#others}`
    this.#soon(() => this.#inTurn([userId], () => this.#push([userId], messageId, { replaces })))
  }

  #oneOfTheLast (userId: string): string | undefined {
    return this.queued.get(userId)!.at(-1 - this.host.random.below(3))
  }

  /** Asks until a node has said that it will be sent to everybody; some are taken back before they are. */
  broadcast (): string {
    const { host, options: { nodes } } = this
    const messageId = `broadcast-${++this.#others}`
    this.broadcasts.add(messageId)
    const perSecond = host.random.pick([2, 1_000])
    const isCancelled = !this.isQuiet && host.random.chance(0.2)
    this.#ask(async () => {
      const ask = (method: string, path: string, body?: object): Promise<Answer> =>
        this.#api.ask(host.random.pick(nodes), method, path, body)
      const body = { messageId, payload: messageId, ttlMs: 60_000, perSecond }
      while ((await ask('POST', '/v1/broadcasts', body)).status !== 202) await this.#api.wait(1_000, 'asks again')
      if (isCancelled) await ask('DELETE', `/v1/broadcasts/${messageId}?reason=enough`)
    })
    return messageId
  }

  #soon (work: () => Promise<void>): void {
    if (!this.isQuiet) this.#ask(work)
  }

  #ask (work: () => Promise<void>): void {
    this.pending++
    this.host.later(0, 'has something to do', () => { work().then(() => { this.pending-- }) })
  }

  #next (userId: string, count: number): void {
    const { host, options: { pushEveryMs, pace } } = this
    const waitMs = pace() === 0 ? idleMs : host.random.between(0.2, 1.8) * pushEveryMs(userId) / pace()
    host.later(waitMs, `has something for ${userId}`, () => {
      if (this.isQuiet) return
      if (pace() === 0 || !this.#isReady.get(userId)!()) return this.#next(userId, count)
      this.pending++
      this.#inTurn([userId], () => this.#push([userId], `${userId}-${count}`)).then(() => {
        this.pending--
        this.#next(userId, count + 1)
      })
    })
  }

  async #inTurn (userIds: readonly string[], work: () => Promise<void>): Promise<void> {
    const before = Promise.all(userIds.map(userId => this.#turns.get(userId)))
    const done = before.then(work)
    for (const userId of userIds) this.#turns.set(userId, done)
    await done
  }

  /** Until a node has said of each of them that it is queued. */
  async #push (
    userIds: readonly string[], messageId: string, more: { readonly ttlMs?: number, readonly replaces?: string } = {}
  ): Promise<void> {
    const { host, options: { nodes } } = this
    const left = new Set(userIds)
    for (const userId of userIds) this.asked.get(userId)!.add(messageId)
    for (;;) {
      const body = { to: { userIds: [...left] }, messageId, payload: messageId, ...more }
      const answer = await this.#api.ask(host.random.pick(nodes), 'POST', '/v1/downlinks', body)
      const users = answer.status === 202 ? jsonOf(answer)?.users as PushedUser[] : []
      for (const { userId, status, replaced } of users ?? []) {
        if (replaced === 'recalled') this.takenBack.get(userId)!.add(more.replaces!)
        if (status === 'queued' || status === 'duplicate') {
          this.queued.get(userId)!.push(messageId)
          left.delete(userId)
        } else if (status !== 'rejected') {
          this.complaints.push(`push of ${messageId} to ${userId}: ${status}`)
        }
      }
      if (answer.status > 0 && answer.status < 500 && answer.status !== 202) {
        this.complaints.push(`push of ${messageId}: ${answer.status} ${answer.text}`)
      }
      if (left.size === 0) return
      await this.#api.wait(host.random.between(100, 1_000), 'asks again')
    }
  }
}
