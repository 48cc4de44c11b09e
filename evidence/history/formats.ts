import { avro } from './avro.js'
import type { HistoryEncoder } from './encoder.js'
import { csv, ndjson } from './text.js'

export const historyFormats = ['ndjson', 'csv', 'avro', 'parquet'] as const
export type HistoryFormat = typeof historyFormats[number]

/** Binary ones are not for a terminal. */
export const binaryFormats: readonly HistoryFormat[] = ['avro', 'parquet']

export async function historyEncoder (format: HistoryFormat): Promise<HistoryEncoder> {
  switch (format) {
    case 'ndjson': return ndjson()
    case 'csv': return csv()
    case 'avro': return avro()
    // Loaded here alone: its library is of no use to any other command.
    case 'parquet': return (await import('./parquet.js')).parquet()
  }
}
