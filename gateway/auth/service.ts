import { randomUUID } from 'node:crypto'
import { Pool } from 'undici'
import { type Circuit, CircuitBreaker } from '../../ledger/circuit.js'
import type { Health } from '../../schemas/conditions.js'
import { GatewayError } from '../../schemas/errors.js'
import { utf8Bytes } from '../../schemas/text.js'
import { retryAfterMs } from '../webhooks/retry-after.js'
import { signed } from '../webhooks/signature.js'
import { textWithin } from '../webhooks/text-within.js'
import { type Allowed, type AuthAnswer, answerOf, type AuthQuestion, type Refused } from './answer.js'
import { AuthCache, cacheKey } from './cache.js'
import type { AuthSetting } from './setting.js'
import { Turns } from './turns.js'

export interface AuthTimes {
  /** For a whole answer. With the wait for its turn it is below the handshake deadline. */
  readonly timeoutMs: number
  /** For the turn of a question. */
  readonly waitMs: number
  /** Of the circuit: the first wait, and the longest. */
  readonly retryMs: number
  readonly retryMaxMs: number
}

export const authTimes: AuthTimes = { timeoutMs: 3_000, waitMs: 3_000, retryMs: 1_000, retryMaxMs: 5_000 }

/** Below the sockets that may be in their handshake, so that those of other issuers have room. */
const waitingMax = 1_024
const waitingBytesMax = 8 << 20

export const answerBytesMax = 64 << 10

/** Questions without an answer, one behind the other, that open the circuit. */
const failuresMax = 5

/** A service that wants to be left alone for longer is asked again after this. */
const retryAfterMsMax = 600_000

export type AuthOutcome = 'allowed' | 'refused' | 'cached' | 'unavailable'

export interface AuthDeps {
  readonly setting: AuthSetting
  readonly version: string
  readonly hasApp: (app: string) => boolean
  readonly health: Health
  /** Of each token. */
  readonly count: (outcome: AuthOutcome) => void
  readonly times?: AuthTimes
}

interface Asked {
  readonly key: string
  readonly body: string
}

/** It did not answer, or said itself that it can't: no matter of the token. */
class Away extends Error {
  constructor (message: string, readonly retryAfterMs = 0) { super(message) }
}

/**
 * Asks a service of business whose a token is. Where it is away, slow or answers nonsense nobody is refused for good:
 * clients come back. No answer of it leads to another address.
 */
export class AuthService {
  readonly #deps: AuthDeps
  readonly #times: AuthTimes
  readonly #pool: Pool
  readonly #cache = new AuthCache()
  readonly #turns: Turns
  readonly #circuit: CircuitBreaker
  /** The last question without an answer, which finds out whether there are answers again; none while there are. */
  #unanswered: Asked | undefined
  /** Asks a question again that had no good answer: nobody else may ask for long, and the trouble be over. */
  #again: NodeJS.Timeout | undefined
  /** Until when it has asked to be left alone, ms of the process. */
  #restsUntilMs = 0
  #stopped = false

