import type { Uplink } from '../schemas/frames.js'
import { utf8Bytes } from '../schemas/text.js'
import { ClientError } from './client-error.js'

/** What a send resolves with: the uplink is in the ledger, exactly once. */
export interface Accepted {
  /** Its number within the session. */
  readonly seq: number
  /** Its number within the user; undefined where the server had forgotten it when the ack came at last. */
  readonly userSeq: number | undefined
}

export interface OutboxOptions {
  /** Unacked uplinks, and bytes of their payloads, services and rooms; another one is refused. */
  readonly max: number
  readonly bytesMax: number
}

interface Waiting {
  uplink: Uplink
  readonly resolve: (accepted: Accepted) => void
  readonly reject: (error: Error) => void
}

/**
 * Uplinks that are not acked yet, in order; their numbers run 1, 2, 3... (protocol.md 3, Uplink). Each goes through
 * three steps: taken in; offered, when it may go out from now on; released, when that is on record too. So a server
 * that has accepted more than we ever offered has it from somebody else: a copy of us.
 */
export class Outbox {
  readonly #options: OutboxOptions
  #waiting: Waiting[] = []
  #bytes = 0
  /** Everything up to it is acked, or was by an earlier life of the session. */
  #ackedSeq = 0
  #offeredSeq = 0
  #releasedSeq = 0
  /** Highest one that went out since the last `rewind`. */
  #sentSeq = 0

  constructor (options: OutboxOptions) {
    this.#options = options
  }

