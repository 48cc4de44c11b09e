import { isText } from './text.js'
import { decodeUtf8, encodeUtf8 } from './utf8.js'

/*
  A payload in JSON (protocol.md 1): a string taken as UTF-8, or {"base64": "..."} for any bytes. Nothing here needs
  Node, but where Buffer is there it is the faster way.
*/

export type JsonPayload = string | { readonly base64: string }

const inNode = typeof Buffer === 'function'

/** A string where the bytes are valid UTF-8. */
export function payloadToJson (payload: Uint8Array): JsonPayload {
  try {
    return decodeUtf8(payload)
  } catch {
    return { base64: toBase64(payload) }
  }
}

/** @returns undefined where `value` is no payload: half a surrogate pair, or base64 that no encoder writes */
export function payloadFromJson (value: unknown): Uint8Array | undefined {
  if (isText(value)) return inNode ? Buffer.from(value) : encodeUtf8(value)
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, 'base64')) return undefined
  const { base64 } = value as { base64: unknown }
  return typeof base64 === 'string' ? fromBase64(base64) : undefined
}

function toBase64 (bytes: Uint8Array): string {
  if (inNode) return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64')
  return btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join(''))
}

/** Takes what `toBase64` could have made and nothing else: padded, no white space, no bits left over. */
function fromBase64 (text: string): Uint8Array | undefined {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4 !== 0) return undefined
  const bytes = inNode ? Buffer.from(text, 'base64') : Uint8Array.from(atob(text), char => char.charCodeAt(0))
  return toBase64(bytes) === text ? bytes : undefined
}
