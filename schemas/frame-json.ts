import { GatewayError } from './errors.js'
import { frameFields, type Field } from './frame-fields.js'
import type { Frame } from './frames.js'
import { payloadFromJson, payloadToJson } from './payload.js'
import { isText } from './text.js'

/** The text of a frame (protocol.md 1): `{"op":"uplink","seq":1,...}`, for clients without Avro. */
export function encodeFrameJson (frame: Frame): string {
  if ('payload' in frame) return JSON.stringify({ ...frame, payload: payloadToJson(frame.payload) })
  return JSON.stringify(frame)
}

/**
 * @throws GatewayError `bad-frame`, and nothing else whatever the text, naming the field: not JSON, unknown op, a
 *   required field absent, a wrong type, a number that is no integer within 2^53
 */
export function decodeFrameJson (text: string): Frame {
  const value = parse(text)
  const op = Object.hasOwn(value, 'op') ? value['op'] : undefined
  if (typeof op !== 'string' || !Object.hasOwn(frameFields, op)) throw bad(isName(op) ? `op "${op}" is unknown` : 'op is unknown')
  const frame: Record<string, unknown> = { op }
  for (const field of frameFields[op as Frame['op']]) {
    if (Object.hasOwn(value, field.name)) frame[field.name] = fieldValue(field, value[field.name])
    else if (field.default === undefined) throw bad(`${op}.${field.name} is absent`)
    else frame[field.name] = field.default
  }
  return frame as unknown as Frame
}

function parse (text: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new GatewayError('bad-frame', 'not JSON', { cause })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad('not a JSON object')
  return value as Record<string, unknown>
}

function fieldValue ({ name, type }: Field, value: unknown): unknown {
  switch (type) {
    case 'string':
      if (!isText(value)) throw bad(`${name}: want a string`)
      return value
    case 'boolean':
      if (typeof value !== 'boolean') throw bad(`${name}: want true or false`)
      return value
    case 'long':
      if (!Number.isSafeInteger(value)) throw bad(`${name}: want an integer within 2^53`)
      return Number(value) + 0 // JSON has -0, Avro has not
    case 'int':
      if ((Number(value) | 0) !== value) throw bad(`${name}: want an integer of 32 bits`)
      return Number(value) + 0
    case 'bytes': return payloadBytes(name, value)
    case 'strings':
      if (!Array.isArray(value) || !value.every(isText)) throw bad(`${name}: want an array of strings`)
      return value
    case 'longs':
      if (!Array.isArray(value) || !value.every(Number.isSafeInteger)) throw bad(`${name}: want an array of integers`)
      return value.map(each => each + 0)
  }
}

/** What else a client may have put there is not for the ledger, which keeps why a connection ended. */
function isName (op: unknown): boolean { return typeof op === 'string' && /^[A-Za-z]{1,16}$/.test(op) }

function payloadBytes (name: string, value: unknown): Uint8Array {
  const bytes = payloadFromJson(value)
  if (bytes === undefined) throw bad(`${name}: want a string or {"base64": "..."}`)
  return bytes
}

function bad (reason: string): GatewayError {
  return new GatewayError('bad-frame', reason)
}
