import type { LineFormat } from '../http/line-formats.js'

export interface GroupReaderOptions {
  readonly readerId: string
  readonly format: LineFormat
  /** A reader that has something unacked and acks nothing for so long has to go. */
  readonly ackWithinMs: number
}

/** Bytes of lines that a reader has not acked; past it he gets no more until he acks. */
export const unackedBytesMax = 4 << 20
/** What a line takes here until it is acked, besides what it has. */
export const lineBytes = 128
const queuedCharsMax = 1 << 16

/** One who reads in a group: lines that his socket has not taken yet, and how much he has not acked. */
export class GroupReader {
  readonly sinceMs = Date.now()
  unackedBytes = 0
  #queue = ''
  /** When he acked last, or got the first of what he has not acked. */
  #progressMs = 0
  #hasEnded = false
  #changed = () => {}
  #change = this.#nextChange()

  constructor (readonly options: GroupReaderOptions) {}

  get hasEnded (): boolean { return this.#hasEnded }
  get isFull (): boolean { return this.unackedBytes >= unackedBytesMax || this.#queue.length >= queuedCharsMax }

  /** Has had lines for too long without a word. */
  isOverdue (nowMs: number): boolean {
    return this.unackedBytes > 0 && nowMs - this.#progressMs > this.options.ackWithinMs
  }

  /** Resolves when something about him has changed. */
  changed (): Promise<void> { return this.#change }

  put (text: string, bytes: number): void {
    if (this.unackedBytes === 0) this.#progressMs = performance.now()
    this.unackedBytes += bytes
    this.#queue += text
    this.#tell()
  }

  /** What is no record, and needs no ack. */
  tell (name: string, fields: object): void {
    this.#queue += this.options.format.notice(undefined, name, fields)
    this.#tell()
  }

  acked (bytes: number): void {
    this.unackedBytes -= bytes
    this.#progressMs = performance.now()
    this.#tell()
  }

  /** What he has got he still takes. */
  end (): void {
    this.#hasEnded = true
    this.#tell()
  }

  /** Each piece once the one before it was taken, until he ends. */
  async * pieces (): AsyncGenerator<string> {
    yield this.options.format.beginning
    for (;;) {
      const piece = this.#queue
      this.#queue = ''
      if (piece !== '') {
        this.#tell()
        yield piece
      } else if (this.#hasEnded) return
      else await this.#change
    }
  }

  #tell (): void {
    this.#changed()
    this.#change = this.#nextChange()
  }

  #nextChange (): Promise<void> { return new Promise(resolve => { this.#changed = resolve }) }
}
