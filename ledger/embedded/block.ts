import { crc32 } from 'node:zlib'

/*
  BLOCK => crc:uint32 flags:uint8 atMs:uint48 offset:uint48 derivedFrom:uint48 BODY
    crc         => of everything after it
    flags       => bit 0: a tombstone; its block was set aside in `<stream>.rejected`, and BODY is empty
    derivedFrom => plus one; 0 for none
    BODY        => what the stream's encodeBlock gave
*/
export const blockHeaderBytes = 23
/** Of a block, header and body. Whoever holds one in memory can count on it; those of older builds may be longer. */
export const blockBytesMax = 1 << 20
const tombstoneFlag = 1

export interface OpenedBlock {
  readonly tombstone: boolean
  /** When it was committed, ms since 1970. */
  readonly atMs: number
  readonly offset: number
  /** -1 for none. */
  readonly derivedFrom: number
  readonly body: Buffer
}

/** Fills in the header of `block`, whose body stands behind it already. */
export function sealBlock (block: Buffer, atMs: number, offset: number, derivedFrom: number, tombstone = false): void {
  block[4] = tombstone ? tombstoneFlag : 0
  block.writeUIntBE(atMs, 5, 6)
  block.writeUIntBE(offset, 11, 6)
  block.writeUIntBE(derivedFrom + 1, 17, 6)
  block.writeUInt32BE(crc32(block.subarray(4)), 0)
}

/** @returns undefined when the bytes are not those that were sealed */
export function openBlock (block: Buffer): OpenedBlock | undefined {
  if (block.length < blockHeaderBytes || crc32(block.subarray(4)) !== block.readUInt32BE(0)) return undefined
  return {
    tombstone: (block[4]! & tombstoneFlag) !== 0,
    atMs: block.readUIntBE(5, 6),
    offset: block.readUIntBE(11, 6),
    derivedFrom: block.readUIntBE(17, 6) - 1,
    body: block.subarray(blockHeaderBytes),
  }
}
