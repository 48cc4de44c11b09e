import type { Stream } from '../schemas/streams.js'
import type { EventLog } from './log.js'

/**
 * What one append should have at most, to stand in one block or record of 1 MiB: texts count one byte a character, and
 * may take three.
 */
export const appendBytesMax = 256 << 10

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
 * Appends items in their order, in as few appends as have room for them.
 *
 * @returns how many are stored; those behind are not
 * @throws GatewayError where not one is, as `append`
 */
export async function appendInOrder<T> (
  log: Pick<EventLog, 'append'>, stream: Stream<T>, partition: number, items: readonly T[]
): Promise<number> {
  let stored = 0
  try {
    for (const piece of piecesOf(stream, items)) {
      await log.append(stream, partition, piece)
      stored += piece.length
    }
  } catch (err) {
    if (stored === 0) throw err
  }
  return stored
}
