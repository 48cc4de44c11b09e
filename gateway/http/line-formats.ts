import type { IncomingHttpHeaders } from 'node:http'
import { ndjsonLine, ndjsonType } from './readers.js'

export const eventStreamType = 'text/event-stream'

/** How an answer of many records is written: each text is whole, so that what comes between two of them breaks none. */
export interface LineFormat {
  readonly headers: Readonly<Record<string, string>>
  /** Before the first record: sends the headers, so that a follower learns that it is connected. */
  readonly beginning: string
  /** Before the first record, where the reader has no cursor yet. */
  place (cursor: string): string
  /** @param cursor names the place behind it */
  record (cursor: string, fields: object): string
  /** Anything else that is told in the place of a record. */
  notice (cursor: string | undefined, name: string, fields: object): string
}

/** A JSON object a line. */
export const ndjson: LineFormat = {
  headers: { 'content-type': ndjsonType },
  beginning: '',
  place: cursor => ndjsonLine({ cursor }),
  record: (cursor, fields) => ndjsonLine({ cursor, ...fields }),
  notice: (cursor, name, fields) => ndjsonLine({ ...cursor === undefined ? {} : { cursor }, [name]: fields }),
}

/** What an EventSource waits before it comes back. */
const comesBackMs = 2_000

/** Server-sent events: `data` is the line that NDJSON has, `id` its cursor; what is no record has a name. */
export const eventStream: LineFormat = {
  // Neither a cache nor nginx is to keep events until there are many.
  headers: { 'content-type': eventStreamType, 'cache-control': 'no-cache', 'x-accel-buffering': 'no' },
  beginning: `retry: ${comesBackMs}\n\n`,
  place: cursor => `id: ${cursor}\n\n`, // without data it is no event, and an EventSource keeps the id all the same
  record: (cursor, fields) => `id: ${cursor}\ndata: ${ndjson.record(cursor, fields)}\n`,
  notice: (cursor, name, fields) =>
    `${cursor === undefined ? '' : `id: ${cursor}\n`}event: ${name}\ndata: ${ndjson.notice(cursor, name, fields)}\n`,
}

/** What the request asks for by `Accept`; NDJSON for all but server-sent events. */
export function formatFor ({ accept = '' }: IncomingHttpHeaders): LineFormat {
  return /(?:^|,)\s*text\/event-stream\s*(?:;|,|$)/i.test(accept) ? eventStream : ndjson
}

/** What is written where an answer of this type was silent for long: readers of it skip that. Undefined for others. */
export function fillerOf (type: unknown): string | undefined {
  return type === ndjsonType ? '\n' : type === eventStreamType ? ':\n' : undefined
}
