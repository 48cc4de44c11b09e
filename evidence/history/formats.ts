import { avro } from './avro.js'
import type { HistoryEncoder } from './encoder.js'
import type { HistoryStream } from './streams.js'
import { csv, ndjson } from './text.js'

export const historyFormats = ['ndjson', 'csv', 'avro', 'parquet'] as const
export type HistoryFormat = typeof historyFormats[number]

/** Binary ones are not for a terminal. */
export const binaryFormats: readonly HistoryFormat[] = ['avro', 'parquet']

export async function historyEncoder (format: HistoryFormat, history: HistoryStream): Promise<HistoryEncoder> {
  switch (format) {
    case 'ndjson': return ndjson(history)
    case 'csv': return csv(history)
    case 'avro': return avro(history)
    // Loaded here alone: its library is of no use to any other command.
    case 'parquet': return (await import('./parquet.js')).parquet(history)
  }
}
