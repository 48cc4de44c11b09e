import { GatewayError } from '../../schemas/errors.js'
import type { Stream } from '../../schemas/streams.js'
import { EncodeError } from '../encode-error.js'
import type { WriteBatch } from './batch.js'
import { blockBytesMax, blockHeaderBytes } from './block.js'

/** What was given to one call of `append`. */
export interface Appended {
  readonly items: readonly unknown[]
  /** In memory, as `Stream.bytesOf` says. */
  readonly bytes: number
  /** -1 for none. */
  readonly derivedFrom: number
}

/** An append, and where its first item stands: in which of the blocks, counted from 0, and where in that one. */
export interface Placed<A extends Appended> {
  readonly append: A
  readonly block: number
  readonly index: number
}

export interface CutBlock {
  readonly items: readonly unknown[]
  /** Its encoded items, behind room for a header. */
  readonly bytes: Buffer
  /** What the items take in memory, as `Stream.bytesOf` says; undefined where that was not counted for them alone. */
  itemBytes: number | undefined
  /** -1 for none. */
  derivedFrom: number
}

/**
 * Encodes appends, in order, as blocks of at most `blockBytesMax`: one block for all of them where they fit into one.
 * What they take in memory says how much goes into one block, so that everything is encoded once; only where that was
 * too little to expect, as for texts of many bytes a character, halves are encoded again.
 */
export class Cutter<A extends Appended> {
  readonly blocks: CutBlock[] = []
  readonly placed: Array<Placed<A>> = []

  /** @param refuse an append that can not be encoded, or has an item that no block has room for; the others go on */
  constructor (
    private readonly stream: Stream<any>,
    private readonly batch: WriteBatch,
    private readonly refuse: (append: A, err: unknown) => void
  ) {}

  add (appends: readonly A[]): void {
    if (appends.length === 1) {
      this.addOne(appends[0]!)
      return
    }
    const items: unknown[] = []
    for (const append of appends) for (const item of append.items) items.push(item)
    let bytes: Buffer | undefined
    try {
      bytes = this.encoded(items)
    } catch {} // one of them: its half finds out which
    if (bytes === undefined) {
      const half = appends.length >> 1
      this.add(appends.slice(0, half))
      this.add(appends.slice(half))
      return
    }
    let index = 0
    let itemBytes = 0
    let derivedFrom = -1
    for (const append of appends) {
      this.placed.push({ append, block: this.blocks.length, index })
      index += append.items.length
      itemBytes += append.bytes
      if (append.derivedFrom > derivedFrom) derivedFrom = append.derivedFrom
    }
    this.blocks.push({ items, bytes, itemBytes, derivedFrom })
  }

  private addOne (append: A): void {
    const first = this.blocks.length
    try {
      if (append.bytes <= blockBytesMax) this.addItems(append.items)
      else this.addMany(append.items)
    } catch (err) {
      this.blocks.length = first
      this.refuse(append, err instanceof GatewayError ? err : new EncodeError(err))
      return
    }
    this.placed.push({ append, block: first, index: 0 })
    const last = this.blocks.at(-1)!
    // With the last one: it says that all of the append is there.
    last.derivedFrom = append.derivedFrom
    if (this.blocks.length === first + 1) last.itemBytes = append.bytes
  }

  /** Items of one append that are more than a block. */
  private addMany (items: readonly unknown[]): void {
    let start = 0
    let bytes = 0
    for (let i = 0; i < items.length; i++) {
      const itemBytes = this.stream.bytesOf(items[i])
      if (bytes + itemBytes > blockBytesMax && i > start) {
        this.addItems(items.slice(start, i))
        start = i
        bytes = 0
      }
      bytes += itemBytes
    }
    this.addItems(start === 0 ? items : items.slice(start))
  }

  private addItems (items: readonly unknown[]): void {
    const bytes = this.encoded(items)
    if (bytes !== undefined) {
      this.blocks.push({ items, bytes, itemBytes: undefined, derivedFrom: -1 })
      return
    }
    if (items.length === 1) {
      throw new GatewayError('payload-too-large', `an item of ${this.stream.name}: want at most ${blockBytesMax} bytes`)
    }
    const half = items.length >> 1
    this.addItems(items.slice(0, half))
    this.addItems(items.slice(half))
  }

  /** @returns undefined where they are more than a block */
  private encoded (items: readonly unknown[]): Buffer | undefined {
    const body = this.stream.encodeBlock(items)
    if (blockHeaderBytes + body.length > blockBytesMax) return undefined
    const bytes = this.batch.room(blockHeaderBytes + body.length)
    bytes.set(body, blockHeaderBytes)
    return bytes
  }
}
