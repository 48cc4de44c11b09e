import type { AvroSchema } from '../../schemas/single-object.js'
import { type HistoryRow, nullableNames } from './row.js'

/** A field of a stream's schema, as its exports have it. */
export interface Column {
  readonly name: string
  readonly kind: 'text' | 'int' | 'long' | 'boolean' | 'bytes' | 'texts'
  /** Of text that is one of these alone. */
  readonly symbols?: readonly string[]
  readonly isNullable: boolean
  /** What a row has there, of the column's kind. */
  of (row: HistoryRow): any
}

interface Field {
  readonly name: string
  readonly type: 'string' | 'int' | 'long' | 'boolean' | 'bytes' | Enum | ArrayOfStrings
}
interface Enum { readonly type: 'enum', readonly symbols: readonly string[] }
interface ArrayOfStrings { readonly type: 'array', readonly items: 'string' }

/** In the order of the schema. */
export function columnsOf (schema: AvroSchema): Column[] {
  return fieldsOf(schema).map(({ name, type }) => ({
    name,
    ...kindOf(type),
    isNullable: nullableNames.has(name),
    of: row => (row as unknown as Record<string, unknown>)[name] ?? (name === 'app' ? '' : null),
  }))
}

/** That of the stream, but that what nobody knows is null. */
export function exportedSchema (schema: AvroSchema): object {
  const fields = fieldsOf(schema).map(field =>
    nullableNames.has(field.name) ? { ...field, type: ['null', field.type], default: null } : field)
  return { ...schema as object, fields }
}

function fieldsOf (schema: AvroSchema): readonly Field[] {
  return (schema as unknown as { readonly fields: readonly Field[] }).fields
}

function kindOf (type: Field['type']): Pick<Column, 'kind' | 'symbols'> {
  if (type === 'string') return { kind: 'text' }
  if (typeof type === 'string') return { kind: type }
  return type.type === 'enum' ? { kind: 'text', symbols: type.symbols } : { kind: 'texts' }
}
