import { isUtf8 } from 'node:buffer'
import { GatewayError } from '../../schemas/errors.js'
import { decodeFrame, decodeFrameJson } from '../../schemas/frame-codec.js'
import type { Frame } from '../../schemas/frames.js'

/*
  What clients send almost always is a message in one frame, below 64 KiB:

  Message => FIN_OPCODE MASK_LENGTH KEY PAYLOAD
    FIN_OPCODE  => uint8: 0x82 binary, 0x81 text, both whole
    MASK_LENGTH => uint8: 0x80 and a length below 126, or 0xfe and uint16, big-endian
    KEY         => 4 bytes, the nth byte of PAYLOAD is XORed with the nth of them, modulo 4
    PAYLOAD     => a frame of schemas/frame-codec.ts
*/

/** One of the two that a subprotocol has. */
export interface MessageKind {
  readonly finOpcode: number
  /** @throws GatewayError `bad-frame` */
  decode (bytes: Buffer, start: number, end: number): Frame
}

export const avroMessages: MessageKind = { finOpcode: 0x82, decode: decodeFrame }

export const jsonMessages: MessageKind = {
  finOpcode: 0x81,
  decode (bytes, start, end) {
    if (!isUtf8(bytes.subarray(start, end))) throw new GatewayError('bad-frame', 'a text message that is not UTF-8')
    return decodeFrameJson(bytes.toString('utf8', start, end))
  },
}

const isMasked = 0x80

/** What stands before a payload, and before one of more than 125 bytes. */
const shortHeaderBytes = 6
const longHeaderBytes = 8

export interface Taken {
  /** Bytes at the beginning that were dealt with. */
  readonly bytes: number
  /** The last message was bad; whatever is behind it must not be heeded. */
  readonly error: GatewayError | undefined
}

/**
 * Takes the messages at the beginning of a read that are whole and of this kind into `frames`, without a call or an
 * object for the parts of each. Whatever else there is it leaves to ws, with all that comes behind: control frames,
 * fragments, what is too large, broken or not whole yet. Payloads are unmasked in place; frames are views on `bytes`.
 *
 * @param bytes where a message begins
 */
export function takeMessages (bytes: Buffer, kind: MessageKind, frameBytesMax: number, frames: Frame[]): Taken {
  const { finOpcode } = kind
  const { length } = bytes
  let at = 0
  while (length - at >= shortHeaderBytes && bytes[at] === finOpcode) {
    let payloadBytes = bytes[at + 1]! - isMasked
    let start = at + shortHeaderBytes
    if (payloadBytes === 126 && length - at >= longHeaderBytes) {
      payloadBytes = bytes[at + 2]! << 8 | bytes[at + 3]!
      start = at + longHeaderBytes
    } else if (payloadBytes < 0 || payloadBytes > 125) break
    const end = start + payloadBytes
    if (end > length || payloadBytes > frameBytesMax) break
    unmask(bytes, start, end)
    at = end
    try {
      frames.push(kind.decode(bytes, start, end))
    } catch (err) {
      return { bytes: at, error: err as GatewayError }
    }
  }
  return { bytes: at, error: undefined }
}

/** The key is right before `start`. */
function unmask (bytes: Buffer, start: number, end: number): void {
  const a = bytes[start - 4]!
  const b = bytes[start - 3]!
  const c = bytes[start - 2]!
  const d = bytes[start - 1]!
  let at = start
  for (; at + 3 < end; at += 4) {
    bytes[at]! ^= a
    bytes[at + 1]! ^= b
    bytes[at + 2]! ^= c
    bytes[at + 3]! ^= d
  }
  if (at < end) bytes[at]! ^= a
  if (at + 1 < end) bytes[at + 1]! ^= b
  if (at + 2 < end) bytes[at + 2]! ^= c
}
