import type { JsonPayload } from '../schemas/payload.js'

/** Of a payload that is `shown`. */
export function payloadText (payload: JsonPayload): string {
  return typeof payload === 'string' ? payload : `base64:${payload.base64}`
}
