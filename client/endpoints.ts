import type { Backoff } from './backoff.js'

export interface EndpointsOptions {
  /** URLs of edges, used in turn. */
  readonly endpoints?: readonly string[] | undefined
  /** URL of a gateway's ip-config, such as `https://gateway.example.com/v1/ip-config`; instead of `endpoints`. */
  readonly ipConfig?: string | undefined
  readonly transport: 'ws' | 'tcp'
  readonly region: string
}

/** What to connect to: the next one each time, a new list once the list is used up (protocol.md 3, Reconnecting). */
export class Endpoints {
  readonly #options: EndpointsOptions
  readonly #backoff: Backoff
  #known: readonly string[]
  #left: string[] = []

  constructor (options: EndpointsOptions, backoff: Backoff) {
    this.#options = options
    this.#backoff = backoff
    this.#known = options.endpoints ?? []
  }

  /** @throws Error when ip-config cannot be reached and there never was a list */
  async next (): Promise<string> {
    if (this.#left.length === 0) this.#left = [...await this.#list()]
    const endpoint = this.#left.shift()
    if (endpoint === undefined) throw new Error('ip-config knows no endpoint')
    return endpoint
  }

  /** A server said where to go instead: that first. */
  prefer (endpoints: readonly string[]): void {
    this.#left = [...endpoints]
  }

  async #list (): Promise<readonly string[]> {
    const { ipConfig, transport, region } = this.#options
    if (ipConfig === undefined) return this.#known
    try {
      const url = new URL(ipConfig)
      url.searchParams.set('transport', transport)
      if (region !== '') url.searchParams.set('region', region)
      const response = await fetch(url, { signal: AbortSignal.timeout(10_000) })
      if (!response.ok) throw new Error(`ip-config answered ${response.status}`)
      const { endpoints, backoff } = await response.json() as IpConfig
      this.#backoff.baseMs = backoff.baseMs
      this.#backoff.capMs = backoff.capMs
      this.#known = endpoints
    } catch (err) {
      if (this.#known.length === 0) throw err
    }
    return this.#known // the last good one while ip-config is away
  }
}

interface IpConfig {
  readonly endpoints: readonly string[]
  readonly backoff: { readonly baseMs: number, readonly capMs: number }
}
