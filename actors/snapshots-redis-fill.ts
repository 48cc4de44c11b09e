import type { Cluster, Redis } from 'ioredis'
import type { Change } from '../ledger/changelog.js'
import { GatewayError } from '../schemas/errors.js'
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
   * @throws GatewayError `not-ready` somebody else has written there, or the draft was lost: nothing has changed
   */
  fill (partition: number, next: bigint, changes: AsyncIterable<Change>): Promise<void>

  /**
   * Every field of a state, heads and parts, at least once each and in no order.
   *
   * @throws GatewayError `not-ready` at the end, where what is stored is no longer what it was at the beginning
   */
  fields (partition: number): AsyncIterable<Change>
}

const fieldsPerStep = 250
/** A draft that nobody goes on with. */
const draftMs = 600_000

export function redisCopies (
  redis: Redis | Cluster, scripts: Scripts, { keyOf, identity, callBytesMax }: Place
): Copyable {
  /** Generation and checkpoint, empty where there is none. */
  async function placeOf (partition: number): Promise<string[]> {
    const place = await redis.hmget(keyOf(partition), 'generation', 'next')
    return place.map(value => value ?? '')
  }

  return {
    async fill (partition, next, changes) {
      const generation = newGeneration()
      const before = await placeOf(partition)
      const draft = `${keyOf(partition)}:draft:${generation}`
      let puts = new Map<string, Change>()
      let bytes = 0
      let flushes = 0
      const flush = async () => {
        const put = [...puts.values()].flatMap(({ key, value }) => value ? [key, value] : [])
        const gone = [...puts.values()].flatMap(({ key, value }) => value ? [] : [key])
        const argv = [`${flushes}`, `${++flushes}`, `${draftMs}`, `${put.length}`, ...put, ...gone]
        if (await scripts.snapshotsDraft(draft, argv) === 0) throw changed(partition)
        puts = new Map()
        bytes = 0
      }
      for await (const change of changes) {
        puts.set(change.key.toString('latin1'), change)
        bytes += change.key.length + (change.value?.length ?? 0)
        if (bytes >= callBytesMax) await flush()
      }
      if (puts.size > 0) await flush()
      const argv = [identity, generation, `${next}`, ...before, `${flushes}`]
      if (await scripts.snapshotsAdopt(keyOf(partition), draft, argv) === 0) throw changed(partition)
    },

    async * fields (partition) {
      const before = await placeOf(partition)
      for (let cursor = '0'; ;) {
        const [next, found] = await redis.hscanBuffer(keyOf(partition), cursor, 'COUNT', fieldsPerStep)
        for (let i = 0; i < found.length; i += 2) {
          if (parseField(found[i]!)) yield { key: found[i]!, value: found[i + 1]! }
        }
        cursor = next.toString()
        if (cursor === '0') break
      }
      if (`${await placeOf(partition)}` !== `${before}`) throw changed(partition)
    },
  }
}

/** The draft was lost with a part of what it had, or the states have changed under whoever copies them. */
function changed (partition: number): GatewayError {
  return new GatewayError('not-ready', `Redis: the states of partition ${partition} have changed while they were copied`)
}
