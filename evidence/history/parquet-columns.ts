import type { SchemaElement } from 'hyparquet'
import type { ColumnSource } from 'hyparquet-writer'
import type { Column } from './columns.js'
import type { HistoryRow } from './row.js'

/**
 * Rows of a row group, which is what memory holds of a file. So few that most of their values need not be moved by the
 * garbage collector: with 20,000 an export takes a fifth longer, with 5,000 a file gets 2 % larger.
 */
export const groupRows = 10_000

/** A column of a file, with its values of the row group that is being filled. */
export interface ParquetColumn {
  /** Of the file's schema: the column, and what is within it. */
  readonly elements: readonly SchemaElement[]
  take (row: HistoryRow, at: number): void
  source (rows: number): ColumnSource
}

/** What is another one in most rows. */
const distinctNames: ReadonlySet<string> = new Set([
  'userId', 'connectionId', 'deviceId', 'sessionId', 'address', 'resumedFrom', 'messageId',
])

/** A time has no unit in its name, for it has a type. */
export function parquetColumn ({ name, kind, isNullable, of }: Column): ParquetColumn {
  switch (kind) {
    case 'text': return distinctNames.has(name) ? distinct(name, of) : repeated(name, of)
    case 'int': return int(name, isNullable, of)
    case 'long': return /(^a|A)tMs$/.test(name) ? time(name.slice(0, -'Ms'.length), of) : long(name, isNullable, of)
    case 'boolean': return boolean(name, of)
    case 'bytes': return bytes(name, of)
    case 'texts': return texts(name, of)
  }
}

const text = { type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'REQUIRED' } as const

/** Text that is the same in many rows: a dictionary. */
function repeated (name: string, of: (row: HistoryRow) => string): ParquetColumn {
  const values: string[] = []
  return {
    elements: [{ name, ...text }],
    take (row, at) { values[at] = of(row) },
    source: rows => ({ name, data: values.slice(0, rows), statistics: false }),
  }
}

/** Text that differs from row to row: looking for a dictionary would cost more than writing it. */
function distinct (name: string, of: (row: HistoryRow) => string): ParquetColumn {
  const values: string[] = []
  return {
    elements: [{ name, ...text }],
    take (row, at) { values[at] = of(row) },
    source: rows =>
      ({ name, data: utf8(values.slice(0, rows)), encoding: 'DELTA_LENGTH_BYTE_ARRAY', statistics: false }),
  }
}

function long (name: string, isNullable: boolean, of: (row: HistoryRow) => number | null): ParquetColumn {
  const values = new Float64Array(groupRows) // with NaN for null
  return {
    elements: [{ name, type: 'INT64', repetition_type: isNullable ? 'OPTIONAL' : 'REQUIRED' }],
    take (row, at) { values[at] = of(row) ?? NaN },
    source: rows => ({ name, data: bigints(values, rows), encoding: 'DELTA_BINARY_PACKED', statistics: false }),
  }
}

/** With its least and greatest in the file, so that a query for a while reads no other row groups. */
function time (name: string, of: (row: HistoryRow) => number): ParquetColumn {
  const { take, source } = long(name, false, of)
  return {
    elements: [{ name, type: 'INT64', converted_type: 'TIMESTAMP_MILLIS', repetition_type: 'REQUIRED' }],
    take,
    source: rows => ({ ...source(rows), statistics: true }),
  }
}

function int (name: string, isNullable: boolean, of: (row: HistoryRow) => number | null): ParquetColumn {
  const values: (number | null)[] = []
  return {
    elements: [{ name, type: 'INT32', repetition_type: isNullable ? 'OPTIONAL' : 'REQUIRED' }],
    take (row, at) { values[at] = of(row) },
    source: rows => ({ name, data: values.slice(0, rows), encoding: 'DELTA_BINARY_PACKED', statistics: false }),
  }
}

function boolean (name: string, of: (row: HistoryRow) => boolean): ParquetColumn {
  const values: boolean[] = []
  return {
    elements: [{ name, type: 'BOOLEAN', repetition_type: 'REQUIRED' }],
    take (row, at) { values[at] = of(row) },
    source: rows => ({ name, data: values.slice(0, rows), statistics: false }),
  }
}

/** Copies: a value is a part of its block, and would keep all of that in memory. */
function bytes (name: string, of: (row: HistoryRow) => Uint8Array): ParquetColumn {
  const values: Uint8Array[] = []
  return {
    elements: [{ name, type: 'BYTE_ARRAY', repetition_type: 'REQUIRED' }],
    take (row, at) { values[at] = Uint8Array.from(of(row)) },
    source: rows => ({ name, data: values.splice(0, rows), encoding: 'DELTA_LENGTH_BYTE_ARRAY', statistics: false }),
  }
}

/** A list of three levels, as all readers want it. */
function texts (name: string, of: (row: HistoryRow) => readonly string[]): ParquetColumn {
  const values: (readonly string[])[] = []
  return {
    elements: [
      { name, converted_type: 'LIST', repetition_type: 'REQUIRED', num_children: 1 },
      { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
      { name: 'element', ...text },
    ],
    take (row, at) { values[at] = of(row) },
    source: rows => ({ name, data: values.slice(0, rows), statistics: false }),
  }
}

/** Encoded at once: a call for each value would be a third of the cost of a file. */
function utf8 (texts: readonly string[]): Uint8Array[] {
  const all = texts.join('')
  const bytes = Buffer.from(all)
  if (bytes.length !== all.length) return texts.map(text => Buffer.from(text)) // not ASCII alone
  let end = 0
  return texts.map(({ length }) => {
    const start = end
    end += length
    return bytes.subarray(start, end)
  })
}

/** Most counts are small, and a bigint of its own for each would be work for the garbage collector. */
const small = Array.from({ length: 4096 }, (_, value) => BigInt(value))

function bigints (values: Float64Array, count: number): (bigint | null)[] {
  const data = new Array<bigint | null>(count)
  for (let i = 0; i < count; i++) {
    const value = values[i]!
    if (value >= 0 && value < small.length) data[i] = small[value]!
    else if (Number.isNaN(value)) data[i] = null
    else data[i] = i > 0 && value === values[i - 1] ? data[i - 1]! : BigInt(value)
  }
  return data
}
