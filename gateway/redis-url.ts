/** What `REDIS_URL` says. */
export interface ParsedRedisUrl {
  readonly kind: 'single' | 'cluster' | 'sentinel'
  /** The server, some nodes of the cluster, or the sentinels. */
  readonly nodes: readonly RedisNode[]
  readonly tls: boolean
  readonly username: string | undefined
  readonly password: string | undefined
  /** 0 in a cluster. */
  readonly db: number
  /** What the sentinels call the master; undefined without sentinels. */
  readonly masterName: string | undefined
}

export interface RedisNode { readonly host: string, readonly port: number }

/*
  URL      => SCHEME "://" [[USER] ":" PASSWORD "@"] HOST *("," HOST) ["/" MASTER] ["/" DB]
    SCHEME => "redis" / "rediss", then "" / "+cluster" / "+sentinel"; several hosts without either are a cluster
    HOST   => name, IPv4 or "[" IPv6 "]", then [":" PORT]; 6379, for sentinels 26379
    MASTER => with "+sentinel" only, and always
    DB     => not in a cluster
*/
const urlPattern = /^(rediss?)(\+cluster|\+sentinel)?:\/\/(?:(.*)@)?([^/?#@]+)((?:\/[^/?#]+){0,2})\/?$/
const hostPattern = /^(?:([\w.-]+)|\[([\da-fA-F:.]+)\])(?::(\d{1,5}))?$/

/** @returns undefined where `text` is no URL of a Redis, a Redis Cluster or a Redis under Sentinel */
export function redisUrl (text: string): ParsedRedisUrl | undefined {
  const match = urlPattern.exec(text)
  if (!match) return undefined
  const [, scheme, variant, userinfo, hosts, path] = match
  const kind = variant === '+sentinel' ? 'sentinel' : variant || hosts!.includes(',') ? 'cluster' : 'single'
  const nodes = hosts!.split(',').map(host => nodeOf(host, kind === 'sentinel' ? 26379 : 6379))
  const segments = decoded(path!.split('/').slice(1))
  const login = loginOf(userinfo)
  if (!segments || !login || nodes.includes(undefined)) return undefined
  const masterName = kind === 'sentinel' ? segments.shift() : undefined
  const db = segments.shift() ?? '0'
  if ((kind === 'sentinel' && !masterName) || segments.length > 0 || !/^\d{1,5}$/.test(db)) return undefined
  if (kind === 'cluster' && db !== '0') return undefined
  return { kind, nodes: nodes as RedisNode[], tls: scheme === 'rediss', ...login, db: Number(db), masterName }
}

function nodeOf (text: string, defaultPort: number): RedisNode | undefined {
  const match = hostPattern.exec(text)
  const port = Number(match?.[3] ?? defaultPort)
  return match && port > 0 && port < 65_536 ? { host: (match[1] ?? match[2])!, port } : undefined
}

/** `redis://secret@host` would be a user without a password, which nobody means: it is refused. */
function loginOf (userinfo = ':'): { username: string | undefined, password: string | undefined } | undefined {
  const colon = userinfo.indexOf(':')
  const parts = colon < 0 ? undefined : decoded([userinfo.slice(0, colon), userinfo.slice(colon + 1)])
  return parts && { username: parts[0] || undefined, password: parts[1] || undefined }
}

function decoded (parts: string[]): string[] | undefined {
  try {
    return parts.map(decodeURIComponent)
  } catch {
    return undefined
  }
}

/** The hosts of a URL, without user and password; for messages. */
export function redisNames (url: string): string {
  return (redisUrl(url)?.nodes ?? [])
    .map(({ host, port }) => host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`).join(',')
}
