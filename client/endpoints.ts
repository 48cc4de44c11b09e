import { systemClock, within } from './clock.js'
import type { IpConfig } from './ip-config.js'
import type { Address } from './platform.js'

export interface EndpointsOptions {
  /** URLs of edges, used in turn. */
  readonly endpoints?: readonly string[] | undefined
  /** Asks ip-config; instead of `endpoints`. */
  readonly ipConfig?: (() => Promise<IpConfig>) | undefined
  /** IP addresses to try in place of a host name, and the name itself after them. */
  readonly resolve?: ((host: string) => readonly string[] | Promise<readonly string[]>) | undefined
  /** Monotonic. */
  readonly nowMs: () => number
  /** A list came from ip-config. */
  readonly learned?: (config: IpConfig) => void
}

/** An application that has no address for a host by then has none. */
const resolveMsMax = 5_000

/** What to connect to: the next one each time, a new list once the list is used up (protocol.md 3, Reconnecting). */
export class Endpoints {
  readonly #options: EndpointsOptions
  #known: readonly string[]
  #staleAtMs = -Infinity
  #left: string[] = []
  /** Of the one that was taken last, those not tried yet. */
  #addresses: Address[] = []

  constructor (options: EndpointsOptions) {
    this.#options = options
    this.#known = options.endpoints ?? []
  }

  /** The last good list of an earlier run, for as long as ip-config is away. */
  restore (endpoints: readonly string[]): void {
    if (this.#known.length === 0) this.#known = endpoints
  }

  /** @throws Error when ip-config cannot be reached and there never was a list */
  async next (): Promise<Address> {
    if (this.#addresses.length === 0) {
      if (this.#left.length === 0 || this.#options.nowMs() >= this.#staleAtMs) await this.#renew()
      const url = this.#left.shift()
      if (url === undefined) throw new Error('there is no endpoint')
      this.#addresses = await addressesOf(url, this.#options.resolve)
    }
    return this.#addresses.shift()!
  }

  /** A server said where to go instead: that first, and a new list after it. None: a new list at once. */
  prefer (endpoints: readonly string[]): void {
    this.#staleAtMs = Infinity
    this.#left = [...endpoints]
    this.#addresses = []
  }

  async #renew (): Promise<void> {
    const { ipConfig, nowMs, learned } = this.#options
    this.#staleAtMs = Infinity
    try {
      if (ipConfig) {
        const config = await ipConfig()
        this.#known = config.endpoints
        this.#staleAtMs = nowMs() + config.ttlMs
        learned?.(config)
      }
    } catch (err) {
      if (this.#known.length === 0) throw err
    }
    this.#left = [...this.#known] // the last good one while ip-config is away
  }
}

/** Where `url` is to be had: by each address that the application has for its host, and by its name at last. */
export async function addressesOf (url: string, resolve: EndpointsOptions['resolve']): Promise<Address[]> {
  const byName = { url }
  if (resolve === undefined) return [byName]
  try {
    const ips = await within(resolveMsMax, resolve(new URL(url).hostname), systemClock)
    return [...ips.filter(ip => typeof ip === 'string' && ip !== '').map(ip => ({ url, ip })), byName]
  } catch {
    return [byName] // it may still be found by name
  }
}
