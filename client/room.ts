import type { Join, Joined, Leave, Left, Post, Signal } from '../schemas/frames.js'
import type { ClientError } from './client-error.js'
import type { OrNewer } from './end-codes.js'
import { call } from './events.js'
import type { Listeners } from './events.js'
import { isLeft, Loops } from './loops.js'
import type { Accepted } from './outbox.js'
import { readable } from './payloads.js'
import type { Payload, Readable } from './payloads.js'
import type { SendOptions } from './options.js'
import type { Session } from './session.js'

/** A post as the application gets it. */
export interface ReceivedPost extends Omit<Post, 'op'>, Readable {}

/** What a room tells, by name. */
export interface RoomEvents {
  /** The next one waits until the promises of all listeners have settled. */
  post: ReceivedPost
  /** So many posts behind the last one are gone for good. */
  missed: { readonly count: number }
  /** It is no member any more, and joins again by itself only where a business service makes it one. */
  left: { readonly code: OrNewer<'forbidden' | 'too-many-rooms' | 'room-closed'>, readonly reason: string }
  signal: Omit<Signal, 'op'> & Readable
}

export interface RoomDeps {
  /** To the open connection; undefined where there is none. */
  line (): { send (frame: Join | Leave): void } | undefined
  /** The place is on record from now on; undefined: there is none. */
  keep (roomId: string, roomSeq: number | undefined): void
  readonly session: Pick<Session, 'send' | 'sendJson'>
  readonly listeners: Pick<Listeners, 'failed'>
}

/** Posts that wait for the application. What comes beyond is fetched again once they are done with. */
const waitingMax = 1_000
const waitingBytesMax = 4 << 20

interface Waiting {
  readonly roomSeq: number
  /** Instead of a post: so many are gone. */
  readonly missed: number
  readonly post: ReceivedPost | undefined
  /** Listeners that are done with it. */
  readonly done: Set<unknown>
  /** Which numbers these are: those of a server that was restored begin anew. */
  readonly numbering: object
}

/**
 * A room: posts of all members in one order, each once. It is joined with the first listener for posts, or by `join`,
 * and joined again by itself after any break.
 */
export class Room implements AsyncIterable<ReceivedPost> {
  readonly #deps: RoomDeps
  readonly #listeners = new Map<keyof RoomEvents, Array<(event: any) => unknown>>()
  readonly #loops = new Loops<ReceivedPost>()
  #isWanted = false
  /** It was wanted, and the server has put it out. */
  #isPutOut = false
  /** What its `join` named that is not answered yet. */
  #asked: number | undefined
  /** What its last `join` on this connection named; -1 for none, and once posts came before the answer to it. */
  #named = -1
  #isIn = false
  /** Last post that was taken in; -1 for none. */
  #receivedSeq: number
  #numbering = {}
  #waiting: Waiting[] = []
  #waitingBytes = 0
  #isRunning = false
  /** Posts were not taken in, for too many wait. */
  #isBehind = false

  /** @param place last post that an earlier run was done with; -1 for none */
  constructor (readonly roomId: string, place: number, deps: RoomDeps) {
    this.#receivedSeq = place
    this.#deps = deps
  }

