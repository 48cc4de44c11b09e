import { setTimeout as delay } from 'node:timers/promises'
import type { Cluster, Redis } from 'ioredis'
import type { TableKeys } from './redis-keys.js'
import { scanKeys } from './redis-scan.js'
import type { TableName } from './tables.js'

/**
 * Removes what generations that were given up have left behind: one pass over all keys of the table, with a pause after
 * each step. Generations are never used again, so one whose table does not know it, asked after its key was seen, is
 * garbage for good. One that is being filled is known, for its position is written with its first rows.
 *
 * @throws when `signal` is aborted
 */
export async function sweep (
  redis: Redis | Cluster, keys: TableKeys, table: TableName, pauseMs: number, signal: AbortSignal
): Promise<void> {
  for await (const step of scanKeys(redis, keys, table)) {
    signal.throwIfAborted()
    for (const { slice, generation, names } of step) {
      const known = await redis.hexists(keys.meta(slice), `next:${generation}`)
      if (!known) await redis.unlink(names)
    }
    await delay(pauseMs, undefined, { signal, ref: false })
  }
}
