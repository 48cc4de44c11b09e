import { type Address, type Answer, Api, jsonOf } from '../api.js'
import type { Network } from '../network.js'
import type { Host, World } from '../world.js'
import { rooms } from './member.js'

export interface RoomHostOptions {
  readonly address: string
  readonly apiKey: string
  /** Nodes that take posts. */
  readonly nodes: readonly Address[]
  /** Ms between two posts in one room, about. */
  readonly postEveryMs: number
  /** What everybody's pace is multiplied with just now. */
  readonly pace: () => number
}

/** Waits that much longer while the pace is 0. */
const idleMs = 1_000

/** A business service that posts in rooms, puts users into some, and takes them out. */
export class RoomHost {
  readonly host: Host
  /** By room: ids of posts that a node has said to be queued. */
  readonly queued = new Map<string, Set<string>>(rooms.map(roomId => [roomId, new Set()]))
  /** By room: who is in it because this service says so. */
  readonly members = new Map<string, Set<string>>(rooms.map(roomId => [roomId, new Set()]))
  readonly complaints: string[] = []
  isQuiet = false
  /** Of requests that have no answer yet. */
  pending = 0
  readonly #api: Api
  /** Users and rooms that something is being done about: one thing after the other. */
  readonly #turns = new Map<string, Promise<void>>()
  #count = 0

  constructor (world: World, network: Network, readonly options: RoomHostOptions) {
    this.host = world.host('rooms', options.address)
    this.#api = new Api(this.host, options.apiKey)
    network.attach(this.host)
    for (const roomId of rooms) this.#next(roomId)
  }

  /** Puts a user into a room where he is not in it, and else takes him out. */
  turn (userId: string, roomId: string): void {
    if (this.isQuiet) return
    const requestId = `turn-${++this.#count}`
    const path = `/v1/users/${userId}/rooms/${roomId}`
    this.#inTurn(`${userId} ${roomId}`, async () => {
      const members = this.members.get(roomId)!
      if (members.has(userId)) {
        await this.#until(202, () => this.#ask('DELETE', `${path}?requestId=${requestId}&reason=out`), 404)
        members.delete(userId)
      } else {
        await this.#until(202, () => this.#ask('PUT', path, { requestId, rights: 'rw' }))
        members.add(userId)
      }
    })
  }

  /** A signal to whoever is there. */
  signal (roomId: string): void {
    if (this.isQuiet) return
    const body = { delivery: 'signal', payload: `signal-${++this.#count}` }
    this.#inTurn(`signal ${this.#count}`, async () => { await this.#ask('POST', `/v1/rooms/${roomId}/posts`, body) })
  }

  /** What a room says of itself; undefined where nobody answers. */
  async info (roomId: string): Promise<{ roomSeq: number, members: number } | undefined> {
    const answer = await this.#ask('GET', `/v1/rooms/${roomId}`)
    return answer.status === 200 ? jsonOf(answer) : undefined
  }

  #next (roomId: string): void {
    const { host, options: { postEveryMs, pace } } = this
    const waitMs = pace() === 0 ? idleMs : host.random.between(0.2, 1.8) * postEveryMs / pace()
    host.later(waitMs, `has something for ${roomId}`, () => {
      if (this.isQuiet) return
      if (pace() > 0) this.#post(roomId, `${roomId}-${++this.#count}`)
      this.#next(roomId)
    })
  }

  #post (roomId: string, messageId: string): void {
    this.#inTurn(messageId, async () => {
      const body = { messageId, payload: messageId }
      const answer = await this.#until(202, () => this.#ask('POST', `/v1/rooms/${roomId}/posts`, body))
      const status = jsonOf(answer)?.status
      // Where the answer was cut off, nobody knows.
      if (status === undefined) return this.#post(roomId, messageId)
      if (status === 'queued' || status === 'duplicate') this.queued.get(roomId)!.add(messageId)
      else this.complaints.push(`post ${messageId} in ${roomId}: ${status}`)
    })
  }

  #inTurn (name: string, work: () => Promise<void>): void {
    this.pending++
    const before = this.#turns.get(name) ?? Promise.resolve()
    const done = before.then(() => new Promise<void>(resolve => {
      this.host.later(0, 'has something to do', () => { work().finally(resolve) })
    })).finally(() => {
      this.pending--
      if (this.#turns.get(name) === done) this.#turns.delete(name)
    })
    this.#turns.set(name, done)
  }

  /** Asks until it is answered with one of these; a refusal that is not for now is a complaint. */
  async #until (good: number, ask: () => Promise<Answer>, ...alsoGood: number[]): Promise<Answer> {
    for (;;) {
      const answer = await ask()
      const { status, text } = answer
      if (status === good || alsoGood.includes(status)) return answer
      if (status > 0 && status < 500) this.complaints.push(`a service of rooms was answered with ${status} ${text}`)
      await this.#api.wait(this.host.random.between(100, 1_000), 'asks again')
    }
  }

  async #ask (method: string, path: string, body?: object): Promise<Answer> {
    return await this.#api.ask(this.host.random.pick(this.options.nodes), method, path, body)
  }
}