  constructor (deps: AuthDeps) {
    const { setting: { url: { origin }, concurrency }, health, times = authTimes } = deps
    const { timeoutMs, waitMs, retryMs, retryMaxMs } = times
    this.#deps = deps
    this.#times = times
    this.#pool = new Pool(origin, {
      connections: concurrency,
      pipelining: 1,
      allowH2: false,
      headersTimeout: 0, // a question has one time, for all of it
      bodyTimeout: 0,
      connect: { timeout: timeoutMs },
    })
    this.#turns = new Turns({ atOnce: concurrency, waitingMax, bytesMax: waitingBytesMax, waitMs })
    this.#circuit = new CircuitBreaker({
      dependency: 'auth',
      failuresMax,
      waitMs: retryMs,
      waitMsMax: retryMaxMs,
      probe: () => this.#probe(),
      away: reason => { health.begin('auth', this.#named(reason)) },
    })
  }

  get circuit (): Circuit { return this.#circuit }

  /**
   * @throws GatewayError with what the service refuses it for; `auth-unavailable` with a wait where it can't be asked,
   *   or its answer can't be taken
   */
  async ask (question: AuthQuestion): Promise<Allowed> {
    const key = cacheKey(question)
    const cached = this.#cache.get(key)
    let answer: AuthAnswer
    try {
      answer = cached ?? await this.#inTurn({ key, body: JSON.stringify(question) })
    } catch (err) {
      this.#deps.count('unavailable')
      throw this.#unavailable(err)
    }
    const { verdict } = answer
    this.#deps.count(cached ? 'cached' : verdict.result === 'allow' ? 'allowed' : 'refused')
    if (verdict.result === 'refuse') throw refusal(verdict)
    return verdict
  }

  /** Questions that are under way fail. */
  stop (): void {
    this.#stopped = true
    clearTimeout(this.#again)
    this.#circuit.stop()
    this.#turns.turnAwayAll(new Error('the node stops'))
    this.#pool.destroy().catch(() => {})
    this.#deps.health.end('auth')
  }

  async #inTurn (asked: Asked): Promise<AuthAnswer> {
    // Who comes last is whose question finds out: one that the service fails at must not stand for all.
    if (this.#circuit.state !== 'closed') this.#unanswered = asked
    this.#circuit.check()
    return await this.#turns.run(utf8Bytes(asked.body), async () => {
      this.#circuit.check() // it may have opened meanwhile: then all who wait are turned away, one behind the other
      return await this.#answered(asked)
    })
  }

  async #probe (): Promise<void> {
    if (this.#restsUntilMs > performance.now()) throw new Error('it has asked to be left alone for a while')
    if (this.#unanswered) await this.#answered(this.#unanswered)
  }

  async #answered (asked: Asked): Promise<AuthAnswer> {
    try {
      const text = await this.#post(asked.body)
      this.#isThere()
      const answer = answerOf(text, this.#deps.hasApp)
      this.#cache.put(asked.key, answer, utf8Bytes(text))
      clearTimeout(this.#again)
      this.#deps.health.end('auth')
      return answer
    } catch (err) {
      if (!this.#stopped) this.#failed(asked, err as Error)
      throw err
    }
  }

  #isThere (): void {
    this.#unanswered = undefined
    this.#circuit.answered()
  }

  /** An answer that can't be taken may be of this token alone: others are asked about all the same. */
  #failed (asked: Asked, err: Error): void {
    this.#deps.health.begin('auth', this.#named(err.message))
    clearTimeout(this.#again)
    if (!(err instanceof Away)) {
      this.#isThere()
      this.#askLater(asked)
      return
    }
    if (this.#circuit.state === 'closed') this.#unanswered = asked
    if (err.retryAfterMs === 0) {
      this.#circuit.unanswered(err)
      if (this.#circuit.state === 'closed') this.#askLater(asked)
      return
    }
    this.#restsUntilMs = performance.now() + Math.min(retryAfterMsMax, err.retryAfterMs)
    this.#circuit.open(err.message)
  }

  #askLater (asked: Asked): void {
    this.#again = setTimeout(() => { this.#answered(asked).catch(() => {}) }, this.#times.retryMaxMs).unref()
  }

  /** @throws Away where there is no answer; Error for one that can't be read */
  async #post (body: string): Promise<string> {
    const { setting: { url: { pathname, search }, secrets }, version } = this.#deps
    const signal = AbortSignal.timeout(this.#times.timeoutMs)
    const headers = {
      'content-type': 'application/json',
      'user-agent': `ledgerline/${version}`,
      ...signed(`auth_${randomUUID()}`, body, secrets, Date.now()),
    }
    try {
      const response = await this.#pool.request({ method: 'POST', path: `${pathname}${search}`, headers, body, signal })
      const { statusCode: status, headers: { 'retry-after': after } } = response
      if (status === 200) {
        const text = await textWithin(response.body, answerBytesMax)
        if (text === undefined) throw new Unfit(`its answer has more than ${answerBytesMax} bytes`)
        return text
      }
      await response.body.dump({ limit: answerBytesMax }).catch(() => {})
      throw unfit(status, typeof after === 'string' ? after : undefined)
    } catch (err) {
      if (signal.aborted) throw new Away(`no answer within ${this.#times.timeoutMs} ms`)
      if (err instanceof Away || err instanceof Unfit) throw err
      throw new Away((err as Error).message || String(err))
    }
  }

  /** They come back once it is known how it is, and not all at once. */
  #unavailable (cause: unknown): GatewayError {
    const restMs = Math.max(0, this.#restsUntilMs - performance.now())
    const waitMs = Math.max(restMs, this.#circuit.retryAfterMs) + this.#times.retryMs * (1 + 4 * Math.random())
    return new GatewayError('auth-unavailable', undefined, { cause, retryAfterMs: Math.ceil(waitMs) })
  }

  /** What is behind the path may be a secret. */
  #named (reason: string): string {
    const { origin, pathname } = this.#deps.setting.url
    return `${origin}${pathname}: ${reason}`
  }
}

/** It has answered, and that is no answer to the question. */
class Unfit extends Error {}

function unfit (status: number, retryAfter: string | undefined): Error {
  const reason = `it answers with ${status}`
  if (status >= 500 || status === 429) return new Away(reason, retryAfterMs(retryAfter, Date.now()))
  return new Unfit(status >= 300 && status < 400 ? `${reason}, and redirects are not followed` : reason)
}

function refusal ({ code, reason, retryAfterMs }: Refused): GatewayError {
  return new GatewayError(code, reason === '' ? undefined : reason, { retryAfterMs })
}
