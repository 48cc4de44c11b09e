import { readdirSync } from 'node:fs'
import type { Logger } from 'pino'
import { localLinks } from '../actors/links.js'
import { embeddedSnapshots } from '../actors/snapshots-embedded.js'
import type { RebuildableSnapshots } from '../actors/snapshots.js'
import { backUp } from '../ledger/embedded/backup.js'
import { embeddedLog } from '../ledger/embedded/log.js'
import type { Retention } from '../ledger/embedded/retention.js'
import { openStore, type Store } from '../ledger/embedded/store.js'
import { streams } from '../ledger/streams.js'
import { embeddedTables } from '../projections/tables/embedded.js'
import type { Tables } from '../projections/tables/tables.js'
import { ledger, nodes, rooms } from '../schemas/streams.js'
import type { Config } from './config.js'
import { streamBytesMax } from './disk-share.js'
import { neededFrom } from './ledger-needs.js'
import type { LogObserver, Stores } from './stores.js'

/** A commit that takes as long is worth a word: an ordinary one takes less than 10 ms. */
const slowMs = 2_000

/**
 * Everything in one LMDB environment in the data directory.
 *
 * @throws StoreError when the directory can't be used
 */
export async function openEmbeddedStores (
  config: Config, logger: Logger, observer?: LogObserver
): Promise<Stores> {
  const { dataDir } = config
  const store = await openStore({ directory: dataDir, neighbours: secretFiles(dataDir), timings: observer })
  return {
    ...await embeddedStores(store, config, logger, observer),
    backUp: (directory, options) => backUp({ env: store.env, path: dataDir }, directory, options),
  }
}

/** @param store closed with them, and where they can't be opened */
export async function embeddedStores (
  store: Store, config: Config, logger: Logger, observer?: LogObserver
): Promise<Stores> {
  try {
    const snapshots = embeddedSnapshots(store)
    const roomSnapshots = embeddedSnapshots(store, 'rooms')
    const tables = embeddedTables(store)
    const bytesMax = streamBytesMax(config.retentionBytes, config.dataDir)
    const retentionOf = (name: string) =>
      ({ retentionMs: config.retentionMs || undefined, retentionBytes: bytesMax(name) })
    const settings = streams.map(({ name }) => [name, {
      ...retentionOf(name),
      partitions: config.partitions,
      ...keptFor(name, snapshots, roomSnapshots, tables),
    }] as const)
    const log = embeddedLog(store, {
      partitions: config.partitions,
      streams: Object.fromEntries(settings),
      rejected: retentionOf('.rejected'),
      timings: observer,
      onDamage (damage) {
        logger.error(damage, 'a stored block was set aside')
        observer?.rejected(damage.stream)
      },
      onFollowerError: (error, where) => { logger.error({ err: error, ...where }, 'a follower failed') },
    })
    return {
      log,
      tables,
      snapshots,
      roomSnapshots,
      links: localLinks(),
      shared: false,
      bytesMax,
      standing: () => [],
      logAway: () => '',
      usersAway: () => '',
      circuits: () => [],
      groupPlaces: log.groupPlaces,
      groups: () => [], // nobody but this process writes here, so nothing waits in `downlinks`
      commits: () => store.metrics.commits,
      slowRedis: () => '',
      clockOff: () => '',
      slowDisk: () => store.commitMs() < slowMs ? '' : `a commit to ${config.dataDir} takes longer than ${slowMs / 1000} s`,
      stopping: () => { store.stopping() },
      async delivered () {}, // the commit itself hands it over
      async close () {
        await log.close()
        await store.close()
      },
    }
  } catch (err) {
    await store.close()
    throw err
  }
}

/** Secrets in the data directory, and drafts of them that a crash left behind. */
function secretFiles (dataDir: string): string[] {
  try {
    return readdirSync(dataDir).filter(name => /^(jwt-secret|api-key)(\.|$)/.test(name))
  } catch {
    return [] // opening the store says what is wrong with the directory
  }
}

/** What keeps blocks of a stream from being deleted, whatever their age: nothing, where only outsiders read it. */
function keptFor (
  name: string, snapshots: RebuildableSnapshots, roomSnapshots: RebuildableSnapshots, tables: Tables
): Pick<Retention, 'keepFrom'> {
  if (name === rooms.name) return { keepFrom: partition => roomSnapshots.savedTo(partition) }
  if (name === nodes.name) return { keepFrom: async partition => (await tables.position('nodes', partition)).next }
  if (name !== ledger.name) return {}
  return {
    async keepFrom (partition) {
      return (await neededFrom(partition, await snapshots.savedTo(partition), tables)).next
    },
  }
}
