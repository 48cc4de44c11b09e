import { createHmac, timingSafeEqual } from 'node:crypto'

/** What a webhook tells of, as docs/webhooks.md describes it. */
export interface WebhookEvent {
  /** The same for every copy of it: drop what you have had. */
  readonly id: string
  /** Such as `uplink.accepted`. */
  readonly type: string
  /** ISO 8601. */
  readonly timestamp: string
  /** The record, as `GET /v1/streams/:stream` shows it. */
  readonly data: any
}

/** Not signed with this secret, or not now: answer with 401. */
export class WebhookVerificationError extends Error {
  override readonly name = 'WebhookVerificationError'
}

/** As Node has them, names in lower case. */
export type WebhookHeaders = Readonly<Record<string, string | readonly string[] | undefined>>

/** A request that is older, or further ahead, is refused: somebody may have kept it and sent it again. */
const toleranceSeconds = 300
const keyBytesMin = 24

/**
 * Verifies one request by the Standard Webhooks specification.
 *
 * @param body the bytes as they came: JSON that was parsed and written again has another signature
 * @param secret `whsec_...`; while secrets are exchanged, each that may be in use
 * @param nowMs ms since 1970
 * @returns what it tells, in order: one event, or those of a batch
 * @throws WebhookVerificationError where it is not from who has the secret; TypeError where `secret` is none
 */
export function verify (
  headers: WebhookHeaders, body: string | Uint8Array, secret: string | readonly string[], nowMs = Date.now()
): readonly WebhookEvent[] {
  const [id, timestamp, signatures] = ['webhook-id', 'webhook-timestamp', 'webhook-signature'].map(name => headers[name])
  if (typeof id !== 'string' || typeof timestamp !== 'string' || typeof signatures !== 'string') {
    throw new WebhookVerificationError('want the headers webhook-id, webhook-timestamp and webhook-signature')
  }
  if (!/^\d{1,15}$/.test(timestamp)) throw new WebhookVerificationError('webhook-timestamp: want seconds since 1970')
  if (Math.abs(nowMs / 1_000 - Number(timestamp)) > toleranceSeconds) {
    throw new WebhookVerificationError(`webhook-timestamp: it is more than ${toleranceSeconds} s from now`)
  }
  const given = signatures.split(' ').filter(each => each.startsWith('v1,')).map(each => Buffer.from(each.slice(3), 'base64'))
  const isSigned = [secret].flat().some(each => {
    const wanted = createHmac('sha256', keyOf(each)).update(`${id}.${timestamp}.`).update(body).digest()
    return given.some(signature => signature.length === wanted.length && timingSafeEqual(signature, wanted))
  })
  if (!isSigned) throw new WebhookVerificationError('webhook-signature: none is of a secret that is known here')
  return [JSON.parse(typeof body === 'string' ? body : Buffer.from(body).toString())].flat()
}

function keyOf (secret: string): Buffer {
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64')
  if (key.length < keyBytesMin) throw new TypeError('secret: want whsec_ and base64 of at least 24 bytes')
  return key
}
