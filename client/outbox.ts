import { GatewayError } from '../schemas/errors.js'
import type { Uplink } from '../schemas/frames.js'

/** What a send resolves with: the uplink is in the ledger, exactly once. */
export interface Accepted {
  /** Its number within the session. */
  readonly seq: number
  /** Its number within the user; undefined where the server had forgotten it when the ack came at last. */
  readonly userSeq: number | undefined
}

interface Waiting {
  uplink: Uplink
  readonly resolve: (accepted: Accepted) => void
  readonly reject: (error: Error) => void
}

/** Uplinks that are not acked yet, in order; their numbers run 1, 2, 3... (protocol.md 3, Uplink). In memory. */
export class Outbox {
  readonly #max: number
  #waiting: Waiting[] = []
  /** Everything up to it is acked, or was by an earlier life of the session. */
  #ackedSeq = 0
  /** Highest one that went out since the last `rewind`. */
  #sentSeq = 0

  /** @param max unacked uplinks; another one is refused */
  constructor (max: number) {
    this.#max = max
  }

  get size (): number { return this.#waiting.length }

  get ackedSeq (): number { return this.#ackedSeq }

  /** Rejects with GatewayError `outbox-full`, and then takes nothing in. */
  add (service: string, payload: Uint8Array, priority: number): Promise<Accepted> {
    if (this.#waiting.length >= this.#max) {
      return Promise.reject(new GatewayError('outbox-full', `${this.#max} uplinks are not acked yet`))
    }
    const seq = this.#ackedSeq + this.#waiting.length + 1
    return new Promise((resolve, reject) => {
      this.#waiting.push({ uplink: { op: 'uplink', seq, service, payload, priority }, resolve, reject })
    })
  }

  /** The next one to send, which then counts as sent; undefined where there is none or the window is full. */
  take (window: number): Uplink | undefined {
    const index = this.#sentSeq - this.#ackedSeq
    if (index >= window) return undefined
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
   * @returns false when it knows less than it once acked: it lost the session, see `restart`
   */
  resume (uplinkSeq: number): boolean {
    if (uplinkSeq < this.#ackedSeq) return false
    this.ack(uplinkSeq, [])
    if (uplinkSeq > this.#ackedSeq) this.#renumber(uplinkSeq) // an earlier life of this session sent more
    this.#sentSeq = this.#ackedSeq
    return true
  }

  /** Numbers what waits from 1 on, for a new `sessionId`. */
  restart (): void {
    this.#renumber(0)
  }

  /** Nothing will be sent any more. */
  fail (error: Error): void {
    for (const { reject } of this.#waiting.splice(0)) reject(error)
  }

  #renumber (after: number): void {
    this.#ackedSeq = after
    this.#sentSeq = after
    this.#waiting.forEach((waiting, i) => { waiting.uplink = { ...waiting.uplink, seq: after + i + 1 } })
  }
}
