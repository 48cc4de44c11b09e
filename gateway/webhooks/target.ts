import { Pool } from 'undici'
import { retryAfterMs } from './retry-after.js'
import type { Webhook } from './setting.js'
import { signed } from './signature.js'
import { textWithin } from './text-within.js'

/** What became of one request. */
export type Verdict =
  { readonly type: 'delivered', readonly status: number, readonly answer: string }
  /** The server does not want this record, and never will. */
  | { readonly type: 'refused', readonly status: number, readonly reason: string }
  /** 410: it wants nothing any more. */
  | { readonly type: 'gone', readonly status: number, readonly reason: string }
  | {
    readonly type: 'failed'
    /** 0 where there was no answer. */
    readonly status: number
    readonly reason: string
    readonly retryAfterMs?: number | undefined
    readonly fault: Fault
  }

/**
 * What a failure is about.
 * `server`: there is no connection, or it wants less, whatever is sent.
 * `record`: it works, but does not take this one now.
 * `unclear`: either of the two, such as an error of its own or no answer in time.
 */
export type Fault = 'server' | 'record' | 'unclear'

/** Of an answer that is read; a longer one counts as none. */
export const answerBytesMax = 256 << 10

const connectMsMax = 10_000
/** Answers of 4xx that are not about the record. */
const passing: ReadonlySet<number> = new Set([408, 409, 425, 429])
const overloaded: ReadonlySet<number> = new Set([429, 503])
const tooLong = `its answer has more than ${answerBytesMax} bytes`

/** The server of one webhook. No answer of it leads to any other address: redirects are failures. */
export class Target {
  readonly #webhook: Webhook
  readonly #pool: Pool
  readonly #path: string
  readonly #headers: Readonly<Record<string, string>>

  constructor (webhook: Webhook, version: string) {
    const { url: { origin, pathname, search }, ca, timeoutMs, concurrency } = webhook
    this.#webhook = webhook
    this.#path = `${pathname}${search}`
    this.#headers = { 'content-type': 'application/json', 'user-agent': `ledgerline/${version}` }
    this.#pool = new Pool(origin, {
      connections: concurrency,
      pipelining: 1,
      allowH2: false,
      headersTimeout: 0, // a request has one time, for all of it
      bodyTimeout: 0,
      connect: { timeout: Math.min(connectMsMax, timeoutMs), ...ca === undefined ? {} : { ca } },
    })
  }

  /** Never rejects. */
  async post (id: string, body: string): Promise<Verdict> {
    const { secrets, timeoutMs, reply } = this.#webhook
    const signal = AbortSignal.timeout(timeoutMs)
    try {
      const headers = { ...this.#headers, ...signed(id, body, secrets, Date.now()) }
      const response = await this.#pool.request({ method: 'POST', path: this.#path, headers, body, signal })
      const status = response.statusCode
      const isReply = reply && status === 200
      if (isReply) {
        const answer = await textWithin(response.body, answerBytesMax)
        return answer === undefined
          ? { type: 'failed', status, reason: tooLong, fault: 'record' }
          : { type: 'delivered', status, answer }
      }
      const retryAfter = response.headers['retry-after']
      // A server that sends its status has taken the request, whatever comes of the rest.
      await response.body.dump({ limit: answerBytesMax }).catch(() => {})
      return verdictOf(status, typeof retryAfter === 'string' ? retryAfter : undefined)
    } catch (err) {
      const reason = signal.aborted ? `no answer within ${timeoutMs} ms` : (err as Error).message || String(err)
      return { type: 'failed', status: 0, reason, fault: isUnconnected(err as Error) ? 'server' : 'unclear' }
    }
  }

  /** Requests that are under way fail. */
  close (): Promise<void> { return this.#pool.destroy() }
}

/** No connection came about, which no record can be the cause of. */
function isUnconnected (err: NodeJS.ErrnoException): boolean {
  return err.syscall === 'connect' || err.syscall === 'getaddrinfo' || err.code === 'UND_ERR_CONNECT_TIMEOUT'
}

function verdictOf (status: number, retryAfter: string | undefined): Verdict {
  const reason = `it answers with ${status}`
  if (status >= 200 && status < 300) return { type: 'delivered', status, answer: '' }
  if (status === 410) return { type: 'gone', status, reason }
  if (status >= 400 && status < 500 && !passing.has(status)) return { type: 'refused', status, reason }
  const isRedirect = status >= 300 && status < 400
  return {
    type: 'failed',
    status,
    reason: isRedirect ? `${reason}, and redirects are not followed` : reason,
    retryAfterMs: retryAfterMs(retryAfter, Date.now()),
    fault: overloaded.has(status) ? 'server' : status >= 500 ? 'unclear' : 'record',
  }
}
