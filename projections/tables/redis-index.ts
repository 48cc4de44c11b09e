import { randomUUID } from 'node:crypto'
import type { Cluster, Redis } from 'ioredis'
import type { TableKeys } from './redis-keys.js'
import type { TableReads } from './redis-reads.js'
import { scanKeys } from './redis-scan.js'
import type { TableScripts } from './redis-scripts.js'
import { userPrefix } from './route-index.js'
import type { TableName } from './tables.js'

/*
  The index of a table in Redis (route-index.ts) is kept by the script that writes the rows. Versions before it write
  rows alone, and while a cluster is upgraded a partition goes from one to the other and back. So `index:<generation>`
  says up to where the index was kept: a step that finds it where the position is moves it along. Where the two differ,
  an earlier version was here. The index is then emptied and filled from all rows, and `fill:<generation>` moves along
  in the same way meanwhile: if it is at the position in the end, nothing was missed.
*/

export interface IndexDeps {
  readonly redis: Redis | Cluster
  readonly scripts: TableScripts
  readonly reads: TableReads
  readonly keys: TableKeys
  readonly identity: string
  readonly table: TableName
}

/** Rows that one script reads. */
const rowsPerCall = 100

/** A filling of one partition; `id` tells it from one that another process has begun since. */
interface Filling { readonly generation: string, readonly id: string, goesOn: boolean }

/** @returns those of `partitions` whose index is not whole: an earlier version, or another process, came between */
export async function completeIndex (deps: IndexDeps, partitions: readonly number[]): Promise<readonly number[]> {
  const broken = await withoutIndex(deps, partitions)
  if (broken.size === 0) return []
  await fill(deps, broken)
  return [...(await withoutIndex(deps, [...broken.keys()])).keys()]
}

/** @returns the live generation by partition, where the index does not go with it */
async function withoutIndex (
  { reads, table }: IndexDeps, partitions: readonly number[]
): Promise<Map<number, string>> {
  const broken = new Map<number, string>()
  await Promise.all(partitions.map(async partition => {
    const { live, hasIndex } = await reads.position({ table, partition })
    if (live !== '' && !hasIndex) broken.set(partition, live)
  }))
  return broken
}

/** One walk over all keys of the table, for all of these partitions. */
async function fill (deps: IndexDeps, broken: ReadonlyMap<number, string>): Promise<void> {
  const { redis, scripts, keys, identity, table } = deps
  const fillings = new Map<number, Filling>()
  const argv = ({ generation, id }: Filling) => [identity, generation, id]
  const meta = (partition: number) => keys.meta({ table, partition })
  await Promise.all([...broken].map(async ([partition, generation]) => {
    const filling = { generation, id: randomUUID(), goesOn: true }
    if (await scripts.indexBegin(1, [meta(partition)], argv(filling))) fillings.set(partition, filling)
  }))
  for await (const step of scanKeys(redis, keys, table)) {
    await Promise.all(step.map(async ({ slice: { partition }, generation, names }) => {
      const filling = fillings.get(partition)
      if (filling?.generation !== generation || !filling.goesOn) return
      const users = names.filter(name => name.startsWith(keys.row({ table, partition }, generation, userPrefix)))
      for (let at = 0; filling.goesOn && at < users.length; at += rowsPerCall) {
        const rows = users.slice(at, at + rowsPerCall)
        filling.goesOn = await scripts.indexFill(1 + rows.length, [meta(partition), ...rows], argv(filling)) === 1
      }
    }))
  }
  await Promise.all([...fillings].map(([partition, filling]) =>
    scripts.indexEnd(1, [meta(partition)], argv(filling))))
}
