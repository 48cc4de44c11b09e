import { EncodeError } from '../../ledger/encode-error.js'
import { appendBytesMax, piecesOf } from '../../ledger/pieces.js'
import { GatewayError } from '../../schemas/errors.js'
import type { Stream } from '../../schemas/streams.js'
import type { Written } from './broker.js'

/** What goes to one partition in one call of `append`. */
export interface Packable {
  readonly items: readonly any[]
  readonly bytes: number
  readonly derivedFrom: bigint
}

/** Which of the blocks that go together the first item of an append is in, and where in it. */
export type Places<A> = ReadonlyMap<A, readonly [block: number, index: number]>

const blockBytesMax = 1 << 20

/**
 * Blocks of these appends, in their order; small ones share a block.
 *
 * @param refuse told of appends that no block has room for, or that can't be encoded
 */
export function packed<A extends Packable> (
  stream: Stream<any>, appends: readonly A[], refuse: (append: A, fault: Error) => void
): { blocks: Written[], places: Places<A> } {
  const blocks: Written[] = []
  const places = new Map<A, readonly [block: number, index: number]>()
  let open: { items: any[], bytes: number, derivedFrom: bigint } | undefined
  const seal = (): void => {
    if (open) blocks.push({ bytes: Buffer.from(stream.encodeBlock(open.items)), derivedFrom: open.derivedFrom })
    open = undefined
  }
  for (const append of appends) {
    const pieces = stream.blocks ? piecesOf(stream, append.items) : append.items.map(item => [item])
    const fault = faultOf(stream, pieces)
    if (fault) {
      refuse(append, fault)
      continue
    }
    const isSmall = stream.blocks && pieces.length === 1
    if (isSmall && open && open.bytes + append.bytes > appendBytesMax) seal()
    if (isSmall && open) {
      places.set(append, [blocks.length, open.items.length])
      open.items.push(...append.items)
      open.bytes += append.bytes
      if (append.derivedFrom > open.derivedFrom) open.derivedFrom = append.derivedFrom
      continue
    }
    seal()
    places.set(append, [blocks.length, 0])
    for (const [i, piece] of pieces.entries()) {
      seal()
      const isLast = i === pieces.length - 1
      open = { items: [...piece], bytes: append.bytes, derivedFrom: isLast ? append.derivedFrom : -1n }
    }
    if (!isSmall) seal()
  }
  seal()
  return { blocks, places }
}

function faultOf (stream: Stream<any>, pieces: any[][]): Error | undefined {
  try {
    const isTooLarge = pieces.some(piece => stream.encodeBlock(piece).length > blockBytesMax)
    return isTooLarge ? new GatewayError('payload-too-large', 'an item is more than a block has room for') : undefined
  } catch (err) {
    return new EncodeError(err)
  }
}
