import { createHash } from 'node:crypto'
import type { AuthAnswer, AuthQuestion } from './answer.js'

/** What an answer takes beside its text. */
const overheadBytes = 512

export const cacheLimits = { answersMax: 20_000, bytesMax: 16 << 20 }

interface CachedAnswer {
  readonly answer: AuthAnswer
  readonly bytes: number
  /** Of the process. */
  readonly endsAtMs: number
}

/** Answers that may stand for later questions. Those that were put in first make room. No token is in it. */
export class AuthCache {
  readonly #answers = new Map<string, CachedAnswer>()
  readonly #limits: typeof cacheLimits
  #bytes = 0

  constructor (limits = cacheLimits) { this.#limits = limits }

  get size (): number { return this.#answers.size }

  /** @returns undefined where it is to be asked */
  get (key: string): AuthAnswer | undefined {
    const found = this.#answers.get(key)
    if (found === undefined) return undefined
    if (performance.now() < found.endsAtMs) return found.answer
    this.#delete(key, found)
    return undefined
  }

  /** @param textBytes of the answer as it came */
  put (key: string, answer: AuthAnswer, textBytes: number): void {
    const before = this.#answers.get(key)
    if (before) this.#delete(key, before)
    if (answer.cacheMs === 0) return
    const bytes = textBytes + overheadBytes
    this.#answers.set(key, { answer, bytes, endsAtMs: performance.now() + answer.cacheMs })
    this.#bytes += bytes
    for (const [oldest, found] of this.#answers) {
      if (this.#answers.size <= this.#limits.answersMax && this.#bytes <= this.#limits.bytesMax) return
      this.#delete(oldest, found)
    }
  }

  #delete (key: string, { bytes }: CachedAnswer): void {
    this.#answers.delete(key)
    this.#bytes -= bytes
  }
}

/** A token is of somebody on his device: with another one it is another question. */
export function cacheKey ({ token, deviceId }: AuthQuestion): string {
  return createHash('sha256').update(JSON.stringify([token, deviceId])).digest('base64')
}
