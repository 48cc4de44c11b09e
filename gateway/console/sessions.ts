import { randomBytes } from 'node:crypto'
import type { ApiKeys, Caller } from '../keys/api-keys.js'
import { digestOf } from '../keys/key-file.js'

/** How long somebody stays signed in: a shift. */
export const sessionMs = 8 * 3_600_000

/** Who signs in past it ends the session that began first. */
export const sessionsMax = 256

interface Session {
  readonly caller: Caller
  readonly expiresAtMs: number
}

/**
 * Who is signed in to the console of this node. They are in memory alone: a node that starts again has none. Tokens are
 * kept as digests, so that what reads this memory can't sign in with them.
 */
export class ConsoleSessions {
  /** By digest of the token, in the order in which they began, which is that of their ends. */
  readonly #sessions = new Map<string, Session>()

  constructor (readonly apiKeys: ApiKeys, readonly nowMs: () => number = Date.now) {}

  get size (): number { return this.#sessions.size }

  /** @returns the token that the cookie holds; 256 bits of chance */
  begin (caller: Caller): { token: string, expiresAtMs: number } {
    const token = randomBytes(32).toString('base64url')
    const expiresAtMs = this.nowMs() + sessionMs
    this.#forget()
    this.#sessions.set(nameOf(token), { caller, expiresAtMs })
    this.apiKeys.cutStale()
    return { token, expiresAtMs }
  }

  /**
   * @returns who signed in, with what the key may do now; undefined where the session has ended, or its key is no
   *   longer good
   */
  find (token: string): { caller: Caller, expiresAtMs: number } | undefined {
    const session = this.#sessions.get(nameOf(token))
    if (session === undefined || session.expiresAtMs <= this.nowMs()) return undefined
    const caller = this.apiKeys.current(session.caller)
    return caller?.scopes.includes('operate') ? { caller, expiresAtMs: session.expiresAtMs } : undefined
  }

  /** Answers that go on end with it. */
  end (token: string): void {
    this.#sessions.delete(nameOf(token))
    this.apiKeys.cutStale()
  }

  /** Those that have ended, and makes room for one. */
  #forget (): void {
    for (const [digest, { expiresAtMs }] of this.#sessions) {
      if (expiresAtMs > this.nowMs() && this.#sessions.size < sessionsMax) break
      this.#sessions.delete(digest)
    }
  }
}

/** The token itself is kept nowhere. */
function nameOf (token: string): string { return digestOf(token).toString('base64') }
