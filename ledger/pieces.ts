import { GatewayError } from '../schemas/errors.js'
import type { Stream } from '../schemas/streams.js'
import { EncodeError } from './encode-error.js'
import type { AppendOptions, EventLog } from './log.js'

/**
 * What one append should have at most, to stand in one block or record of 1 MiB: texts count one byte a character, and
 * may take three.
 */
export const appendBytesMax = 256 << 10

/**
 * Whether an append fails however often it is tried: an item can not be encoded, or no block has room for it. Any other
 * error, one that nobody foresaw too, may pass: whoever tries again loses nothing.
 */
export function isForGood (err: unknown): boolean {
  return err instanceof EncodeError || (err instanceof GatewayError && err.code === 'payload-too-large')
}

/**
 * Items in their order, in pieces that fit into one append each. An item that is larger is a piece of its own.
 *
 * @param bytesMax of memory, as `Stream.bytesOf` counts it
 */
export function piecesOf<T> (stream: Stream<T>, items: readonly T[], bytesMax = appendBytesMax): T[][] {
  const pieces: T[][] = []
  let piece: T[] = []
  let pieceBytes = Infinity
  for (const item of items) {
    const bytes = stream.bytesOf(item)
    if (pieceBytes + bytes > bytesMax) {
      pieces.push(piece = [])
      pieceBytes = 0
    }
    piece.push(item)
    pieceBytes += bytes
  }
  return pieces
}

/**
 * Appends items in their order, in as few appends as have room for them. Where an append fails for good, for one of its
 * items does, those in front of that one are stored all the same.
 *
 * @returns how many are stored; those behind are not
 * @throws where not one is, as `append`: what is for good (`isForGood`) is so for the first item
 */
export async function appendInOrder<T> (
  log: Pick<EventLog, 'append'>, stream: Stream<T>, partition: number, items: readonly T[]
): Promise<number> {
  const pieces: Array<readonly T[]> = piecesOf(stream, items).reverse()
  let stored = 0
  while (pieces.length > 0) {
    const piece = pieces.pop()!
    try {
      await log.append(stream, partition, piece)
      stored += piece.length
    } catch (err) {
      if (piece.length > 1 && isForGood(err)) {
        const half = piece.length >> 1
        pieces.push(piece.slice(half), piece.slice(0, half))
        continue
      }
      if (stored === 0) throw err
      break
    }
  }
  return stored
}

/**
 * Appends items in their order, without those that the stream will never take (`isForGood`).
 *
 * @param setAside called for each of those, before the items behind it are appended
 * @throws as `append`, with an error that may pass; some of the items may be stored then
 */
export async function appendAcceptable<T> (
  log: Pick<EventLog, 'append'>, stream: Stream<T>, partition: number, items: readonly T[], options: AppendOptions,
  setAside: (item: T, error: Error) => void
): Promise<void> {
  try {
    await log.append(stream, partition, items, options)
  } catch (err) {
    if (!isForGood(err)) throw err
    if (items.length === 1) {
      setAside(items[0]!, err as Error)
      return
    }
    const half = items.length >> 1
    const { derivedFrom, bytes: _, ...ofEach } = options
    // `derivedFrom` says that all items are there: it goes with the last ones.
    const ofLast = derivedFrom === undefined ? ofEach : { ...ofEach, derivedFrom }
    await appendAcceptable(log, stream, partition, items.slice(0, half), ofEach, setAside)
    await appendAcceptable(log, stream, partition, items.slice(half), ofLast, setAside)
  }
}
