import type { Stream } from '../schemas/streams.js'

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
