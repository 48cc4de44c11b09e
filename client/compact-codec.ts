import { frameFields, opcodes } from '../schemas/frame-fields.js'
import type { FieldType } from '../schemas/frame-fields.js'
import type { ClientFrame, Frame } from '../schemas/frames.js'
import { payloadFromJson, payloadToJson } from '../schemas/payload.js'
import { decodeUtf8, encodeUtf8 } from '../schemas/utf8.js'

/*
  The frames of protocol.md 2, driven by the table of their fields: a tenth of the bytes of schemas/frame-codec.ts, and
  slower. For browsers, where bytes count and frames are few. The vectors of test/vectors hold for both.
*/

const ops = Object.keys(frameFields) as Frame['op'][]

/** A WebSocket message: binary with Avro, text with JSON. */
export function encodeMessage (frame: ClientFrame, encoding: 'avro' | 'json'): Uint8Array<ArrayBuffer> | string {
  if (encoding === 'json') {
    return JSON.stringify('payload' in frame ? { ...frame, payload: payloadToJson(frame.payload) } : frame)
  }
  const bytes: number[] = [opcodes[frame.op]]
  for (const { name, type } of frameFields[frame.op]) write(bytes, type, (frame as any)[name])
  return Uint8Array.from(bytes)
}

/** @throws Error where the message is no frame */
export function decodeMessage (message: Uint8Array | string): Frame {
  return typeof message === 'string' ? decodeText(message) : decodeBytes(message)
}

function decodeText (text: string): Frame {
  const value = JSON.parse(text)
  const frame: any = { op: value.op }
  for (const { name, type, default: otherwise } of fieldsOf(value.op)) {
    const given = value[name] ?? otherwise
    frame[name] = type === 'bytes' ? payloadFromJson(given) : given
    if (frame[name] === undefined) throw new Error(`${value.op}.${name} is absent or wrong`)
  }
  return frame
}

function decodeBytes (bytes: Uint8Array): Frame {
  const op = ops.find(each => opcodes[each] === bytes[0])
  if (op === undefined) throw new Error(`opcode ${bytes[0]} is unknown`)
  const frame: any = { op }
  const cursor = { bytes, pos: 1 }
  for (const { name, type } of fieldsOf(op)) frame[name] = read(cursor, type)
  if (cursor.pos !== bytes.length) throw new Error(`${op} ends early or late`)
  return frame
}

function fieldsOf (op: Frame['op']): typeof frameFields[Frame['op']] {
  if (!ops.includes(op)) throw new Error(`op ${op} is unknown`)
  return frameFields[op]
}

function write (to: number[], type: FieldType, value: any): void {
  switch (type) {
    case 'int': case 'long': return writeLong(to, value)
    case 'boolean':
      to.push(value ? 1 : 0)
      return
    case 'string': return write(to, 'bytes', encodeUtf8(value))
    case 'bytes':
      writeLong(to, value.length)
      for (const byte of value) to.push(byte)
      return
    case 'longs': case 'strings':
      if (value.length > 0) writeLong(to, value.length)
      for (const item of value) write(to, type === 'longs' ? 'long' : 'string', item)
      to.push(0)
  }
}

/** Zigzag, without the bit operators of JavaScript, which know no more than 32 bits. */
function writeLong (to: number[], value: number): void {
  let rest = BigInt(value) * 2n
  if (value < 0) rest = -rest - 1n
  for (; rest > 127n; rest >>= 7n) to.push(Number(rest & 127n) | 128)
  to.push(Number(rest))
}

interface Cursor {
  readonly bytes: Uint8Array
  pos: number
}

function read (from: Cursor, type: FieldType): unknown {
  switch (type) {
    case 'int': case 'long': return readLong(from)
    case 'boolean': return readLong(from) !== 0
    case 'string': return decodeUtf8(readBytes(from))
    case 'bytes': return readBytes(from)
    case 'longs': case 'strings': {
      const items: unknown[] = []
      for (let count = readLong(from); count !== 0; count = readLong(from)) {
        if (count < 0) readLong(from) // how many bytes they are
        for (let left = Math.abs(count); left > 0; left--) items.push(read(from, type === 'longs' ? 'long' : 'string'))
      }
      return items
    }
  }
}

/** A view: whoever keeps it copies it. */
function readBytes (from: Cursor): Uint8Array {
  const length = readLong(from)
  const bytes = from.bytes.subarray(from.pos, from.pos += length)
  if (bytes.length !== length) throw new Error('ends early')
  return bytes
}

function readLong (from: Cursor): number {
  let zigzag = 0n
  for (let shift = 0n; ; shift += 7n) {
    const byte = from.bytes[from.pos++]
    if (byte === undefined) throw new Error('ends early')
    zigzag |= BigInt(byte & 127) << shift
    if (byte < 128) break
    if (shift > 63n) throw new Error('a number of too many bytes')
  }
  const value = Number((zigzag & 1n) === 0n ? zigzag >> 1n : -(zigzag >> 1n) - 1n)
  if (!Number.isSafeInteger(value)) throw new Error('a number beyond 2^53')
  return value
}
