import { createHash, createHmac } from 'node:crypto'

/*
  Standard Webhooks (standardwebhooks.com), version v1 of its signatures:

    webhook-id          the same for each attempt
    webhook-timestamp   of this attempt, s since 1970
    webhook-signature   "v1," and base64 of HMAC-SHA256 over ID "." TIMESTAMP "." BODY; for each secret one, by spaces
*/

/** A secret, for JSON Schema. */
export const secretPattern = '^whsec_[A-Za-z0-9+/]{32,86}={0,2}$'

/** What it must be, for an error behind its name. */
export const secretWanted = 'whsec_ and base64 of 24 to 64 bytes, such as `echo whsec_$(openssl rand -base64 32)` prints'

/** @param text of `secretPattern` */
export function secretOf (text: string): Buffer { return Buffer.from(text.slice('whsec_'.length), 'base64') }

export interface SignedHeaders {
  readonly 'webhook-id': string
  readonly 'webhook-timestamp': string
  readonly 'webhook-signature': string
}

/** @param nowMs ms since 1970 */
export function signed (id: string, body: string, secrets: readonly Buffer[], nowMs: number): SignedHeaders {
  const timestamp = String(Math.floor(nowMs / 1_000))
  const content = `${id}.${timestamp}.${body}`
  const signatures = secrets.map(secret => `v1,${createHmac('sha256', secret).update(content).digest('base64')}`)
  return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures.join(' ') }
}

/**
 * The id of a record in requests: the same for each copy of it. Ids of users may hold what no header takes, and "." has
 * a meaning in what is signed.
 *
 * @param messageId what its stream drops repeats by
 */
export function recordId (stream: string, messageId: string): string {
  return `msg_${digest(`${stream} ${messageId}`)}`
}

/** The id of a request with an array of records. */
export function batchId (recordIds: readonly string[]): string {
  return `batch_${digest(recordIds.join(' '))}`
}

function digest (text: string): string {
  return createHash('sha256').update(text).digest('base64url').slice(0, 27)
}
