import type { Cluster, Redis } from 'ioredis'

/** Redis is there, and does not let us in or is not what we need: what to change, in words. */
export class RedisNotAdmitted extends Error {
  override readonly name = 'RedisNotAdmitted'
  readonly code = 'misconfigured'
}

const untrusted = 'its certificate is not trusted: name that of its CA in REDIS_SSL_CA_FILE'
const wantsCertificate = 'it wants a client certificate that it trusts: see REDIS_SSL_CERT_FILE and REDIS_SSL_KEY_FILE'
const login = 'check user and password in REDIS_URL, or REDIS_USERNAME and REDIS_PASSWORD'
const sentinelLogin = 'check REDIS_SENTINEL_USERNAME and REDIS_SENTINEL_PASSWORD'

/** By code, or by how the answer begins. */
const reasons: ReadonlyArray<readonly [RegExp, string]> = [
  [/SELF_SIGNED|UNABLE_TO_GET_ISSUER|UNABLE_TO_VERIFY|CERT_UNTRUSTED|CERT_SIGNATURE_FAILURE/, untrusted],
  [/CERT_HAS_EXPIRED|CERT_NOT_YET_VALID/, 'its certificate is not valid now, or our clock is wrong'],
  [/ERR_TLS_CERT_ALTNAME_INVALID/,
    'its certificate is for another name: name it in REDIS_URL as its certificate does, or set REDIS_SSL_SERVER_NAME'],
  [/ERR_SSL_(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG)/,
    'it does not speak TLS on this port: begin REDIS_URL with redis, not rediss'],
  [/ERR_SSL_.*ALERT_(CERTIFICATE_REQUIRED|BAD_CERTIFICATE|CERTIFICATE_UNKNOWN|HANDSHAKE_FAILURE|UNKNOWN_CA)/, wantsCertificate],
  [/cluster support disabled/, 'it is no cluster: begin REDIS_URL with redis or rediss, without +cluster'],
  [/^(WRONGPASS|NOAUTH|ERR AUTH|ERR invalid password)/, `it refuses the login: ${login}`],
]

/** @returns what is to be done about an error that comes again at each attempt; undefined for any other */
export function refusalOf (error: Error, where: string): RedisNotAdmitted | undefined {
  // That of a cluster says no more than that no node will do.
  const { code = '', message } = (error as { lastNodeError?: NodeJS.ErrnoException }).lastNodeError ?? error as NodeJS.ErrnoException
  const bySentinel = /All sentinels are unreachable.*Last error: (.*)$/.exec(message)
  const said = bySentinel?.[1] ?? message
  const reason = reasons.find(([pattern]) => pattern.test(code) || pattern.test(said))?.[1]
  if (reason === undefined) return undefined
  const what = bySentinel === null ? reason : reason.replace(login, sentinelLogin)
  return new RedisNotAdmitted(`Redis at ${where}: ${what} (${code || said})`, { cause: error })
}

/**
 * Whether a connection that has been made can be worked with: it leads to a master, and takes what we send.
 *
 * @param prefix of keys and channels
 * @throws RedisNotAdmitted
 */
export async function checkRedis (redis: Redis | Cluster, prefix: string, where: string): Promise<void> {
  const refuse = (what: string, cause: unknown) => {
    throw new RedisNotAdmitted(`Redis at ${where} ${what}`, { cause })
  }
  const { db = 0 } = redis.options as { db?: number }
  try {
    // ioredis goes on with database 0 where there is none of this number.
    if (db > 0) await redis.select(db)
    await redis.set(probeKey(prefix), '', 'PX', 1_000)
    await redis.spublish(`${prefix}:probe`, '')
  } catch (err) {
    const { message } = err as Error
    if (message.includes('DB index is out of range')) refuse(`has no database ${db}: name another one in REDIS_URL`, err)
    if (message.startsWith('READONLY')) refuse('is a replica, which takes no writes: name its master', err)
    if (/^ERR unknown command/i.test(message)) {
      refuse(`has no sharded pub/sub, and is ${await versionOf(redis)}: want Redis 7 or later`, err)
    }
    if (message.startsWith('MOVED')) refuse('is a node of a cluster: begin REDIS_URL with redis+cluster or rediss+cluster', err)
    if (message.startsWith('NOPERM')) refuse(`does not let this user work (${message}): ${grants(prefix)}`, err)
    throw err
  }
}

/** Of a key that is there only to see whether writes are taken. */
export function probeKey (prefix: string): string { return `${prefix}:probe` }

/** The command that gives a user what a node needs, and besides it `more`. */
export function grants (prefix: string, user = 'NAME', more = ''): string {
  const command = `ACL SETUSER ${user} ~${prefix}:* ~{${prefix}.* &${prefix}:* +@all -@admin -@dangerous +info +role`
  return more === '' ? command : `${command} ${more}`
}

async function versionOf (redis: Redis | Cluster): Promise<string> {
  const info = await redis.info('server').catch(() => '')
  return `version ${/redis_version:(\S+)/.exec(info)?.[1] ?? 'that it does not tell'}`
}