  /** Whether the server has let it in, on the connection that is open. */
  get isJoined (): boolean { return this.#isIn }

  /** Wants the posts from now on, or from the place that an earlier run left it at. */
  join (): this {
    if (this.#isWanted) return this
    this.#isWanted = true
    this.#isPutOut = false
    this.#ask()
    return this
  }

  /** Wants no more posts, and forgets its place. */
  leave (): void {
    this.#stop()
    this.#isPutOut = false
    this.#waiting = []
    this.#waitingBytes = 0
    this.#receivedSeq = -1
    this.#deps.keep(this.roomId, undefined)
    this.#deps.line()?.send({ op: 'leave', roomId: this.roomId })
  }

  /** As `client.send`, and a post of the room. @throws ClientError `forbidden` without the right; see `client.send` */
  post (payload: Payload, options?: SendOptions): Promise<Accepted> {
    return this.#deps.session.send(payload, options, this.roomId)
  }

  /** As `post`, of the JSON of `value`. */
  postJson (value: unknown, options?: SendOptions): Promise<Accepted> {
    return this.#deps.session.sendJson(value, options, this.roomId)
  }

  /** @returns what stops it */
  on<Name extends keyof RoomEvents> (name: Name, listener: (event: RoomEvents[Name]) => unknown): () => void {
    if (typeof listener !== 'function') throw new TypeError(`on ${name}: want a function for a listener`)
    this.#listeners.set(name, [...this.#of(name), listener])
    if (name === 'post') {
      this.join()
      this.#run()
    }
    return () => { this.#listeners.set(name, this.#of(name).filter(each => each !== listener)) }
  }

  /**
   * Posts for a `for await`: each is done with when the loop asks for the next one. One at which the loop is left goes
   * to whoever listens next.
   *
   * @throws ClientError why the client ended, unless by `close`
   */
  [Symbol.asyncIterator] (): AsyncGenerator<ReceivedPost, void, void> {
    return this.#loops.loop(listener => this.on('post', listener))
  }

  /** For the client: what an earlier run was done with. */
  restore (place: number | undefined): void {
    if (place !== undefined && this.#receivedSeq < 0) this.#receivedSeq = place
  }

  /** For the client: a connection is open. */
  resume (): void {
    this.pause()
    this.#ask()
  }

  /** For the client: no connection is open. */
  pause (): void {
    this.#isIn = false
    this.#asked = undefined
    this.#named = -1
  }

  /** For the client: it has ended. */
  end (error: ClientError | undefined): void {
    this.pause()
    this.#loops.end(error)
  }

  /** For the client: a frame of this room. */
  received (frame: Joined | Left | Post | Signal): void {
    switch (frame.op) {
      case 'joined': return this.#joined(frame)
      case 'post': return this.#posted(frame)
      case 'signal': {
        const { op, payload, ...signal } = frame
        this.#tell('signal', { ...signal, ...readable(payload) })
        return
      }
      case 'left': {
        const { code, reason } = frame
        if (code === 'left' || !this.#isWanted) return // as it asked; it may have joined again since
        this.#stop()
        this.#isPutOut = true
        this.#tell('left', { code, reason })
      }
    }
  }

  #ask (): void {
    const line = this.#deps.line()
    if (!this.#isWanted || line === undefined) return
    this.#asked = this.#named = this.#receivedSeq
    line.send({ op: 'join', roomId: this.roomId, roomSeq: this.#asked })
  }

  #joined ({ roomSeq, missed }: Joined): void {
    this.#isWanted ||= this.#isPutOut // then business has made it a member again
    this.#isPutOut = false
    if (!this.#isWanted) return
    if (this.#receivedSeq >= 0 && roomSeq - missed > this.#receivedSeq) {
      // Not from its place, so no answer: business had it joined, from now on; or the server counts what it has sent
      // and we had no room for. It goes on from its place.
      if (this.#asked === undefined && !this.#isBehind) this.#ask()
      return
    }
    this.#asked = undefined
    this.#isIn = true
    if (missed === 0 && roomSeq === this.#named && roomSeq < this.#receivedSeq) {
      // The answer, but business had it joined at the same place before, and posts came by that: they come again.
      this.#named = -1
      return
    }
    if (roomSeq < this.#receivedSeq) this.#numbering = {}
    if (missed > 0) this.#take({ roomSeq, missed, post: undefined }, 0)
    this.#receivedSeq = roomSeq
    if (this.#waiting.length === 0) this.#deps.keep(this.roomId, roomSeq)
  }

  #posted ({ op, payload, ...post }: Post): void {
    const { roomSeq } = post
    if (!this.#isWanted || this.#isBehind || roomSeq <= this.#receivedSeq) return
    if (roomSeq > this.#receivedSeq + 1) {
      if (this.#asked === undefined) this.#ask()
      return
    }
    if (this.#waiting.length >= waitingMax || this.#waitingBytes >= waitingBytesMax) {
      this.#isBehind = true
      return
    }
    this.#receivedSeq = roomSeq
    this.#take({ roomSeq, missed: 0, post: { ...post, ...readable(payload) } }, payload.length)
  }

  #take (waiting: Pick<Waiting, 'roomSeq' | 'missed' | 'post'>, bytes: number): void {
    this.#waiting.push({ ...waiting, done: new Set(), numbering: this.#numbering })
    this.#waitingBytes += bytes
    this.#run()
  }

  /** Hands on what waits, one after the other, while somebody listens. */
  async #run (): Promise<void> {
    if (this.#isRunning) return
    this.#isRunning = true
    for (let next = this.#waiting[0]; next && this.#hasTaker(next); next = this.#waiting[0]) {
      const isDone = await this.#handOn(next)
      if (!isDone || this.#waiting[0] !== next) continue // it may have left the room meanwhile
      this.#waiting.shift()
      this.#waitingBytes -= next.post?.payload.length ?? 0
      if (next.numbering === this.#numbering) this.#deps.keep(this.roomId, next.roomSeq)
    }
    this.#isRunning = false
    if (!this.#isBehind || this.#waiting.length > 0) return
    this.#isBehind = false
    this.#ask()
  }

  #hasTaker ({ post }: Waiting): boolean { return post === undefined || this.#of('post').length > 0 }

  /** @returns false where the loop that had it was left, and nobody else is done with it */
  async #handOn ({ post, missed, done }: Waiting): Promise<boolean> {
    if (post === undefined) {
      this.#tell('missed', { count: missed })
      return true
    }
    await Promise.all(this.#of('post').filter(listener => !done.has(listener)).map(async listener => {
      try {
        await listener(post)
      } catch (error) {
        if (isLeft(error)) return
        this.#deps.listeners.failed('on post', error)
      }
      done.add(listener)
    }))
    return done.size > 0 && this.#of('post').every(listener => done.has(listener))
  }

  #stop (): void {
    this.pause()
    this.#isWanted = this.#isBehind = false
  }

  #tell<Name extends keyof RoomEvents> (name: Name, event: RoomEvents[Name]): void {
    for (const listener of this.#of(name)) {
      call(listener, event).catch(error => this.#deps.listeners.failed(`on ${name}`, error))
    }
  }

  #of (name: keyof RoomEvents): Array<(event: any) => unknown> { return this.#listeners.get(name) ?? [] }
}
