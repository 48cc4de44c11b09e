import { printable } from '../../schemas/printable.js'
import { connections } from '../../schemas/streams.js'
import { type HistoryEncoder, TextEncoderOf } from './encoder.js'
import type { HistoryRow } from './row.js'

/** In the order of schemas/streams/connections.avsc. */
const { fields } = connections.schema as unknown as { fields: readonly { name: keyof HistoryRow }[] }
const columns = fields.map(({ name }) => name)

/** One JSON object a line, with the fields of schemas/streams/connections.avsc in their order. */
export function ndjson (): HistoryEncoder {
  return new TextEncoderOf(lineOf)
}

export function lineOf (row: HistoryRow): string {
  return `${printable(JSON.stringify(row))}\n`
}

/** RFC 4180 with a header line. Times are milliseconds since 1970, as everywhere else; what nobody knows is empty. */
export function csv (): HistoryEncoder {
  return new TextEncoderOf(csvLine, `${columns.join(',')}\r\n`)
}

function csvLine (row: HistoryRow): string {
  let line = ''
  for (let i = 0; i < columns.length; i++) {
    const value = row[columns[i]!]
    if (i > 0) line += ','
    line += typeof value === 'string' ? csvText(value) : value ?? ''
  }
  return `${line}\r\n`
}

function csvText (text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

/** For people: who, how long, how it ended. */
export function prose (): HistoryEncoder {
  return new TextEncoderOf(row => {
    const { app, userId, deviceId, platform, client, transport, address, connectionId, nodeId } = row
    const { openedAtMs, closedAtMs, code, reason } = row
    const lasted = (Math.max(0, closedAtMs - openedAtMs) / 1000).toFixed(1)
    const program = client === '' ? platform : `${platform}, ${client}`
    const why = reason === '' ? code : `${code}: ${reason}`
    const user = app === undefined ? userId : `${app}/${userId}`
    const who = `${user}/${deviceId} (${program})  ${transport} ${address}`
    const line = `${new Date(closedAtMs).toISOString()}  ${who}  ${connectionId}@${nodeId}  ${lasted} s  ${why}`
    return `${printable(line)}\n`
  })
}
