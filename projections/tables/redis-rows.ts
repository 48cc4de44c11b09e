import type { Slice } from './redis-keys.js'
import { hasIndex } from './route-index.js'
import { keyBytesMax, type TableName, type TableWrite } from './tables.js'

/* Rows as they are in Redis, and as their readers have them. */

export type Row = Readonly<{ partition: number, key: string, fields: ReadonlyMap<string, any> }>

/** Small tables whose rows somebody reads all the time: a set has their keys, so they need no SCAN over everybody's. */
export const listed: ReadonlySet<TableName> = new Set(['nodes'])

/** What else the scripts that write rows keep: nothing, a set of the keys, or the index of route-index.ts. */
export function keptBeside (table: TableName): 0 | 1 | 2 { return listed.has(table) ? 1 : hasIndex(table) ? 2 : 0 }

export function * filled ({ partition }: Slice, keys: readonly string[], rows: Array<Map<string, any>>): Iterable<Row> {
  for (const [i, fields] of rows.entries()) if (fields.size > 0) yield { partition, key: keys[i]!, fields }
}

/** @returns the keys of the rows written to, each once, and for each write the place of its row, field and JSON */
export function changesOf (table: TableName, writes: readonly TableWrite[]) {
  const places = new Map<string, number>()
  const changes: Array<string | number> = []
  for (const write of writes) {
    const { key, field } = write
    if (Buffer.byteLength(key) > keyBytesMax || Buffer.byteLength(field) > keyBytesMax) {
      throw new RangeError(`${table}: got a key of ${Buffer.byteLength(key)} and a field of ` +
        `${Buffer.byteLength(field)} bytes, want at most ${keyBytesMax} each`)
    }
    let place = places.get(key)
    if (place === undefined) places.set(key, place = places.size)
    // A value that JSON has no text for is not there, as everywhere in JSON.
    changes.push(place, field, write.type === 'put' ? JSON.stringify(write.value) ?? '' : '')
  }
  return { rows: [...places.keys()], changes }
}

export function fieldsOf (flat: readonly string[]): Map<string, any> {
  const fields = new Map<string, any>()
  for (let i = 0; i < flat.length; i += 2) fields.set(flat[i]!, JSON.parse(flat[i + 1]!))
  return fields
}
