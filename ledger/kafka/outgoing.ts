import { bytesOfAll } from '../../schemas/sizes.js'
import type { Stream } from '../../schemas/streams.js'
import { EncodeError } from '../encode-error.js'
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
  /** How long it takes is told. */
  readonly isTimed: boolean
  /** Its first record in the batch, and its first item in that record; set when it is encoded. */
  delta: number
  index: number
  /** Why what must be stored before it was not; it may not be stored either then. */
  failedBefore? (): Error | undefined
  resolve (position: Position): void
  reject (err: Error): void
}

/** What one record of a block stream aims at, and one request has for one partition. */
const recordBytesMax = 1 << 20

export interface CutLimits {
  /** Of a batch as it is sent: what the topic takes. */
  readonly bytesMax: number
  /**
   * A batch with one item of it alone is larger, and has so many bytes. It is out of the queue, and nothing of it has
   * been stored, unless the topic took more when its first half was: whoever appends the others again has them once.
   */
  tooLarge (append: Append, bytes: number): void
}

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
 * Takes appends from the front of `queue` and encodes them: one record for a block stream, one for each item otherwise;
 * as many as a batch has room for. Appends that can not be encoded are rejected.
 *
 * @returns undefined when all that was taken was rejected
 */
export function cut<T> (
  queue: Append[], stream: Stream<T>, format: RecordFormat, stampNow: Stamp, { bytesMax, tooLarge }: CutLimits
): Outgoing | undefined {
  for (let aimBytes = Math.min(recordBytesMax, bytesMax); ;) {
    const appends = taken(queue, aimBytes)
    if (appends.length === 0) return undefined
    const outgoing = isRecordStream(stream) ? records(appends, stream, format) : block(appends, stream)
    if (!outgoing) return undefined
    const startedMs = Date.now()
    const bytes = batchWriter.finish(outgoing.records, startedMs)
    if (bytes.length <= bytesMax) {
      stamp(bytes, stampNow)
      return { ...outgoing, bytes, stamp: stampNow, startedMs, maybeStored: false }
    }
    // Texts take more than was counted for them.
    const [first] = outgoing.appends as [Append]
    if (outgoing.appends.length > 1) {
      queue.unshift(...outgoing.appends)
    } else {
      const largest = first.items.length > 1 ? largestBatch(first.items, stream, format) : bytes.length
      if (largest > bytesMax) tooLarge(first, largest)
      else queue.unshift(...halves(stream, first))
    }
    aimBytes = Math.max(1, aimBytes >> 1)
  }
}

/** Bytes of the largest batch that one of these items alone makes; 0 where none of them can be encoded. */
export function largestBatch<T> (items: readonly T[], stream: Stream<T>, format: RecordFormat): number {
  let most = 0
  for (const item of items) {
    const alone: Append = {
      items: [item],
      bytes: 0,
      derivedFrom: -1n,
      atMs: 0,
      isTimed: false,
      delta: 0,
      index: 0,
      resolve () {},
      reject () {},
    }
    const placed = isRecordStream(stream) ? records([alone], stream, format) : block([alone], stream)
    if (placed) most = Math.max(most, batchWriter.finish(placed.records, 0).length)
  }
  return most
}

function taken (queue: Append[], bytesMax: number): Append[] {
  const appends: Append[] = []
  for (let bytes = 0, next = queue[0]; next !== undefined; next = queue[0]) {
    const failure = next.failedBefore?.()
    bytes += next.bytes
    if (failure) next.reject(failure)
    else if (appends.length === 0 || bytes <= bytesMax) appends.push(next)
    else break
    queue.shift()
  }
  return appends
}

/** Two appends that settle as the one that they were: what says that all of it is there goes with the second. */
export function halves (stream: Stream<any>, { items, derivedFrom, atMs, failedBefore, ...whole }: Append): Append[] {
  const middle = items.length >> 1
  let failure: Error | undefined
  let position: Position | undefined
  let left = 2
  const settled = () => {
    if (--left > 0) return
    if (failure) whole.reject(failure)
    else whole.resolve(position!)
  }
  const half = (items: readonly any[], derivedFrom: bigint): Append => ({
    items,
    bytes: bytesOfAll(stream, items),
    derivedFrom,
    atMs,
    isTimed: false,
    delta: 0,
    index: 0,
    failedBefore: () => failure ?? failedBefore?.(),
    resolve: stored => {
      position ??= stored
      settled()
    },
    reject: err => {
      failure ??= err
      settled()
    },
  })
  return [half(items.slice(0, middle), -1n), half(items.slice(middle), derivedFrom)]
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
    append.reject(new EncodeError(err))
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
      append.reject(new EncodeError(err))
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
