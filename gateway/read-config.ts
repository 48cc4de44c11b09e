import { Apps, appsIn } from './apps.js'
import { authSetting } from './auth/setting.js'
import { type Config, optionalRoles, roles, settings } from './config.js'
import { tokenIssuers } from './issuers.js'
import { kafkaAccess } from './kafka-access.js'
import { portsDiffer } from './ports.js'
import { redisAccess } from './redis-access.js'
import { registryAccess } from './registry-access.js'
import { ConfigError, type Environment, readSetting, type Setting } from './setting.js'
import { type StoreConfig, storeSettings } from './store-settings.js'
import { webhooksIn } from './webhooks/setting.js'

/**
 * @param env variables by name, see `readEnvironment`
 * @param options what the command line said, by variable; wins over `env`
 * @throws ConfigError that names every setting that is not what is wanted, and every two that contradict each other
 */
export function readConfig (env: Environment, options: Environment = {}): Config {
  const { config, faults } = examineConfig(env, options)
  ConfigError.throwAll(faults)
  return config
}

/**
 * @param more checks besides those of a start's beginning
 * @returns what is wrong, and the settings; to read one that is wrong is an error, see `readAll`
 */
export function examineConfig (
  env: Environment, options: Environment, more: readonly Check[] = []
): { readonly config: Config, readonly faults: readonly ConfigError[] } {
  const { values: config, faults } = readAll(settings, env, options)
  return { config, faults: [...faults, ...contradictions(config, [...checks, ...more])] }
}

/**
 * Where the stores are, for commands that read them and have no node.
 *
 * @throws ConfigError
 */
export function readStoreConfig (env: Environment): StoreConfig {
  const { values: config, faults } = readAll<StoreConfig>(storeSettings, env)
  ConfigError.throwAll([...faults, ...contradictions(config, storeChecks)])
  return config
}

/** Stands for a value that could not be read: it was told of already. */
const unreadable = new Error('this setting is wrong')

/** @returns all values; one that is wrong is among the faults, and throws `unreadable` where it is read */
function readAll<T extends object> (
  of: { readonly [K in keyof T]-?: Setting<T[K]> }, env: Environment, options: Environment = {}
): { readonly values: T, readonly faults: readonly ConfigError[] } {
  const values = {}
  const faults: ConfigError[] = []
  for (const key of Object.keys(of) as (keyof T)[]) {
    try {
      const value = readSetting<unknown>(of[key], env, options)
      Object.defineProperty(values, key, { value, enumerable: true, writable: true, configurable: true })
    } catch (err) {
      if (!(err instanceof ConfigError)) throw err
      faults.push(err)
      Object.defineProperty(values, key, { get () { throw unreadable }, enumerable: true })
    }
  }
  return { values: values as T, faults }
}

/** Looks at settings together, or at the files that they name. @throws ConfigError */
type CheckOf<T> = (config: T) => unknown
export type Check = CheckOf<Config>

/** What each check finds; one that needs a setting that is wrong waits until that is mended. */
function contradictions<T> (config: T, checks: ReadonlyArray<CheckOf<T>>): ConfigError[] {
  return checks.flatMap(check => {
    try {
      check(config)
      return []
    } catch (err) {
      if (err === unreadable) return []
      if (err instanceof ConfigError) return [err]
      throw err
    }
  })
}

const storeChecks: ReadonlyArray<CheckOf<StoreConfig>> = [insyncReplicas, kafkaAccess, redisAccess, registryAccess]

const checks: readonly Check[] = [
  appsAndWebhooks, authSetting, openMetrics, portsDiffer, bothStores, everyRole, ...storeChecks,
]

function appsAndWebhooks (config: Config): void {
  const apps = new Apps(appsIn(config.apps, tokenIssuers(config), config.authUrl !== undefined))
  webhooksIn(config.webhooks, app => apps.has(app))
}

function openMetrics ({ metricsOpen, apiPort }: Config): void {
  if (!metricsOpen || apiPort !== undefined) return
  throw new ConfigError('LEDGERLINE_API_PORT: got nothing, want a port, for LEDGERLINE_METRICS_OPEN is set: on the ' +
    'port of clients the metrics are for nobody without a key')
}

function bothStores ({ kafkaBrokers, redisUrl }: Config): void {
  const kafka = kafkaBrokers.length > 0
  const redis = redisUrl !== undefined
  if (kafka && !redis) throw new ConfigError('REDIS_URL: got nothing, want redis://HOST:PORT, for KAFKA_BROKERS is set')
  if (redis && !kafka) throw new ConfigError('KAFKA_BROKERS: got nothing, want HOST:PORT,..., for REDIS_URL is set')
}

function everyRole ({ kafkaBrokers, roles: given }: Config): void {
  if (kafkaBrokers.length > 0 || roles.every(role => optionalRoles.includes(role) || given.includes(role))) return
  throw new ConfigError(`LEDGERLINE_ROLES: got ${given.join(',')}, want all, or all but ` +
    `${optionalRoles.join(' and ')}: without KAFKA_BROKERS one process has every role`)
}

function insyncReplicas (config: StoreConfig): void {
  const { kafkaMinInsyncReplicas: inSync = 1, kafkaReplicationFactor: replicas = inSync } = config
  if (inSync <= replicas) return
  throw new ConfigError(`KAFKA_MIN_INSYNC_REPLICAS: got ${inSync}, want at most ${replicas} (KAFKA_REPLICATION_FACTOR)`)
}
