import { reasonOf } from './client-error.js'
import { within } from './clock.js'
import type { Clock } from './clock.js'
import type { ConnectionEnd } from './connection.js'
import type { ClientOptions } from './options.js'
import { boundedWait, waitMsMax } from './waits.js'

/** An application that does not come up with a token for so long is asked again. */
const answerMsMax = 30_000

/** The frame that carries it has to fit the smallest bound that a server has. */
const lengthMax = 16_384

/** A token is renewed when so much of its time is over, less up to the second part; and so long before its end. */
const refreshPart = 0.8
const refreshSpread = 0.1
const refreshBeforeMs = 10_000

/** With less time left, the end of the token comes first. */
const refreshMsMin = 1_000

export interface TokensOptions {
  readonly clock: Clock
  readonly random: () => number
  readonly getToken: ClientOptions['getToken']
  /** A fresh one is there, for the open connection. */
  readonly renewed: (token: string) => void
  /** The application says that there will be none. */
  readonly gaveUp: (reason: string) => void
}

/** Why there is no token; an attempt ends for it as a connection does. */
export class NoToken extends Error {
  readonly end: Pick<ConnectionEnd, 'code' | 'terminal' | 'retryAfterMs'>

  constructor (thrown: unknown) {
    super(reasonOf(thrown))
    const { name, retryAfterMs } = (thrown ?? {}) as { name?: unknown, retryAfterMs?: unknown }
    this.end = { code: 'no-token', terminal: name === 'GiveUp', retryAfterMs: boundedWait(retryAfterMs) }
  }
}

/** Gets tokens from the application, and a new one for the open connection before the old one expires. */
export class Tokens {
  readonly #options: TokensOptions
  #current = ''
  /** When it expires, by the clock of this client, which need not know the time of day; Infinity for never. */
  #expiresAtMs = Infinity
  /** What the server's time of day is ahead of `clock.nowMs`. */
  #serverAheadMs = 0
  #cancel = () => {}

  constructor (options: TokensOptions) {
    this.#options = options
  }

  /** @param isExpired a fresh one is wanted. @throws NoToken */
  async ask (isExpired: boolean): Promise<string> {
    const { clock, getToken } = this.#options
    try {
      const token: unknown = await within(answerMsMax, (async () => await getToken({ isExpired }))(), clock)
      const trimmed = typeof token === 'string' ? token.trim() : ''
      // A page of HTML is none. What else may be wrong with it the server says better.
      if (/^[ -;=-~]+$/.test(trimmed) && trimmed.length <= lengthMax) return trimmed
      throw new TypeError(`getToken: got ${shown(token)}, want a JWT`)
    } catch (thrown) {
      throw new NoToken(thrown)
    }
  }

  /** A connection is open with `token`. */
  begin (token: string, serverTimeMs: number): void {
    this.#current = token
    this.#serverAheadMs = serverTimeMs - this.#options.clock.nowMs()
    const { exp } = claimsOf(token) ?? {}
    this.accepted(typeof exp === 'number' ? 1000 * exp : 0)
  }

  /** The server has taken the token in use for one until then, by its time of day; 0 for ever. */
  accepted (expiresAtMs: number): void {
    this.#expiresAtMs = expiresAtMs > 0 ? expiresAtMs - this.#serverAheadMs : Infinity
    this.#schedule()
  }

  /** No connection is open: a token that is still to come is of no use. */
  stop (): void {
    this.#current = ''
    this.#cancel()
  }

  #schedule (): void {
    const { clock, random } = this.#options
    this.#cancel()
    const leftMs = this.#expiresAtMs - clock.nowMs()
    if (leftMs === Infinity || leftMs < refreshMsMin) return
    const part = refreshPart - refreshSpread * random()
    this.#renewAt(clock.nowMs() + Math.max(Math.min(part * leftMs, leftMs - refreshBeforeMs), leftMs / 2))
  }

  /** In steps, for it may be further away than a timer can be set. */
  #renewAt (atMs: number): void {
    const { clock } = this.#options
    const waitMs = atMs - clock.nowMs()
    this.#cancel = clock.after(boundedWait(waitMs), () => waitMs > waitMsMax ? this.#renewAt(atMs) : this.#renew())
  }

  /** Where there is no newer one yet it is asked for again, in ever shorter times. */
  async #renew (): Promise<void> {
    const old = this.#current
    this.#schedule()
    try {
      // Whoever caches tokens has the old one: it is as good as expired.
      const token = await this.ask(true)
      if (old !== this.#current || token === old) return
      this.#current = token
      this.#options.renewed(token)
    } catch (err) {
      if ((err as NoToken).end.terminal) this.#options.gaveUp((err as NoToken).message)
    }
  }
}

/** Whether it is a JWT, as far as its form goes: `bad-token` is no last word on anything else. */
export function isJwt (token: string): boolean {
  return claimsOf(token) !== undefined
}

/** What it says of itself, unchecked; undefined where it is no JWT. */
function claimsOf (token: string): { readonly exp?: unknown } | undefined {
  const [, claims] = /^[\w-]+\.([\w-]+)\.[\w-]*$/.exec(token) ?? []
  try {
    return Object(JSON.parse(atob(claims!.replace(/-/g, '+').replace(/_/g, '/'))))
  } catch {
    return undefined
  }
}

function shown (value: unknown): string {
  return typeof value === 'string' ? `"${value.slice(0, 40)}" of ${value.length} characters` : value === null ? 'null' : typeof value
}
