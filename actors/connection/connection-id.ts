import { randomFillSync } from 'node:crypto'

const idBytes = Buffer.allocUnsafe(12 * 256)
let idsLeft = 0

/** 96 random bits, base64url: 16 characters. */
export function newConnectionId (): string {
  if (idsLeft === 0) {
    randomFillSync(idBytes)
    idsLeft = 256
  }
  const at = 12 * --idsLeft
  return idBytes.toString('base64url', at, at + 12)
}
