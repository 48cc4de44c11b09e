import type { Cluster, Redis } from 'ioredis'
import type { Change } from '../ledger/changelog.js'
import { newGeneration } from './snapshots-redis-replace.js'
import { parseField, type Scripts } from './snapshots-redis-scripts.js'

interface Place {
  keyOf (partition: number): string
  readonly identity: string
  readonly callBytesMax: number
}

/** What makes a whole partition anew, or reads it whole. */
export interface Copyable {
  /**
   * Puts all that `changes` come to in the place of what is stored, in one step at their end, unless somebody else has
   * written there meanwhile. Whoever owned the partition meets `SnapshotsLost`.
   *
   * @param next the checkpoint of it
   */
  fill (partition: number, next: bigint, changes: AsyncIterable<Change>): Promise<void>

  /** Every field of a state, heads and parts, at least once each and in no order. */
  fields (partition: number): AsyncIterable<Change>
}

const fieldsPerStep = 250
/** A draft that nobody goes on with. */
const draftMs = 600_000

export function redisCopies (
  redis: Redis | Cluster, scripts: Scripts, { keyOf, identity, callBytesMax }: Place
): Copyable {
  return {
    async fill (partition, next, changes) {
      const generation = newGeneration()
      const before = await redis.hmget(keyOf(partition), 'generation', 'next')
      const draft = `${keyOf(partition)}:draft:${generation}`
      let puts = new Map<string, Change>()
      let bytes = 0
      const flush = async () => {
        const put = [...puts.values()].flatMap(({ key, value }) => value ? [key, value] : [])
        const gone = [...puts.values()].flatMap(({ key, value }) => value ? [] : [key])
        if (put.length > 0) await redis.hset(draft, ...put)
        if (gone.length > 0) await redis.hdel(draft, ...gone as unknown as string[])
        await redis.pexpire(draft, draftMs)
        puts = new Map()
        bytes = 0
      }
      for await (const change of changes) {
        puts.set(change.key.toString('latin1'), change)
        bytes += change.key.length + (change.value?.length ?? 0)
        if (bytes >= callBytesMax) await flush()
      }
      if (puts.size > 0) await flush()
      await scripts.snapshotsAdopt(keyOf(partition), draft, [
        identity, generation, `${next}`, ...before.map(value => value ?? ''),
      ])
    },

    async * fields (partition) {
      for (let cursor = '0'; ;) {
        const [next, found] = await redis.hscanBuffer(keyOf(partition), cursor, 'COUNT', fieldsPerStep)
        for (let i = 0; i < found.length; i += 2) {
          if (parseField(found[i]!)) yield { key: found[i]!, value: found[i + 1]! }
        }
        cursor = next.toString()
        if (cursor === '0') return
      }
    },
  }
}
