import { type CountName, countNames, hasZerosForUnknown, isUncounted } from '../../schemas/counts.js'
import { userOf } from '../../schemas/apps.js'
import type { ConnectionEnded } from '../../schemas/records.js'

/** A record as it is shown and exported; its other fields are those of its stream. */
export interface HistoryRow {
  /** Within the app. */
  readonly userId: string
  /** Absent for the default one. */
  readonly app?: string
}

type NullableName = CountName | 'roundTripMs'

/** A connection that ended: a number that nobody knows is null. */
export type ConnectionRow =
  & Omit<ConnectionEnded, NullableName | 'userId'>
  & HistoryRow
  & { readonly [name in NullableName]: number | null }

export const nullableNames: ReadonlySet<string> = new Set<NullableName>([...countNames, 'roundTripMs'])

/** Of a record of any version. */
export function connectionRow (record: ConnectionEnded): ConnectionRow {
  return countsOf(withAppApart(record))
}

/** Of a record that has its user's key. */
export function withAppApart<T extends { readonly userId: string }> (record: T): T & HistoryRow {
  const { app, userId } = userOf(record.userId)
  return app === '' ? record : { ...record, userId, app }
}

function countsOf (record: ConnectionEnded & HistoryRow): ConnectionRow {
  // An end that is told by the connection's edge lacks nothing, but for the acks of one that crashed.
  if (record.framesIn > 0 && record.ackedSeq >= 0) return record
  const zerosToo = hasZerosForUnknown(record)
  const row: { -readonly [name in keyof ConnectionRow]: ConnectionRow[name] } = { ...record }
  for (const name of countNames) if (zerosToo || record[name] < 0) row[name] = null
  if (isUncounted(record)) row.roundTripMs = null
  return row
}
