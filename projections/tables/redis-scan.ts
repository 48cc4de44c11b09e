import { Cluster, type Redis } from 'ioredis'
import type { Slice, TableKeys } from './redis-keys.js'
import type { TableName } from './tables.js'

const keysPerStep = 1000

/** Keys of one generation of one slice. */
export interface FoundKeys {
  readonly slice: Slice
  readonly generation: string
  /** As Redis has them, the list of keys included. */
  readonly names: string[]
  /** Of rows, as the table has them. */
  readonly keys: string[]
}

/**
 * The keys of all generations of a table, step by step, from every master. Each that is there all the while comes at
 * least once; one may come twice when Redis shrinks its dictionary or moves a slot meanwhile.
 *
 * @throws when a master of the cluster is not connected: its part would be missing without a word
 */
export async function * scanKeys (
  redis: Redis | Cluster, keys: TableKeys, table: TableName
): AsyncIterable<FoundKeys[]> {
  for (const master of redis instanceof Cluster ? await masters(redis) : [redis]) {
    let cursor = '0'
    do {
      const [next, names] = await master.scan(cursor, 'MATCH', keys.pattern(table), 'COUNT', keysPerStep)
      cursor = next
      yield grouped(keys, table, names)
    } while (cursor !== '0')
  }
}

function grouped (keys: TableKeys, table: TableName, names: readonly string[]): FoundKeys[] {
  const groups = new Map<string, FoundKeys>()
  for (const name of names) {
    const owned = keys.parse(name)
    if (owned?.table !== table) continue
    const { partition, generation, key } = owned
    const id = `${partition}/${generation}`
    let group = groups.get(id)
    if (!group) groups.set(id, group = { slice: { table, partition }, generation, names: [], keys: [] })
    group.names.push(name)
    if (key !== undefined) group.keys.push(key)
  }
  return [...groups.values()]
}

async function masters (cluster: Cluster): Promise<Redis[]> {
  const slots = await cluster.cluster('SLOTS')
  const wanted = new Set(slots.map(([,, master]) => master?.[2]))
  const covered = slots.reduce((sum, [first, last]) => sum + last - first + 1, 0)
  const found = cluster.nodes('master')
  if (covered < 16_384 || found.length < wanted.size) {
    throw new Error(`the cluster is not whole: ${found.length} of ${wanted.size} masters, ${covered} of 16384 slots`)
  }
  return found
}
