import { kind } from '../../ledger/embedded/keys.js'
import { keyBytesMax, type TableName } from './tables.js'

/* The keys of FIELD, TABLE and POSITION rows: see ledger/embedded/keys.ts. */

const tableIds = { presence: 1, routing: 2, nodes: 3, connections: 4 } as const satisfies Record<TableName, number>
export const tableNames = Object.keys(tableIds) as TableName[]
/** Generations are counted round. */
export const generationsMax = 0x10000

/** A row's key without the field: as text with one character per byte, so that a Map finds it. */
export function prefixOf (
  table: TableName, generation: number, partition: number, { key, field }: { key: string, field: string }
): string {
  const bytes = Buffer.byteLength(key)
  if (bytes > keyBytesMax || Buffer.byteLength(field) > keyBytesMax) {
    throw new RangeError(`${table}: got a key of ${bytes} and a field of ${Buffer.byteLength(field)} bytes, ` +
      `want at most ${keyBytesMax} each`)
  }
  const prefix = Buffer.alloc(namesAt + bytes)
  tablePrefix(kind.field, table, generation).copy(prefix)
  prefix.writeUInt16BE(partition, 4)
  prefix.writeUInt16BE(bytes, 6)
  prefix.write(key, namesAt)
  return prefix.toString('latin1')
}

const namesAt = 8

/** What all rows of one partition begin with. */
export function partitionPrefix (table: TableName, generation: number, partition: number): Buffer {
  const prefix = Buffer.alloc(6)
  tablePrefix(kind.field, table, generation).copy(prefix)
  prefix.writeUInt16BE(partition, 4)
  return prefix
}

export function prefixIn (row: Buffer): string { return row.toString('latin1', 0, namesAt + row.readUInt16BE(6)) }

export function namesIn (prefix: string): { partition: number, key: string } {
  const bytes = Buffer.from(prefix, 'latin1')
  return { partition: bytes.readUInt16BE(4), key: bytes.toString('utf8', namesAt) }
}

export function positionKey (table: TableName, generation: number, partition: number): string {
  const key = Buffer.alloc(6)
  tablePrefix(kind.position, table, generation).copy(key)
  key.writeUInt16BE(partition, 4)
  return key.toString('latin1')
}

/** What the positions of all partitions begin with. */
export function positionsOf (table: TableName, generation: number): string {
  return tablePrefix(kind.position, table, generation).toString('latin1')
}

export function tablePrefix (of: number, table: TableName, generation: number): Buffer {
  return Buffer.from([of, tableIds[table], generation >> 8, generation & 0xff])
}

export function tableKey (table: TableName): Buffer { return Buffer.from([kind.table, tableIds[table]]) }

/** The first key behind all that begin with `prefix`. Kinds are small, so there always is one. */
export function after (prefix: Buffer): Buffer {
  const next = Buffer.from(prefix)
  let at = next.length - 1
  while (next[at] === 0xff) at--
  next[at]!++
  return next.subarray(0, at + 1)
}
