import type { ConnectionEnded, DownlinkHandedOver, DownlinkSettled, PresenceChanged } from '../../schemas/records.js'
import * as published from '../../schemas/streams.js'
import type { RecordStream } from '../../schemas/streams.js'
import { type Column, columnsOf } from './columns.js'
import { connectionRow, type ConnectionRow, type HistoryRow, withAppApart } from './row.js'

/** A stream of users' records that is shown and exported row by row. */
export interface HistoryStream<T extends { readonly userId: string } = any, Row extends HistoryRow = any> {
  readonly stream: RecordStream<T>
  /** One row, in words. */
  readonly unit: string
  readonly columns: readonly Column[]
  rowOf (record: T): Row
  /** When that happened which a record, or its row, tells of: times are asked of it, and it says whose day a row is. */
  atMs (record: T | Row): number
  /** How what it tells of ended; absent where nothing ends. */
  codeOf? (record: T): string
  /** What `codeOf` may be beside a code of schemas/errors.ts. */
  readonly codes?: readonly string[]
  /**
   * For people, without its time.
   *
   * @param who the user, and the device if one is named
   */
  inWords (row: Row, who: string): string
}

export const connectionHistory = of<ConnectionEnded, ConnectionRow>({
  stream: published.connections,
  unit: 'connection',
  rowOf: connectionRow,
  atMs: ({ closedAtMs }) => closedAtMs,
  codeOf: ({ code }) => code,
  inWords (row, who) {
    const { platform, client, transport, address, connectionId, nodeId, openedAtMs, closedAtMs, code, reason } = row
    const program = client === '' ? platform : `${platform}, ${client}`
    const lasted = seconds(closedAtMs - openedAtMs)
    const what = because(code, reason)
    return `${who} (${program})  ${transport} ${address}  ${connectionId}@${nodeId}  ${lasted}  ${what}`
  },
})

const presence = of<PresenceChanged>({
  stream: published.presence,
  unit: 'change',
  rowOf: withAppApart,
  atMs: ({ atMs }) => atMs,
  inWords: ({ platform, change, userChanged, cause, connectionId }, who) =>
    `${who} (${platform})  ${change}${userChanged ? ', and the user with it' : ''}  ${connectionId}  ${cause}`,
})

const receipts = of<DownlinkSettled>({
  stream: published.receipts,
  unit: 'receipt',
  rowOf: withAppApart,
  atMs: ({ settledAtMs }) => settledAtMs,
  codeOf: ({ outcome, reason }) => reason || outcome,
  codes: ['acked'],
  inWords: ({ messageId, service, outcome, reason, requestedAtMs, settledAtMs }, who) =>
    `${who}  ${ofService(messageId, service)}  ${seconds(settledAtMs - requestedAtMs)}  ${because(outcome, reason)}`,
})

const offline = of<DownlinkHandedOver>({
  stream: published.offline,
  unit: 'hand-over',
  rowOf: withAppApart,
  atMs: ({ atMs }) => atMs,
  inWords ({ messageId, service, change, deviceIds, reason, requestedAtMs, atMs }, who) {
    const what = `${change} for ${deviceIds.join(', ') || 'no device yet'}`
    return `${who}  ${ofService(messageId, service)}  ${seconds(atMs - requestedAtMs)}  ${because(what, reason)}`
  },
})

/** By the stream's name. */
export const historyStreams: Readonly<Record<string, HistoryStream>> =
  Object.fromEntries([connectionHistory, presence, receipts, offline].map(history => [history.stream.name, history]))

function of<T extends { readonly userId: string }, Row extends HistoryRow = T & HistoryRow> (
  history: Omit<HistoryStream<T, Row>, 'columns'>
): HistoryStream<T, Row> {
  return { ...history, columns: columnsOf(history.stream.schema) }
}

function seconds (ms: number): string { return `${(Math.max(0, ms) / 1000).toFixed(1)} s` }

function because (what: string, reason: string): string { return reason === '' ? what : `${what}: ${reason}` }

function ofService (messageId: string, service: string): string {
  return service === '' ? messageId : `${messageId} (${service})`
}