  get size (): number { return this.#waiting.length }

  get ackedSeq (): number { return this.#ackedSeq }

  get offeredSeq (): number { return this.#offeredSeq }

  get lastSeq (): number { return this.#ackedSeq + this.#waiting.length }

  /** What waits, as it is to be kept. */
  get uplinks (): Uplink[] { return this.#waiting.map(({ uplink }) => uplink) }

  /** @throws ClientError `outbox-full`, and then takes nothing in */
  add (service: string, payload: Uint8Array, priority: number, roomId = ''): { uplink: Uplink, accepted: Promise<Accepted> } {
    const { max, bytesMax } = this.#options
    if (this.#waiting.length >= max) throw new ClientError('outbox-full', `${max} uplinks are not acked yet`)
    if (this.#bytes + bytesOf({ service, payload, roomId }) > bytesMax) {
      throw new ClientError('outbox-full', `${this.#bytes} bytes are not acked yet, and ${bytesMax} are the bound`)
    }
    const uplink: Uplink = { op: 'uplink', seq: this.lastSeq + 1, service, payload, priority, roomId }
    return { uplink, accepted: this.#push(uplink) }
  }

  /**
   * What an earlier run left behind. Only what is on record as offered counts as such: the rest may be new, under
   * numbers that a copy has used for something else, and to send it again is better than to lose it.
   *
   * @param uplinks in order, their numbers end where the next one goes on
   * @param accepted told of each of them once it is acked
   * @param failed told of each of them that fails
   */
  restore (
    uplinks: readonly Uplink[], ackedSeq: number, offeredSeq: number,
    accepted: (uplink: Uplink, each: Accepted) => void, failed: (uplink: Uplink, error: ClientError) => void
  ): void {
    this.#ackedSeq = this.#sentSeq = (uplinks[0]?.seq ?? ackedSeq + 1) - 1
    this.#offeredSeq = Math.max(offeredSeq, this.#ackedSeq)
    for (const uplink of uplinks) this.#push(uplink).then(each => accepted(uplink, each), err => failed(uplink, err))
  }

  /** What waits may go out from now on. @returns the number of the last one */
  offer (): number {
    this.#offeredSeq = Math.max(this.#offeredSeq, this.lastSeq)
    return this.#offeredSeq
  }

  /** It is on record that everything up to `seq` was offered. */
  release (seq: number): void {
    this.#releasedSeq = Math.max(this.#releasedSeq, seq)
  }

  /** The next one to send, which then counts as sent; undefined where there is none or the window is full. */
  take (window: number): Uplink | undefined {
    const index = this.#sentSeq - this.#ackedSeq
    if (index >= window || this.#sentSeq >= this.#releasedSeq) return undefined
    const next = this.#waiting[index]
    if (next) this.#sentSeq = next.uplink.seq
    return next?.uplink
  }

  /**
   * Everything up to `seq` is accepted. What is above our last one is ignored.
   *
   * @param userSeqs the numbers of the last ones, ending at `seq`
   */
  ack (seq: number, userSeqs: readonly number[]): void {
    const count = Math.min(seq - this.#ackedSeq, this.#waiting.length)
    if (count <= 0) return
    for (const { uplink, resolve } of this.#waiting.splice(0, count)) {
      this.#bytes -= bytesOf(uplink)
      resolve({ seq: uplink.seq, userSeq: userSeqs[userSeqs.length - 1 - (seq - uplink.seq)] })
    }
    this.#ackedSeq += count
    this.#sentSeq = Math.max(this.#sentSeq, this.#ackedSeq)
  }

  /** Send again from `seq` on; what is acked stays so. */
  rewind (seq: number): void {
    this.#sentSeq = Math.min(this.#sentSeq, Math.max(this.#ackedSeq, seq - 1))
  }

  /**
   * A new connection: the server has accepted everything up to `uplinkSeq`, and wants the rest again.
   *
   * @param askedSeq what was acked when `connect` went out
   * @returns false when the session is not ours any more, see `restart`: the server knows less of it than it once
   *   acked, or more than we ever offered
   */
  resume (uplinkSeq: number, askedSeq: number): boolean {
    if (uplinkSeq < askedSeq) return false
    this.ack(Math.min(uplinkSeq, this.#offeredSeq), [])
    this.#sentSeq = this.#ackedSeq
    return uplinkSeq <= this.#offeredSeq
  }

  /** Numbers what waits from 1 on, for a new `sessionId`. */
  restart (): void {
    this.#ackedSeq = this.#offeredSeq = this.#releasedSeq = this.#sentSeq = 0
    this.#renumber()
  }

  /**
   * Takes out what the server will not take, as `isRefused` says, and rejects it.
   *
   * @returns whether some went, and whether the numbers behind the first of them have been offered: then they stand for
   *   what they stood for, see `restart`; else what waits has new ones, without gaps
   */
  evict (isRefused: (uplink: Uplink) => boolean, error: (uplink: Uplink) => ClientError): 'none' | 'unoffered' | 'offered' {
    const first = this.#waiting.findIndex(({ uplink }) => isRefused(uplink))
    if (first < 0) return 'none'
    const wasOffered = this.#waiting[first]!.uplink.seq <= this.#offeredSeq
    const [out, left] = [[], []] as [Waiting[], Waiting[]]
    for (const waiting of this.#waiting) (isRefused(waiting.uplink) ? out : left).push(waiting)
    this.#waiting = left
    if (!wasOffered) this.#renumber()
    for (const { uplink, reject } of out) {
      this.#bytes -= bytesOf(uplink)
      reject(error(uplink))
    }
    return wasOffered ? 'offered' : 'unoffered'
  }

  /** Nothing will be sent any more. */
  fail (error: Error): void {
    for (const { reject } of this.#waiting.splice(0)) reject(error)
    this.#bytes = 0
  }

  #renumber (): void {
    this.#waiting.forEach((waiting, i) => { waiting.uplink = { ...waiting.uplink, seq: this.#ackedSeq + i + 1 } })
  }

  #push (uplink: Uplink): Promise<Accepted> {
    this.#bytes += bytesOf(uplink)
    return new Promise((resolve, reject) => { this.#waiting.push({ uplink, resolve, reject }) })
  }
}

function bytesOf ({ service, payload, roomId }: Pick<Uplink, 'service' | 'payload' | 'roomId'>): number {
  return payload.length + utf8Bytes(service) + utf8Bytes(roomId)
}
