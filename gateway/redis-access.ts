import { redisUrl } from './redis-url.js'
import { exactlyOneOf, renewedFile } from './secret-file.js'
import { ConfigError } from './setting.js'
import type { StoreConfig } from './store-settings.js'
import { type ClientTls, clientTls } from './tls-files.js'

/** What it takes to be let in by Redis, besides its URL. */
export interface RedisAccess {
  readonly tls?: ClientTls
  readonly username?: string
  readonly password?: string
  /** To the sentinels; none where they are left out. */
  readonly sentinelUsername?: string
  readonly sentinelPassword?: string
}

/** @throws ConfigError where settings contradict each other, or a file does not hold what it should */
export function redisAccess (config: StoreConfig): RedisAccess {
  const url = config.redisUrl === undefined ? undefined : redisUrl(config.redisUrl)
  const tls = tlsOf(config, url?.tls ?? false)
  const password = passwordOf(config, ['redisPassword', 'redisPasswordFile'])
  const sentinelPassword = passwordOf(config, ['redisSentinelPassword', 'redisSentinelPasswordFile'])
  const { redisUsername: username, redisSentinelUsername: sentinelUsername } = config
  if (url?.password !== undefined && password !== undefined) {
    throw new ConfigError('REDIS_URL and REDIS_PASSWORD: got a password in both, want one of them')
  }
  if (url?.username !== undefined && username !== undefined) {
    throw new ConfigError('REDIS_URL and REDIS_USERNAME: got a user in both, want one of them')
  }
  if (username !== undefined && password === undefined && url?.password === undefined) {
    throw new ConfigError('REDIS_PASSWORD: got nothing, want that of REDIS_USERNAME')
  }
  if (sentinelUsername !== undefined && sentinelPassword === undefined) {
    throw new ConfigError('REDIS_SENTINEL_PASSWORD: got nothing, want that of REDIS_SENTINEL_USERNAME')
  }
  if ((sentinelPassword !== undefined) && url !== undefined && url.kind !== 'sentinel') {
    throw new ConfigError('REDIS_SENTINEL_PASSWORD: of no use without redis+sentinel:// in REDIS_URL')
  }
  return given({ tls, username, password, sentinelUsername, sentinelPassword })
}

function tlsOf (config: StoreConfig, isTls: boolean): ClientTls | undefined {
  const { redisSslCaFile: caFile, redisSslCertFile: certFile, redisSslKeyFile: keyFile } = config
  const { redisSslKeyPassword: keyPassword, redisSslServerName: serverName } = config
  if (isTls) return clientTls({ prefix: 'REDIS_SSL', caFile, certFile, keyFile, keyPassword, serverName })
  if (config.redisUrl !== undefined && [caFile, certFile, keyFile, serverName].some(value => value !== undefined)) {
    throw new ConfigError('REDIS_URL: got a URL without TLS, want one that begins with rediss, for REDIS_SSL_... is set')
  }
  return undefined
}

function passwordOf (
  config: StoreConfig, keys: readonly ['redisPassword' | 'redisSentinelPassword', keyof StoreConfig]
): string | undefined {
  if (keys.every(key => config[key] === undefined)) return undefined
  exactlyOneOf(config, keys)
  const [plain, file] = keys
  return config[plain] ?? renewedFile(file, config)()
}

function given (access: { [K in keyof RedisAccess]: RedisAccess[K] | undefined }): RedisAccess {
  return Object.fromEntries(Object.entries(access).filter(([, value]) => value !== undefined))
}
