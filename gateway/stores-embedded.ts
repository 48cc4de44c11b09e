import { readdirSync } from 'node:fs'
import type { Logger } from 'pino'
import { localLinks } from '../actors/links.js'
import { embeddedSnapshots } from '../actors/snapshots-embedded.js'
import type { RebuildableSnapshots } from '../actors/snapshots.js'
import { embeddedLog } from '../ledger/embedded/log.js'
import { openStore } from '../ledger/embedded/store.js'
import { embeddedTables } from '../projections/tables/embedded.js'
import type { TableName, Tables } from '../projections/tables/tables.js'
import { connections, ledger, nodes, uplinks } from '../schemas/streams.js'
import type { Config } from './config.js'
import type { Stores } from './stores.js'

/** What keeps the ledger from being deleted until it holds it. */
const ledgerTables: readonly TableName[] = ['presence', 'routing', 'connections']

/**
 * Everything in one LMDB environment in the data directory.
 *
 * @throws StoreError when the directory can't be used
 */
export async function openEmbeddedStores (config: Config, logger: Logger): Promise<Stores> {
  const store = await openStore({ directory: config.dataDir, neighbours: secretFiles(config.dataDir) })
  try {
    const { retentionMs, retentionBytes } = config
    const retention = { retentionMs: retentionMs || undefined, retentionBytes: retentionBytes || undefined }
    const snapshots = embeddedSnapshots(store)
    const tables = embeddedTables(store)
    const log = embeddedLog(store, {
      partitions: config.partitions,
      streams: {
        [ledger.name]: { ...retention, keepFrom: partition => needed(partition, snapshots, tables) },
        [uplinks.name]: retention,
        [connections.name]: retention,
        [nodes.name]: retention,
      },
      onDamage: damage => { logger.error(damage, 'a stored block was set aside') },
      onFollowerError: (error, where) => { logger.error({ err: error, ...where }, 'a follower failed') },
    })
    return {
      log,
      tables,
      snapshots,
      links: localLinks(),
      shared: false,
      groups: () => [], // nobody but this process writes here, so nothing waits in `downlinks`
      commitSeconds: () => store.metrics.commitMs / 1000,
      stopping: () => { store.stopping() },
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

/** The first offset of a ledger partition that a snapshot or a table has yet to take in. */
async function needed (partition: number, snapshots: RebuildableSnapshots, tables: Tables): Promise<bigint> {
  const nexts = await Promise.all([
    snapshots.savedTo(partition),
    ...ledgerTables.map(async table => (await tables.position(table, partition)).next),
  ])
  return nexts.reduce((a, b) => a < b ? a : b)
}
