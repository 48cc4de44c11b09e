import type { Readable } from 'node:stream'
import { GatewayError } from '../../schemas/errors.js'

/** A line of a body: its text, or why it has none. */
export interface BodyLine {
  /** From 1. */
  readonly number: number
  readonly text: string
  /** In words; empty where the line is one. */
  readonly wrong: string
}

export interface BodyLinesOptions {
  /** How long one may take to come while it is waited for, whatever comes of it. */
  readonly lineMs: number
  /** Ends the wait for one. */
  readonly signal: AbortSignal
}

const roomBytesMin = 4_096
const newline = 0x0a

/**
 * A request's body in lines, read as they are asked for: whoever sends faster than that waits. One that is too long is
 * told and passed over, so it holds no more than its bound. Lines of white space alone are none.
 */
export class BodyLines {
  readonly #body: Readable
  readonly #options: BodyLinesOptions
  readonly #decoder = new TextDecoder('utf-8', { fatal: true })
  /** What has come and was not given out: from `#start` to `#end`. */
  #room = Buffer.allocUnsafeSlow(roomBytesMin)
  #start = 0
  #end = 0
  /** Up to here there is no line end. */
  #searched = 0
  #number = 0
  /** Inside a line that is too long. */
  #passingOver = false

  constructor (body: Readable, options: BodyLinesOptions) {
    this.#body = body
    this.#options = options
  }

  /** Lines that have come, or were said to. */
  get count (): number { return this.#number }

  /**
   * @param bytesMax of one line
   * @returns those that have come, at least one and at most `linesMax`; none at the end of the body
   * @throws GatewayError `bad-request` where the body breaks off, or no line comes in time; `not-ready` after `signal`
   */
  async next (linesMax: number, bytesMax: number): Promise<BodyLine[]> {
    const untilMs = performance.now() + this.#options.lineMs
    for (;;) {
      const lines: BodyLine[] = []
      while (lines.length < linesMax) {
        const line = this.#take(bytesMax)
        if (!line) break
        if (line.wrong !== '' || line.text.trim() !== '') lines.push(line)
      }
      if (lines.length > 0) return lines
      const chunk = await this.#nextChunk(untilMs)
      if (chunk) this.#add(chunk)
      else if (this.#start === this.#end && !this.#passingOver) return []
      else this.#add(Buffer.of(newline)) // the last line may have no end of its own
    }
  }

  #add (chunk: Buffer): void {
    const length = this.#end - this.#start
    if (this.#start > 0) {
      this.#room.copyWithin(0, this.#start, this.#end)
      this.#searched -= this.#start
      this.#start = 0
      this.#end = length
    }
    const wanted = length + chunk.length
    if (wanted > this.#room.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(wanted, 2 * this.#room.length))
      this.#room.copy(larger, 0, 0, length)
      this.#room = larger
    }
    this.#end += chunk.copy(this.#room, length)
  }

  #take (bytesMax: number): BodyLine | undefined {
    const found = this.#room.subarray(0, this.#end).indexOf(newline, this.#searched)
    const end = found < 0 ? this.#end : found
    const isTooLong = this.#passingOver || end - this.#start > bytesMax
    if (found < 0) {
      this.#searched = end
      if (isTooLong) {
        this.#passingOver = true
        this.#start = end
      }
      return undefined
    }
    const bytes = this.#room.subarray(this.#start, end)
    this.#start = this.#searched = found + 1
    this.#passingOver = false
    return this.#line(isTooLong ? undefined : bytes, bytesMax)
  }

  #line (bytes: Buffer | undefined, bytesMax: number): BodyLine {
    const number = ++this.#number
    if (!bytes) return { number, text: '', wrong: `want at most ${bytesMax} bytes` }
    try {
      return { number, text: this.#decoder.decode(bytes), wrong: '' }
    } catch {
      return { number, text: '', wrong: 'want JSON in UTF-8' }
    }
  }

  /** What has come, all in one piece; undefined at the end. */
  async #nextChunk (untilMs: number): Promise<Buffer | undefined> {
    const body = this.#body
    for (;;) {
      const chunk = body.read() as Buffer | null
      if (chunk !== null) return chunk
      if (body.readableEnded) return undefined
      if (body.destroyed) throw new GatewayError('bad-request', 'the body did not come to its end')
      await this.#change(untilMs - performance.now())
    }
  }

  /** Resolves when there may be more, the end is there, or nothing will come any more. */
  #change (withinMs: number): Promise<void> {
    const body = this.#body
    const { lineMs, signal } = this.#options
    return new Promise((resolve, reject) => {
      const letGo = (): void => {
        clearTimeout(timer)
        for (const event of events) body.off(event, onEvent)
        signal.removeEventListener('abort', onAbort)
      }
      const onEvent = (): void => { letGo(); resolve() }
      const onAbort = (): void => { letGo(); reject(new GatewayError('not-ready', 'this node is stopping')) }
      const timer = setTimeout(() => {
        letGo()
        reject(new GatewayError('bad-request', `body: no line came for ${lineMs} ms`))
      }, Math.max(0, withinMs))
      for (const event of events) body.on(event, onEvent)
      signal.addEventListener('abort', onAbort, { once: true })
      if (signal.aborted) onAbort()
    })
  }
}

const events = ['readable', 'end', 'error', 'close'] as const
