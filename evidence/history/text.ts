import { payloadToJson } from '../../schemas/payload.js'
import { printable } from '../../schemas/printable.js'
import { type HistoryEncoder, TextEncoderOf } from './encoder.js'
import type { HistoryRow } from './row.js'
import type { HistoryStream } from './streams.js'

/** One JSON object a line, with the fields of the stream's schema in their order. */
export function ndjson ({ columns }: HistoryStream): HistoryEncoder {
  const payloads = columns.filter(({ kind }) => kind === 'bytes')
  if (payloads.length === 0) return new TextEncoderOf(lineOf)
  return new TextEncoderOf(row => {
    const shown = payloads.map(({ name, of }) => [name, payloadToJson(of(row))])
    return lineOf({ ...row, ...Object.fromEntries(shown) })
  })
}

/** Of a row that has no bytes in it. */
export function lineOf (row: HistoryRow): string {
  return `${printable(JSON.stringify(row))}\n`
}

/**
 * RFC 4180 with a header line. Times are milliseconds since 1970, as everywhere else; what nobody knows is empty, bytes
 * are base64, and of several texts there is a JSON array.
 */
export function csv ({ columns }: HistoryStream): HistoryEncoder {
  const header = columns.map(({ name }) => name).join(',')
  return new TextEncoderOf(row => {
    let line = ''
    for (let i = 0; i < columns.length; i++) {
      if (i > 0) line += ','
      line += csvValue(columns[i]!.of(row))
    }
    return `${line}\r\n`
  }, `${header}\r\n`)
}

type Value = string | number | boolean | null | Uint8Array | readonly string[]

function csvValue (value: Value): string | number | boolean {
  if (typeof value === 'string') return csvText(value)
  if (typeof value !== 'object') return value
  if (value === null) return ''
  return value instanceof Uint8Array ? Buffer.from(value).toString('base64') : csvText(JSON.stringify(value))
}

function csvText (text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

/** For people: when, who, and what. */
export function prose ({ atMs, inWords }: HistoryStream): HistoryEncoder {
  return new TextEncoderOf((row: HistoryRow & { readonly deviceId?: string }) => {
    const { app, userId, deviceId } = row
    const user = app === undefined ? userId : `${app}/${userId}`
    const who = deviceId ? `${user}/${deviceId}` : user
    return `${printable(`${new Date(atMs(row)).toISOString()}  ${inWords(row, who)}`)}\n`
  })
}
