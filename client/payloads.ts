import { payloadToJson } from '../schemas/payload.js'
import type { Uplink } from '../schemas/frames.js'
import { isText, isTextWithin, serviceBytesMax, textWanted, utf8Bytes } from '../schemas/text.js'
import { decodeUtf8, encodeUtf8 } from '../schemas/utf8.js'
import { checkNames } from './options.js'
import type { SendOptions } from './options.js'
import type { Encoding } from './platform.js'

/** What `send` takes: a text, which goes as UTF-8, or bytes, which are copied at once. */
export type Payload = string | ArrayBuffer | ArrayBufferView

export interface Readable {
  /** The payload as UTF-8. @throws Error where it is none */
  text (): string
  /** @throws Error where the payload is no JSON */
  json (): any
}

/** @throws TypeError where it is none */
export function bytesOf (payload: Payload): Uint8Array {
  if (isText(payload)) return encodeUtf8(payload)
  if (typeof payload === 'string') throw new TypeError('payload: got half a surrogate pair, which has no UTF-8')
  if (ArrayBuffer.isView(payload)) return new Uint8Array(payload.buffer, payload.byteOffset, payload.byteLength).slice()
  // By its name: a buffer may be of another realm, such as a frame or a test environment.
  if (/ArrayBuffer\]$/.test(Object.prototype.toString.call(payload))) return new Uint8Array(payload).slice()
  throw new TypeError(`payload: got ${payload === null ? 'null' : typeof payload}, want a text or bytes; sendJson takes the rest`)
}

/** @throws TypeError for what has no JSON: undefined, a function, a cycle, a bigint */
export function jsonOf (value: unknown): string {
  const text = JSON.stringify(value) as string | undefined
  if (text === undefined) throw new TypeError(`value: got ${typeof value}, which has no JSON`)
  return text
}

/** @throws TypeError naming what is wrong */
export function checkedSend (options: SendOptions = {}): Required<SendOptions> {
  checkNames(options, ['service', 'priority'])
  const { service = '', priority = 0 } = options
  if (!isTextWithin(service, serviceBytesMax)) throw new TypeError(`service: ${textWanted(serviceBytesMax)}`)
  if ((priority | 0) !== priority) throw new TypeError('priority: want an integer of 32 bits')
  return { service, priority }
}

/** The payload of something received, copied from what was read, and ways to read it. */
export function readable (payload: Uint8Array): Readable & { readonly payload: Uint8Array } {
  const copy = new Uint8Array(payload)
  const text = (): string => decodeUtf8(copy)
  return { payload: copy, text, json: () => JSON.parse(text()) }
}

/** Bytes of an uplink's frame, opcode included, as `encoding` has it. */
export function uplinkBytes (uplink: Uplink, encoding: Encoding): number {
  const { seq, service, payload, priority, roomId } = uplink
  if (encoding === 'json') return utf8Bytes(JSON.stringify({ ...uplink, payload: payloadToJson(payload) }))
  return 1 + varintBytes(seq) + countedBytes(utf8Bytes(service)) + countedBytes(payload.length) +
    varintBytes(priority) + countedBytes(utf8Bytes(roomId))
}

function countedBytes (bytes: number): number { return varintBytes(bytes) + bytes }

/** Zigzag, 7 bits a byte. */
function varintBytes (value: number): number {
  let bytes = 1
  for (let rest = value < 0 ? -2 * value - 1 : 2 * value; rest > 127; rest = Math.floor(rest / 128)) bytes++
  return bytes
}
