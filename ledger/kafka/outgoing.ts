import type { Stream } from '../../schemas/streams.js'
import type { Position } from '../log.js'
import { isRecordStream, recordHeaders, type RecordFormat } from './format.js'
import { batchWriter, stamp, type Headers, type Stamp } from './record-batch.js'

/** Items of one call of `append`, on their way. */
export interface Append {
  readonly items: readonly any[]
  /** What they take in memory, all fields counted. */
  readonly bytes: number
  readonly derivedFrom: bigint
  readonly atMs: number
  /** Its first record in the batch, and its first item in that record; set when it is encoded. */
  delta: number
  index: number
  resolve (position: Position): void
  reject (err: Error): void
}

/** What one record of a block stream aims at, and one request has for one partition. */
export const recordBytesMax = 1 << 20

/** Appends that go to the broker together, with the very same bytes however often they are sent. */
export interface Outgoing {
  readonly appends: readonly Append[]
  readonly records: number
  readonly bytes: Buffer
  stamp: Stamp
  /** When it was sent first. */
  readonly startedMs: number
  /** A broker may have it, although none has said so. */
  maybeStored: boolean
}

/**
 * Takes appends from the front of `queue` and encodes them: one record for a block stream, one for each item otherwise.
 * Appends that can not be encoded are rejected.
 *
 * @returns undefined when all that was taken was rejected
 */
export function cut<T> (
  queue: Append[], stream: Stream<T>, format: RecordFormat, stampNow: Stamp, bytesMax = recordBytesMax
): Outgoing | undefined {
  let count = 0
  for (let bytes = 0; count < queue.length && (count === 0 || bytes + queue[count]!.bytes <= bytesMax); count++) {
    bytes += queue[count]!.bytes
  }
  const appends = queue.splice(0, count)
  const outgoing = isRecordStream(stream) ? records(appends, stream, format) : block(appends, stream)
  if (!outgoing) return undefined
  const startedMs = Date.now()
  const bytes = batchWriter.finish(outgoing.records, startedMs)
  stamp(bytes, stampNow)
  return { ...outgoing, bytes, stamp: stampNow, startedMs, maybeStored: false }
}

type Placed = Pick<Outgoing, 'appends' | 'records'>

const none: Headers = []

function block (appends: readonly Append[], stream: Stream<any>): Placed | undefined {
  let taken = appends
  let value: Buffer | undefined
  try {
    value = stream.encodeBlock(taken.length === 1 ? taken[0]!.items : taken.flatMap(({ items }) => items))
  } catch {
    taken = appends.filter(append => encodes(append, stream))
    if (taken.length === 0) return undefined
    value = stream.encodeBlock(taken.flatMap(({ items }) => items))
  }
  let index = 0
  let derivedFrom = -1n
  for (const append of taken) {
    append.delta = 0
    append.index = index
    index += append.items.length
    if (append.derivedFrom > derivedFrom) derivedFrom = append.derivedFrom
  }
  batchWriter.start()
  batchWriter.add(0, null, value, derivedFrom < 0n ? none : [derivedFromHeader(derivedFrom)])
  return { appends: taken, records: 1 }
}

function encodes (append: Append, stream: Stream<any>): boolean {
  try {
    stream.encodeBlock(append.items)
    return true
  } catch (err) {
    append.reject(err as Error)
    return false
  }
}

function records (appends: readonly Append[], stream: Stream<any>, format: RecordFormat): Placed | undefined {
  const contentType = Buffer.from(format.contentType)
  const encoded: Array<{ readonly key: Buffer, readonly value: Buffer, readonly headers: Array<[string, Buffer]> }> = []
  const placed: Append[] = []
  for (const append of appends) {
    const first = encoded.length
    try {
      for (const item of append.items) {
        const value = Buffer.from(format.encode(stream as any, item))
        encoded.push({ key: Buffer.from(stream.key(item)), value, headers: recordHeaders(stream, item, contentType) })
      }
    } catch (err) {
      encoded.length = first
      append.reject(err as Error)
      continue
    }
    if (append.derivedFrom >= 0n) encoded.at(-1)!.headers.push(derivedFromHeader(append.derivedFrom))
    append.delta = first
    append.index = 0
    placed.push(append)
  }
  if (placed.length === 0) return undefined
  batchWriter.start()
  for (const [delta, { key, value, headers }] of encoded.entries()) batchWriter.add(delta, key, value, headers)
  return { appends: placed, records: encoded.length }
}

const derivedFromName = 'derived-from'

function derivedFromHeader (offset: bigint): [string, Buffer] { return [derivedFromName, Buffer.from(`${offset}`)] }

/** -1n for a record without. */
export function derivedFromOf (headers: Headers): bigint {
  const text = headers.find(([name]) => name === derivedFromName)?.[1].toString()
  return text !== undefined && /^\d{1,18}$/.test(text) ? BigInt(text) : -1n
}

export function bytesOf<T> (stream: Stream<T>, items: readonly T[]): number {
  let bytes = 0
  for (let i = 0; i < items.length; i++) bytes += stream.bytesOf(items[i]!)
  return bytes
}
