/*
  Stored blocks as they go over HTTP, all big-endian:

    BLOCKS => FRAME*
    FRAME  => length:uint32 offset:uint64 BODY
      length => bytes of BODY; 0 says that what was to be read before this offset is deleted by retention
      BODY   => what the stream's encodeBlock gave
*/
const headerBytes = 12
/** More is no block of ours: appends are bounded far below. */
const bodyBytesMax = 1 << 28
const chunkBytes = 1 << 17
const sparesMax = 8
const nothing = new Uint8Array()
/** A buffer that one huge block made is given back. */
const spareBytesMax = 1 << 22

/** A block as it is stored: `Stream.decodeBlock` makes its items of `body`; without a body it is the end of a hole. */
export interface StoredBlock {
  readonly offset: bigint
  readonly body: Uint8Array
}

/** Given back by readers that are done. */
const spares: Buffer[] = []

/**
 * Collects frames in one buffer, over and over, and leaves it to the next reader: buffers that live for a second each
 * are what has V8 collect the whole heap, and a gateway stand still meanwhile.
 */
export class FrameBuffer {
  #bytes = spares.pop() ?? Buffer.allocUnsafeSlow(chunkBytes)
  #length = 0

  get isEmpty (): boolean { return this.#length === 0 }

  /** @returns false where there is no room beside what is there already */
  add (offset: bigint, body: Uint8Array): boolean {
    const start = this.#length
    const end = start + headerBytes + body.length
    if (end > this.#bytes.length) {
      if (start > 0) return false
      this.#bytes = Buffer.allocUnsafeSlow(2 ** Math.ceil(Math.log2(end))) // or each block that is larger yet makes one
    }
    this.#bytes.writeUInt32BE(body.length, start)
    this.#bytes.writeBigUInt64BE(offset, start + 4)
    this.#bytes.set(body, start + headerBytes)
    this.#length = end
    return true
  }

  /**
   * What was to be read before `to` is deleted.
   *
   * @returns false where there is no room beside what is there already
   */
  addHole (to: bigint): boolean { return this.add(to, nothing) }

  /** What has collected; valid until the next `add`. */
  take (): Buffer {
    const chunk = this.#bytes.subarray(0, this.#length)
    this.#length = 0
    return chunk
  }

  /** To be called once, when nobody uses any more what `take` gave. */
  release (): void {
    if (spares.length < sparesMax && this.#bytes.length <= spareBytesMax) spares.push(this.#bytes)
  }
}

/** @throws Error when `chunks` end within a frame */
export async function * blocksOf (chunks: AsyncIterable<Buffer>): AsyncGenerator<StoredBlock> {
  let bytes: Buffer = Buffer.alloc(0)
  let more: Buffer[] = []
  let missing = 0
  for await (const chunk of chunks) {
    // One large block comes in many chunks: they are joined once, when it is whole.
    more.push(chunk)
    missing -= chunk.length
    if (missing > 0) continue
    bytes = bytes.length === 0 && more.length === 1 ? chunk : Buffer.concat([bytes, ...more])
    more = []
    let at = 0
    while (bytes.length - at >= headerBytes) {
      const length = bytes.readUInt32BE(at)
      if (length > bodyBytesMax) throw new Error(`got a block of ${length} bytes, want at most ${bodyBytesMax}`)
      const end = at + headerBytes + length
      if (end > bytes.length) break
      yield { offset: bytes.readBigUInt64BE(at + 4), body: bytes.subarray(at + headerBytes, end) }
      at = end
    }
    bytes = bytes.subarray(at)
    missing = (bytes.length < headerBytes ? headerBytes : headerBytes + bytes.readUInt32BE(0)) - bytes.length
  }
  if (bytes.length > 0 || more.length > 0) throw new Error('the answer ends within a block')
}
