import { type CountName, countNames, hasZerosForUnknown, isUncounted } from '../../schemas/counts.js'
import { userOf } from '../../schemas/apps.js'
import type { ConnectionEnded } from '../../schemas/records.js'

type NullableName = CountName | 'roundTripMs'

/** A connection that ended, as it is shown and exported: a number that nobody knows is null. */
export type HistoryRow =
  & Omit<ConnectionEnded, NullableName | 'userId'>
  & { readonly userId: string, /** Absent for the default one. */ readonly app?: string }
  & { readonly [name in NullableName]: number | null }

export const nullableNames: ReadonlySet<string> = new Set<NullableName>([...countNames, 'roundTripMs'])

/** Of a record as the stream has it, of any version. */
export function rowOf (record: ConnectionEnded): HistoryRow {
  const { app, userId } = userOf(record.userId)
  if (app !== '') return { ...countsOf({ ...record, userId }), app }
  return countsOf(record)
}

function countsOf (record: ConnectionEnded): HistoryRow {
  // An end that is told by the connection's edge lacks nothing, but for the acks of one that crashed.
  if (record.framesIn > 0 && record.ackedSeq >= 0) return record
  const zerosToo = hasZerosForUnknown(record)
  const row: { -readonly [name in keyof HistoryRow]: HistoryRow[name] } = { ...record }
  for (const name of countNames) if (zerosToo || record[name] < 0) row[name] = null
  if (isUncounted(record)) row.roundTripMs = null
  return row
}
