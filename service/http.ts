import { request as requestHttp, type IncomingMessage } from 'node:http'
import { request as requestHttps } from 'node:https'
import type { Readable } from 'node:stream'
import { json } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { Backoff } from '../client/backoff.js'
import { errors, isErrorCode } from '../schemas/errors.js'

export interface ServiceOptions {
  /** Of a gateway, or of what balances among several: `https://gateway.example.com`. */
  readonly url: string
  readonly apiKey: string
  /** Whose users, for a key of no app with the scope `admin`; by default those of the key's app. */
  readonly app?: string
  /** How long a request is tried again while no node can serve it, ms; 30,000 by default. */
  readonly retryForMs?: number
}

/** The gateway refuses, or none has answered. */
export class ServiceError extends Error {
  override readonly name = 'ServiceError'

  /**
   * @param code of docs/errors.md; `unreachable` where nobody answered
   * @param status of HTTP; 0 where nobody answered
   */
  constructor (
    readonly code: string, message: string, readonly status: number, readonly retryAfterMs = 0, options?: ErrorOptions
  ) { super(message, options) }

  /** Nothing is wrong with the request: another node, or this one a little later, may take it. */
  get isPassing (): boolean { return this.status === 0 || this.status === 429 || this.status >= 500 }
}

/** Of what an answer says, or one of many, where HTTP has told its status already. */
export function told (code: string, message: string): ServiceError {
  return new ServiceError(code, message, isErrorCode(code) ? errors[code].status ?? 500 : 500)
}

interface Request {
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Readable
  readonly signal?: AbortSignal | undefined
}

const retryForMsDefault = 30_000
/** A reader hears a byte every 15 s. */
const silentMsMax = 60_000

/** Requests to a gateway. */
export class GatewayApi {
  constructor (readonly options: ServiceOptions) {}

  get retryForMs (): number { return this.options.retryForMs ?? retryForMsDefault }

  newBackoff (): Backoff { return new Backoff({ baseMs: 200, capMs: 10_000 }) }

  /** @throws ServiceError for all but 2xx; AbortError where `signal` ends it */
  async open (method: string, path: string, { headers, body, signal }: Request = {}): Promise<IncomingMessage> {
    const { url, apiKey, app } = this.options
    const where = new URL(`${url.replace(/\/$/, '')}${path}`)
    if (app !== undefined) where.searchParams.set('app', app)
    const asking = (where.protocol === 'https:' ? requestHttps : requestHttp)(where, {
      method, signal, headers: { authorization: `Bearer ${apiKey}`, ...headers },
    })
    asking.setTimeout(silentMsMax, () => { asking.destroy(new Error(`nothing came for ${silentMsMax} ms`)) })
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      asking.on('response', resolve)
      asking.on('error', cause => {
        reject(signal?.aborted ? cause : new ServiceError('unreachable', `${url}: ${cause.message}`, 0, 0, { cause }))
      })
      // Its answer tells what is wrong with a body that was not taken to the end.
      if (typeof body === 'object') pipeline(body, asking).catch(() => {})
      else asking.end(body)
    })
    if (response.statusCode! < 300) return response
    throw await refusal(response)
  }

  /**
   * As JSON; again for as long as `retryForMs` while what is wrong may pass.
   *
   * @throws ServiceError; AbortError where `signal` ends it
   */
  async ask<T> (method: string, path: string, body?: object, signal?: AbortSignal): Promise<T> {
    const untilMs = performance.now() + this.retryForMs
    const backoff = this.newBackoff()
    const headers: Record<string, string> = body ? { 'content-type': 'application/json' } : {}
    for (;;) {
      try {
        const response = await this.open(method, path, { headers, body: body && JSON.stringify(body), signal })
        if (response.statusCode !== 204) return await json(response) as T
        response.resume()
        return undefined as T
      } catch (err) {
        const waitMs = this.waitMs(err, backoff)
        if (performance.now() + waitMs > untilMs) throw err
        await sleep(waitMs, undefined, { signal })
      }
    }
  }

  /**
   * How long to wait before the next attempt.
   *
   * @throws err where another attempt is of no use
   */
  waitMs (err: unknown, backoff: Backoff): number {
    if (err instanceof ServiceError && !err.isPassing) throw err
    if (err instanceof Error && err.name === 'AbortError') throw err
    const toldMs = err instanceof ServiceError ? err.retryAfterMs : 0
    return toldMs > 0 ? backoff.toldMs(toldMs) : backoff.nextMs()
  }
}

async function refusal (response: IncomingMessage): Promise<ServiceError> {
  const retryAfterMs = 1_000 * (Number(response.headers['retry-after']) || 0)
  const status = response.statusCode!
  const { code = 'internal', message = `HTTP ${status}` } = await json(response).catch(() => ({})) as {
    code?: string, message?: string
  }
  return new ServiceError(code, message, status, retryAfterMs)
}
