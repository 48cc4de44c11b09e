import type { EventLog } from '../ledger/log.js'
import { ledger } from '../schemas/streams.js'
import { presence } from '../projections/presence.js'
import { routing } from '../projections/routing.js'
import { Runner } from '../projections/runner.js'
import type { RebuildableTables, TableName } from '../projections/tables/tables.js'
import { isIndexRow } from '../projections/tables/route-index.js'
import type { Turns } from './world.js'

/** What follows from the ledger, and what of that is not kept by `connections`. */
const tables: readonly TableName[] = ['presence', 'routing']

/**
 * @param fresh empty
 * @returns where tables that were kept while things went wrong are not what the whole ledger makes of empty ones
 */
export async function tableFaults (
  log: EventLog, live: RebuildableTables, fresh: RebuildableTables, turns: Turns
): Promise<string[]> {
  const faults: string[] = []
  const runner = await Runner.start({
    log,
    stream: ledger,
    group: 'rebuild',
    tables: fresh,
    projections: [presence, routing],
    onPoison: ({ error }) => { faults.push(`an entry can not be projected: ${String(error)}`) },
    onFailed: ({ error }) => { faults.push(`a table could not be written: ${String(error)}`) },
  })
  const ends = await Promise.all(Array.from({ length: log.partitions(ledger) }, async (_, partition) =>
    (await log.bounds(ledger, partition)).next))
  while (runner.lag().some(({ partition, next, blocks }) => next - BigInt(blocks) < ends[partition]!)) {
    await new Promise<void>(resolve => { turns.later(50, 'waits for the tables', resolve) })
  }
  await runner.stop()
  for (const table of tables) {
    const [kept, made] = [await rowsOf(live, table), await rowsOf(fresh, table)]
    for (const key of new Set([...kept.keys(), ...made.keys()])) {
      const [is, shouldBe] = [kept.get(key), made.get(key)]
      if (is === shouldBe) continue
      faults.push(`${table} ${key} is ${is ?? 'not there'}, and the ledger makes ${shouldBe ?? 'nothing'}`)
    }
  }
  return faults
}

/** Fields in the order of their names, as JSON. */
async function rowsOf (from: RebuildableTables, table: TableName): Promise<Map<string, string>> {
  const rows = new Map<string, string>()
  for await (const { partition, key, fields } of from.scan(table)) {
    if (isIndexRow(table, key)) continue
    rows.set(`${partition}/${key}`, JSON.stringify([...fields].sort(([a], [b]) => a < b ? -1 : 1)))
  }
  return rows
}
