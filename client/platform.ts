import type { Transport, TransportHandlers } from './transport.js'

export type Encoding = 'avro' | 'json'

/** What is different in a browser and in Node. */
export interface Platform {
  openTransport (to: Address, encoding: Encoding, handlers: TransportHandlers): Promise<Transport>
  /** @throws Error where there is no JSON to be had within that time */
  getJson (to: Address, withinMs: number): Promise<unknown>
  /**
   * Tells when the network may have changed: it is back, or the machine or the page is awake again.
   *
   * @returns what ends that
   */
  watchNetwork (changed: (isBack: boolean) => void, page: PageEvents): () => void
}

/** A browser may keep a page that was left asleep, for when its user comes back (the back/forward cache). */
export interface PageEvents {
  /** It was left: what keeps it from sleeping is to be let go of. */
  readonly sleep: () => void
  readonly wake: () => void
}

/** A URL and, where the application resolved its host name itself, the IP address to use for it. */
export interface Address {
  readonly url: string
  readonly ip?: string
}

/*
  URLs are cut as text: React Native's URL takes no changes.
    URL => SCHEME "://" [USER "@"] HOST [":" PORT] PATH? QUERY? FRAGMENT?
*/

/** For platforms that can't connect to one host in the name of another. */
export function urlByIp ({ url, ip }: Address): string {
  if (ip === undefined) return url
  return url.replace(/^(\w+:\/\/(?:[^/?#]*@)?)(?:\[.*?\]|[^/?#:]*)/, (_all, before) => before + (ip.includes(':') ? `[${ip}]` : ip))
}

/** A frame over WebSocket: the path is `/v1/connect` where the URL names none. */
export function webSocketUrl (url: string): string {
  return url.replace(/^(\w+:\/\/[^/?#]*)\/?(?=[?#]|$)/, '$1/v1/connect')
}

/** With its port. */
export function hostOf (url: string): string {
  return url.replace(/^\w+:\/\/([^/?#]*).*$/s, '$1')
}

export function withQuery (url: string, parameters: Record<string, string>): string {
  const query = Object.entries(parameters).map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&')
  const [, target, fragment] = /^([^#]*)(.*)$/s.exec(url)!
  return `${target}${target!.includes('?') ? '&' : '?'}${query}${fragment}`
}
