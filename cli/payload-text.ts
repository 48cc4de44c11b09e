import type { JsonPayload } from '../schemas/payload.js'

/** For a terminal: control characters, which could write anything anywhere on it, are shown escaped. */
export function payloadText (payload: JsonPayload): string {
  if (typeof payload !== 'string') return `base64:${payload.base64}`
  // eslint-disable-next-line no-control-regex
  return payload.replace(/[\x00-\x1f\x7f-\x9f]/g, char => JSON.stringify(char).slice(1, -1)
    .replace(/^[\x7f-\x9f]$/, c1 => `\\u${c1.charCodeAt(0).toString(16).padStart(4, '0')}`))
}
