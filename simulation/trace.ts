import { createHash } from 'node:crypto'

/** Lines that a reader of a failure sees. */
const lastMax = 200

/**
 * What happened, one line for each event: when, where, what. Two runs did the same if their hashes are the same, byte
 * for byte.
 */
export class Trace {
  lines = 0
  readonly #hash = createHash('sha256')
  readonly #last: string[] = []
  #waiting = ''

  /** @param write gets every line, for whoever compares two runs */
  constructor (readonly write?: (line: string) => void) {}

  add (line: string): void {
    this.lines++
    this.write?.(line)
    this.#waiting += `${line}\n`
    if (this.#waiting.length > 1 << 14) this.#flush()
    this.#last[this.lines % lastMax] = line
  }

  /** Of all lines so far, in hex. */
  hash (): string {
    this.#flush()
    return this.#hash.copy().digest('hex')
  }

  /** The latest lines, oldest first. */
  last (): string[] {
    const next = (this.lines + 1) % lastMax
    return [...this.#last.slice(next), ...this.#last.slice(0, next)].filter(line => line !== undefined)
  }

  #flush (): void {
    this.#hash.update(this.#waiting)
    this.#waiting = ''
  }
}
