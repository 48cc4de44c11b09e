import { readFileSync } from 'node:fs'
import type { Logger } from 'pino'
import { Apps, appsIn } from '../apps.js'
import { Backups } from '../backups.js'
import type { Closers } from '../closers.js'
import type { Config } from '../config.js'
import { HealthRegistry } from '../health.js'
import { tokenIssuers } from '../issuers.js'
import { ApiKeys } from '../keys/api-keys.js'
import { KeyFiles } from '../keys/key-files.js'
import { checkKeyFile } from '../keys/watched-file.js'
import { GatewayMetrics } from '../metrics.js'
import { identify, type NodeIdentity } from '../node.js'
import { checkPorts } from '../ports.js'
import { ensureSecrets } from '../secrets.js'
import { ServerTls } from '../server-tls.js'
import { SetAsides } from '../set-asides.js'
import type { LogObserver, Stores } from '../stores.js'
import { openEmbeddedStores } from '../stores-embedded.js'

/** Opens what a node keeps everything in: by default its data directory, or Kafka and Redis, as it is configured. */
export type OpenStores = (
  config: Config, logger: Logger, health: HealthRegistry, observer: LogObserver
) => Promise<Stores>

/** What the roles of a node stand on. */
export interface Base {
  /** With the secrets that it was given, or that were generated for it. */
  readonly config: Config
  /** Of this build, as package.json has it. */
  readonly version: string
  readonly identity: NodeIdentity
  readonly stores: Stores
  readonly backups: Backups
  readonly apps: Apps
  readonly apiKeys: ApiKeys
  readonly keyFiles: KeyFiles
  /** Undefined without a certificate. */
  readonly tls: ServerTls | undefined
  readonly logger: Logger
  readonly metrics: GatewayMetrics
  readonly health: HealthRegistry
  readonly asides: SetAsides
  readonly closers: Closers
  /** Adds a line to the log: something went wrong that heals by itself or by a restart. */
  failed (what: string, error: Error, fields: object): void
}

/**
 * Checks what can be checked before anything is written, opens the stores, and makes the secrets that are missing.
 *
 * @throws as `startNode`
 */
export async function openBase (given: Config, logger: Logger, open: OpenStores, closers: Closers): Promise<Base> {
  const failed = (what: string, error: Error, fields: object) => { logger.error({ err: error, ...fields }, what) }
  const metrics = new GatewayMetrics(version)
  const health = new HealthRegistry(logger)
  closers.add(() => { health.stop() })
  const tls = ServerTls.of(given, health, {
    failed (listener, err) {
      metrics.tlsFailed(listener)
      logger.debug({ err }, 'a client did not get through TLS')
    },
  })
  closers.add(() => { tls?.stop() })
  const apps = new Apps(appsIn(given.apps, tokenIssuers(given), given.authUrl !== undefined))
  for (const file of apps.keyFiles(given.apiKeysFile)) checkKeyFile(file)
  await checkPorts(given)
  const stores = await open(given, logger, health, metrics.log)
  closers.add(() => stores.close())
  const backups = new Backups(stores.backUp, failed)
  closers.add(() => backups.idle())
  closers.signal.addEventListener('abort', () => { stores.stopping() })
  closers.add(health.watch('ledger', () => stores.log.health().reason))
  closers.add(health.watch('disk', () => stores.slowDisk()))
  closers.add(health.watch('redis-latency', () => stores.slowRedis()))
  closers.add(health.watch('clock', () => stores.clockOff()))
  const config = await ensureSecrets(given) // not before: a start that fails leaves nothing behind
  const apiKeys = new ApiKeys(
    config.apiKeys, Date.now, apps.all, given.apiKeys.length > 0 ? 'environment' : 'data-directory')
  const keyFiles = new KeyFiles(apiKeys, health)
  closers.add(() => { keyFiles.stop() })
  keyFiles.use(apps.keyFiles(given.apiKeysFile))
  apps.onChange(() => {
    apiKeys.useApps(apps.all)
    keyFiles.use(apps.keyFiles(given.apiKeysFile))
  })
  const { log, tables } = stores
  const identity = await identify(config.nodeId, log, tables)
  const asides = new SetAsides({ log, metrics, logger })
  return {
    config,
    version,
    identity,
    stores,
    backups,
    apps,
    apiKeys,
    keyFiles,
    tls,
    logger,
    metrics,
    health,
    asides,
    closers,
    failed,
  }
}

export async function openStores (
  config: Config, logger: Logger, health: HealthRegistry, observer: LogObserver
): Promise<Stores> {
  if (config.kafkaBrokers.length === 0) return await openEmbeddedStores(config, logger, observer)
  // An embedded node needs neither kafkajs nor ioredis.
  const { openClusterStores } = await import('../stores-cluster.js')
  return await openClusterStores(config, logger, health, observer)
}

const packageJson = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')
const { version } = JSON.parse(packageJson) as { version: string }
