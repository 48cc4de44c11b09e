import type { Downlink } from '../schemas/frames.js'

type Received = Omit<Downlink, 'op'>

export interface InboxOptions {
  /** Resolves once the application has done with it. */
  readonly handle: (downlink: Received) => Promise<void>
  /** Everything up to `seq` is done with. */
  readonly ack: (seq: number) => void
  readonly failed: (error: unknown) => void
}

/** While downlinks come quickly, one ack for so many. */
const acksEvery = 64

/** Downlinks on their way to the application: one at a time, in order, each once (protocol.md 3, Downlink). */
export class Inbox {
  readonly #options: InboxOptions
  #queue: Received[] = []
  /** Highest one taken in, and highest one done with. */
  #receivedSeq = 0
  #doneSeq = 0
  #unacked = 0
  #isHandling = false

  constructor (options: InboxOptions) {
    this.#options = options
  }

  get doneSeq (): number { return this.#doneSeq }

  /**
   * A new connection: the next downlink is `downlinkSeq` + 1.
   *
   * @param askedSeq what `connect` said that we have done with; a lower `downlinkSeq` means that the numbers begin anew
   */
  resume (downlinkSeq: number, askedSeq: number): void {
    if (downlinkSeq < askedSeq) {
      this.#queue = []
      this.#receivedSeq = this.#doneSeq = downlinkSeq
    }
    this.#receivedSeq = Math.max(this.#receivedSeq, downlinkSeq)
    if (this.#queue.length === 0 && !this.#isHandling) this.#doneSeq = Math.max(this.#doneSeq, downlinkSeq)
  }

  /** @returns false when one before it is missing, which a new connection brings */
  take ({ seq, messageId, service, payload, requestedAtMs }: Received): boolean {
    if (seq <= this.#receivedSeq) return true // seen
    if (seq > this.#receivedSeq + 1) return false
    this.#receivedSeq = seq
    this.#queue.push({ seq, messageId, service, payload: new Uint8Array(payload), requestedAtMs })
    return true
  }

  /** Hands on what waits. Call it again whenever something came. */
  async run (): Promise<void> {
    if (this.#isHandling) return
    this.#isHandling = true
    try {
      for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
        await this.#options.handle(next)
        if (this.#queue[0] !== next) continue // the numbers began anew meanwhile
        this.#queue.shift()
        this.#doneSeq = next.seq
        if (++this.#unacked >= acksEvery || this.#queue.length === 0) {
          this.#unacked = 0
          this.#options.ack(next.seq)
        }
      }
    } catch (err) {
      // It is not acked, and nor is what came behind it: all of that comes again on the next connection.
      this.#queue = []
      this.#receivedSeq = this.#doneSeq
      this.#options.failed(err)
    } finally {
      this.#isHandling = false
    }
  }
}
