import { createRequire } from 'node:module'

/*
  CRC-32C (Castagnoli), of which node:zlib has no function: its `crc32` has another polynomial. The processor has an
  instruction for it, which @node-rs/crc32 uses: 4 to 6 GB/s. Where that has no build for the platform, and for few
  bytes, which cost less than the way there, sixteen bytes a step, each with a table of its own: 1.5 GB/s. A table for
  single bytes, as kafkajs has it, gives 0.45.
*/
const polynomial = 0x82f63b78
const slices = 16

/** Slice `n` says what a byte with `n` zero bytes behind it does to the sum. */
const table = new Int32Array(slices * 256)
for (let byte = 0; byte < 256; byte++) {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ polynomial : crc >>> 1
  table[byte] = crc
}
for (let i = 256; i < table.length; i++) table[i] = (table[i - 256]! >>> 8) ^ table[table[i - 256]! & 0xff]!

const native = nativeCrc32c()
const nativeBytesMin = 512

/** CRC-32C of `bytes`, unsigned. */
export function crc32c (bytes: Uint8Array): number {
  return native && bytes.length >= nativeBytesMin ? native(bytes) : crc32cByTables(bytes)
}

function nativeCrc32c (): ((bytes: Uint8Array) => number) | undefined {
  try {
    return createRequire(import.meta.url)('@node-rs/crc32').crc32c
  } catch {
    return undefined // the tables do
  }
}

export function crc32cByTables (bytes: Uint8Array): number {
  const whole = bytes.length - bytes.length % slices
  let crc = -1
  let at = 0
  // Written out: a loop over the slices takes twice as long.
  for (; at < whole; at += slices) {
    crc ^= bytes[at]! | bytes[at + 1]! << 8 | bytes[at + 2]! << 16 | bytes[at + 3]! << 24
    crc = table[3840 + (crc & 0xff)]! ^ table[3584 + (crc >>> 8 & 0xff)]! ^
      table[3328 + (crc >>> 16 & 0xff)]! ^ table[3072 + (crc >>> 24)]! ^
      table[2816 + bytes[at + 4]!]! ^ table[2560 + bytes[at + 5]!]! ^
      table[2304 + bytes[at + 6]!]! ^ table[2048 + bytes[at + 7]!]! ^
      table[1792 + bytes[at + 8]!]! ^ table[1536 + bytes[at + 9]!]! ^
      table[1280 + bytes[at + 10]!]! ^ table[1024 + bytes[at + 11]!]! ^
      table[768 + bytes[at + 12]!]! ^ table[512 + bytes[at + 13]!]! ^
      table[256 + bytes[at + 14]!]! ^ table[bytes[at + 15]!]!
  }
  for (; at < bytes.length; at++) crc = (crc >>> 8) ^ table[(crc ^ bytes[at]!) & 0xff]!
  return ~crc >>> 0
}
