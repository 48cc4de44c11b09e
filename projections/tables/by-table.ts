import type { RebuildableTables, TableName } from './tables.js'

/** Tables of which some are kept elsewhere, or reached another way, than others. */
export function byTable (tablesOf: (table: TableName) => RebuildableTables): RebuildableTables {
  return {
    get: (table, partition, key) => tablesOf(table).get(table, partition, key),
    scan: (table, partition) => tablesOf(table).scan(table, partition),
    apply: (table, partition, writes, position) => tablesOf(table).apply(table, partition, writes, position),
    position: (table, partition) => tablesOf(table).position(table, partition),
    index: (table, partitions) => tablesOf(table).index(table, partitions),
    draft: table => tablesOf(table).draft(table),
  }
}
