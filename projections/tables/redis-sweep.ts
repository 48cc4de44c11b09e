import { setTimeout as delay } from 'node:timers/promises'
import type { Cluster, Redis } from 'ioredis'
import type { TableKeys } from './redis-keys.js'
import { scanKeys } from './redis-scan.js'
import type { TableScripts } from './redis-scripts.js'
import type { TableName } from './tables.js'

/**
 * Removes what generations that were given up have left behind: one pass over all keys of the table, with a pause after
 * each step. Generations are never used again, so one whose table does not know it, asked after its key was seen, is
 * garbage for good. One that is being filled is known: it is live with its first rows, or a draft before them.
 *
 * @throws when `signal` is aborted
 */
export async function sweep (
  redis: Redis | Cluster, scripts: TableScripts, keys: TableKeys, table: TableName, pauseMs: number, signal: AbortSignal
): Promise<void> {
  for await (const step of scanKeys(redis, keys, table)) {
    signal.throwIfAborted()
    for (const { slice, generation, names } of step) {
      const known = await scripts.generationKnown(1, [keys.meta(slice)], [generation])
      if (!known) await redis.unlink(names)
    }
    await delay(pauseMs, undefined, { signal, ref: false })
  }
}
