/*
  Which pages may use the gateway: one rule for the upgrades of WebSockets and for CORS.

  A browser says with a request of which origin its page is (RFC 6454, 7). Clients that are no browsers say nothing, and
  could say anything: the rule keeps out no attacker but one in somebody else's browser.
*/

type Scheme = 'http' | 'https'

/** What is asked of a request. */
export interface OfOrigin {
  /** The header; undefined where the request has none, as those of no browser. */
  readonly origin: string | undefined
  /** What the client took the gateway for, with its port; from the header `host`. */
  readonly host: string
  /** What the client spoke; undefined where nobody knows whether it spoke TLS to somebody in front. */
  readonly scheme: Scheme | undefined
}

export type OriginRule = (request: OfOrigin) => boolean

/** The form of `SCHEME://HOST[:PORT]` in a header; a page without an origin of its own says `null`. */
const originRegExp = /^[a-z][a-z\d+.-]*:\/\/[^\s/\\?#@,*]+$/

const patternRegExp = /^([a-z][a-z\d+.-]*:\/\/)(\*\.)?([^\s/\\?#@,*]+)$/i

export const originsWanted = 'comma-separated origins such as https://app.example.com or https://*.example.com, without a ' +
  'path, or "*" for all'

/**
 * @param text an exact origin, one with `*.` for any host below the rest of it, or `*`
 * @returns it as browsers write it; undefined where it is none of these
 */
export function originPattern (text: string): string | undefined {
  if (text === '*') return text
  const [, scheme, star = '', rest] = patternRegExp.exec(text) ?? []
  if (scheme === undefined || /^wss?:/i.test(scheme) || !URL.canParse(`${scheme}${rest}`)) return undefined
  const { protocol, host, hostname } = new URL(`${scheme}${rest}`)
  // `*.com` would be half of the world, and addresses have nothing below them.
  if (star !== '' && !/\.(?!\d+$)[^.]+$/.test(hostname)) return undefined
  return `${protocol}//${star}${host}`
}

/**
 * Requests without an origin always pass, and so does the gateway's own: apps in React Native name that.
 *
 * @param patterns see `originPattern`; undefined for those of this machine
 * @param publicUrl what clients reach the gateway by, where a proxy names another host
 */
export function originRule (patterns: readonly string[] | undefined, publicUrl?: string): OriginRule {
  const own = publicUrl === undefined ? undefined : new URL(publicUrl.replace(/^ws/, 'http')).origin
  const isAllowed = patterns === undefined ? isLocal : oneOf(patterns)
  return ({ origin, host, scheme }) => {
    if (origin === undefined) return true
    if (!originRegExp.test(origin)) return origin === 'null' && patterns !== undefined && patterns.includes('*')
    return origin === own || isAllowed(origin) || isOwnOrigin(origin, host, scheme)
  }
}

function oneOf (patterns: readonly string[]): (origin: string) => boolean {
  if (patterns.includes('*')) return () => true
  const exact = new Set(patterns)
  const wildcards = patterns.filter(pattern => pattern.includes('*')).map(pattern => pattern.split('*') as [string, string])
  return origin => exact.has(origin) || wildcards.some(([scheme, domain]) =>
    origin.startsWith(scheme) && origin.endsWith(domain) && origin.length > scheme.length + domain.length)
}

/** No page of the network has an origin on this machine. */
function isLocal (origin: string): boolean {
  return URL.canParse(origin) && isLocalHost(new URL(origin).hostname)
}

/** @param hostname as `URL` has it */
export function isLocalHost (hostname: string): boolean {
  return hostname === 'localhost' || hostname.endsWith('.localhost') || hostname === '[::1]' ||
    /^127\.\d+\.\d+\.\d+$/.test(hostname)
}

/**
 * Whether a page is of the very origin that it asks.
 *
 * @param host, scheme as in `OfOrigin`
 */
export function isOwnOrigin (origin: string, host: string, scheme: Scheme | undefined): boolean {
  if (scheme === undefined ? !/^https?:/.test(origin) : !origin.startsWith(`${scheme}:`)) return false
  const own = `${origin.slice(0, origin.indexOf('/'))}//${host.toLowerCase()}`
  return originRegExp.test(own) && URL.canParse(own) && new URL(own).origin === origin
}
