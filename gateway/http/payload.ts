import { GatewayError } from '../../schemas/errors.js'
import { type JsonPayload, payloadFromJson } from '../../schemas/payload.js'
import { wellFormedSchema } from './shapes.js'

export const payloadSchema = {
  description: 'a string, or {"base64": "..."}',
  anyOf: [
    { ...wellFormedSchema, description: 'taken as UTF-8' },
    {
      type: 'object',
      required: ['base64'],
      additionalProperties: false,
      properties: { base64: { type: 'string' } },
    },
  ],
}

/** @throws GatewayError `bad-request` where `base64` is not what an encoder writes */
export function decodePayload (payload: JsonPayload): Uint8Array {
  const bytes = payloadFromJson(payload)
  if (bytes === undefined) throw new GatewayError('bad-request', 'body/payload/base64 must be padded base64')
  return bytes
}
