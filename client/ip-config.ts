import { addressesOf } from './endpoints.js'
import type { EndpointsOptions } from './endpoints.js'
import { hostOf, withQuery } from './platform.js'
import type { Platform } from './platform.js'
import { boundedWait } from './waits.js'
import type { RefusedError } from './waits.js'

export interface IpConfig {
  /** What to connect to, best first; at least one. */
  readonly endpoints: readonly string[]
  /** How long the list may be used. */
  readonly ttlMs: number
  readonly backoff: { readonly baseMs: number, readonly capMs: number }
}

export interface IpConfigOptions {
  /** URLs of ip-config, by name or by address, asked in turn until one answers. */
  readonly urls: readonly string[]
  readonly transport: 'ws' | 'tcp'
  readonly region: string
  readonly resolve?: EndpointsOptions['resolve']
  readonly getJson: Platform['getJson']
}

const answerMsMax = 5_000

/** @returns what asks ip-config; it rejects with what the last URL said when none has an answer */
export function ipConfigOf ({ urls, transport, region, resolve, getJson }: IpConfigOptions): () => Promise<IpConfig> {
  /** The one that answered last is asked first. */
  let first = 0
  return async () => {
    let failure: unknown
    for (let i = 0; i < urls.length; i++) {
      const index = (first + i) % urls.length
      const url = withQuery(urls[index]!, { transport, ...region === '' ? {} : { region } })
      for (const address of await addressesOf(url, resolve)) {
        try {
          const config = checked(await getJson(address, answerMsMax))
          first = index
          return config
        } catch (cause) {
          const { message, retryAfterMs } = cause as Error & Partial<RefusedError>
          const refused = new Error(`ip-config at ${address.ip ?? hostOf(url)}: ${message}`, { cause })
          failure = Object.assign(refused, { retryAfterMs })
        }
      }
    }
    throw failure
  }
}

function checked (answer: unknown): IpConfig {
  const { endpoints, ttlMs, backoff } = answer as Partial<IpConfig>
  if (!Array.isArray(endpoints) || !endpoints.every(each => typeof each === 'string')) throw new Error('not an ip-config')
  if (endpoints.length === 0) throw new Error('it knows no endpoint')
  const baseMs = boundedWait(backoff?.baseMs, 1000)
  return {
    endpoints,
    ttlMs: boundedWait(ttlMs, 60_000, 1000),
    backoff: { baseMs, capMs: boundedWait(backoff?.capMs, 60_000, baseMs) },
  }
}
