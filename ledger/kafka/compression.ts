import { createRequire } from 'node:module'
import * as zlib from 'node:zlib'

/*
  How the records of a batch may be compressed. Others choose, so this takes all that Kafka knows of, in every framing
  that its clients write, and trusts nothing: each codec says beforehand how much it will give, or is stopped.

  What node:zlib lacks is loaded when it is first needed: a platform that one of these has no build for sets the batch
  aside, and starts all the same. snappy and lz4-napi are Rust; the JavaScript decoders of both (snappyjs, lz4js) go
  round for ever, or read before their buffer, on bytes that somebody made for it.
*/
const require = createRequire(import.meta.url)

const codecs = [undefined, 'gzip', 'snappy', 'lz4', 'zstd'] as const

/**
 * @param codec of the attributes of the batch, above 0
 * @param bytesMax more than this is not decompressed
 * @throws Error with what is wrong with the bytes, or with their size
 */
export function decompress (codec: number, bytes: Buffer, bytesMax: number): Buffer {
  try {
    switch (codecs[codec]) {
      case 'gzip': return zlib.gunzipSync(bytes, { maxOutputLength: bytesMax })
      case 'snappy': return snappy(bytes, bytesMax)
      case 'lz4': return lz4(bytes, bytesMax)
      case 'zstd': return zstd(bytes, bytesMax)
      default: throw new RangeError(`want ${codecs.slice(1).join(', ')} or none`)
    }
  } catch (err) {
    const isTooLarge = (err as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE'
    const { message } = isTooLarge ? tooLarge(bytesMax) : err as Error
    throw new Error(`compression ${codecs[codec] ?? codec}: ${message}`, { cause: err })
  }
}

/*
  SNAPPY => BLOCK | XERIAL
    XERIAL => 82 'SNAPPY' 00 version:int32 compatible:int32 (length:int32 BLOCK)*, as Java clients write it
    BLOCK  => bytes:varint of what it becomes, then the elements
*/
const xerialMagic = Buffer.from('82534e4150505900', 'hex')
const xerialHeaderBytes = 16

function snappy (bytes: Buffer, bytesMax: number): Buffer {
  const { uncompressSync } = require('snappy') as { uncompressSync (block: Buffer): Buffer }
  let left = bytesMax
  const uncompress = (block: Buffer) => {
    const length = snappyLength(block)
    if (length > left) throw tooLarge(bytesMax)
    left -= length
    return uncompressSync(block)
  }
  if (!bytes.subarray(0, xerialMagic.length).equals(xerialMagic)) return uncompress(bytes)
  const blocks: Buffer[] = []
  for (let at = xerialHeaderBytes; at < bytes.length;) {
    const start = at + 4
    const end = start + bytes.readUInt32BE(at)
    if (end > bytes.length) throw new RangeError(`${end - bytes.length} bytes are missing`)
    blocks.push(uncompress(bytes.subarray(start, end)))
    at = end
  }
  return Buffer.concat(blocks)
}

function snappyLength (block: Buffer): number {
  let length = 0
  for (let i = 0; i < 5; i++) {
    const byte = block.readUInt8(i)
    length += (byte & 0x7f) * 2 ** (7 * i)
    if (byte < 0x80) return length
  }
  throw new RangeError('a length of more than 32 bits')
}

/*
  LZ4   => magic:uint32 flags:uint8 sizes:uint8 contentBytes:uint64? dictionary:uint32? check:uint8
           (length:uint32 BLOCK checksum:uint32?)* 00000000 checksum:uint32?, all little-endian
    flags  => 08 there are contentBytes, 01 a dictionary, 10 checksums of blocks, 04 one of all
    sizes  => bits 4 to 6: 4 for blocks of up to 64 KiB, each further one four times as much
    length => the highest bit says that the block is not compressed
*/
const lz4Magic = 0x184d2204

function lz4 (bytes: Buffer, bytesMax: number): Buffer {
  if (bytes.readUInt32LE(0) !== lz4Magic) throw new RangeError('does not start as a frame does')
  const flags = bytes.readUInt8(4)
  const blockBytesMax = 2 ** (8 + 2 * (bytes.readUInt8(5) >> 4 & 7))
  let at = 7 + (flags & 0x08 ? 8 : 0) + (flags & 0x01 ? 4 : 0)
  let bytesMost = 0
  // The decoder has no bound of its own, but no block may become more than its frame says.
  for (;;) {
    const length = bytes.readUInt32LE(at)
    at += 4
    if (length === 0) break
    const stored = length & 0x7fffffff
    bytesMost += length === stored ? Math.min(blockBytesMax, stored * lz4RatioMax) : stored
    if (bytesMost > bytesMax) throw tooLarge(bytesMax)
    at += stored + (flags & 0x10 ? 4 : 0)
  }
  at += flags & 0x04 ? 4 : 0
  if (at !== bytes.length) throw new RangeError(`got ${bytes.length} bytes, want a frame of ${at}`)
  const { decompressFrameSync } = require('lz4-napi') as { decompressFrameSync (frame: Buffer): Buffer }
  return decompressFrameSync(bytes)
}

/** No byte of a block says more than "255 further ones". */
const lz4RatioMax = 255

interface Zstd { zstdDecompressSync? (bytes: Buffer, options: { maxOutputLength: number }): Buffer }

const zstdMagic = 0xfd2fb528

/** Node has it from 22.15 on. */
function zstd (bytes: Buffer, bytesMax: number): Buffer {
  const { zstdDecompressSync } = zlib as Zstd
  if (!zstdDecompressSync) return zstdWithoutNode(bytes, bytesMax)
  checkZstd(bytes, bytesMax)
  return zstdDecompressSync(bytes, { maxOutputLength: bytesMax })
}

/** Exported for a test on a Node that has no need of it. */
export function zstdWithoutNode (bytes: Buffer, bytesMax: number): Buffer {
  const { Decompress } = require('fzstd') as {
    Decompress: new (took: (chunk: Uint8Array) => void) => { push (bytes: Uint8Array, isLast: boolean): void }
  }
  checkZstd(bytes, bytesMax)
  const chunks: Uint8Array[] = []
  let length = 0
  const stream = new Decompress(chunk => {
    length += chunk.length
    if (length > bytesMax) throw tooLarge(bytesMax)
    chunks.push(chunk)
  })
  stream.push(bytes, true)
  return Buffer.concat(chunks, length)
}

/** A decoder makes room for what the frame says that it looks back on, whatever that is. */
function checkZstd (bytes: Buffer, bytesMax: number): void {
  if (bytes.readUInt32LE(0) !== zstdMagic) throw new RangeError('does not start as a frame does')
  if (zstdWindow(bytes) > Math.max(bytesMax, zstdWindowBytesMax)) throw tooLarge(bytesMax)
}

/** What fzstd can look back on. */
const zstdWindowBytesMax = 1 << 25

function zstdWindow (bytes: Buffer): number {
  const flags = bytes.readUInt8(4)
  if (!(flags & 0x20)) {
    const window = bytes.readUInt8(5)
    return 2 ** (10 + (window >> 3)) * (1 + (window & 7) / 8)
  }
  const sizeAt = 5 + [0, 1, 2, 4][flags & 3]!
  switch (flags >> 6) {
    case 0: return bytes.readUInt8(sizeAt)
    case 1: return bytes.readUInt16LE(sizeAt) + 256
    case 2: return bytes.readUInt32LE(sizeAt)
    default: return Number(bytes.readBigUInt64LE(sizeAt))
  }
}

function tooLarge (bytesMax: number): RangeError {
  return new RangeError(`becomes more than ${bytesMax >> 20} MiB`)
}
