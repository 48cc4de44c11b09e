import { isUtf8 } from 'node:buffer'
import { GatewayError } from '../../schemas/errors.js'
import { textSchema } from './shapes.js'

/** A payload in JSON: text where the bytes are valid UTF-8, else base64 (protocol.md 1). */
export type JsonPayload = string | { readonly base64: string }

export const payloadSchema = {
  anyOf: [
    { ...textSchema(undefined), description: 'taken as UTF-8' },
    {
      type: 'object',
      required: ['base64'],
      additionalProperties: false,
      properties: { base64: { type: 'string' } },
    },
  ],
}

/** @throws GatewayError `bad-request` where `base64` is not what an encoder writes */
export function decodePayload (payload: JsonPayload): Buffer {
  if (typeof payload === 'string') return Buffer.from(payload)
  const bytes = Buffer.from(payload.base64, 'base64')
  // Buffer skips what it does not know, and so would turn a typing error into other bytes.
  if (bytes.toString('base64') === payload.base64) return bytes
  throw new GatewayError('bad-request', 'body/payload/base64 must be padded base64')
}

export function encodePayload (payload: Uint8Array): JsonPayload {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)
  return isUtf8(bytes) ? bytes.toString() : { base64: bytes.toString('base64') }
}
