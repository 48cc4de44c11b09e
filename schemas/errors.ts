/** What a code means, to whoever meets it on a socket, in an HTTP answer, in a fact or in a log. */
export interface ErrorDescription {
  /** WebSocket close code; null where it never ends a connection with a close frame of ours. */
  readonly close: number | null
  /** HTTP status; null where it never answers a request. */
  readonly status: number | null
  /** Whether the same client may try again without a person changing something. */
  readonly retry: boolean
  readonly meaning: string
}

/** The one home of every code (protocol.md 4, docs/errors.md). Callers branch on the code, never on the text. */
const table = {
  // How we end a connection. 4000 to 4499: reconnect; 4500 to 4999: do not.
  'heartbeat-timeout': row(4000, null, true, 'The connection was silent too long.'),
  'slow-consumer': row(4001, null, true, 'The write queue of the connection passed its bound; resume brings the rest.'),
  migrating: row(4002, null, true, 'The node is leaving; connect to another endpoint.'),
  redirected: row(4003, null, true, 'Another endpoint is the right one; use those given.'),
  'handshake-timeout': row(4004, null, true, 'No connect frame arrived in time.'),
  'rate-limited': row(4005, 429, true, 'The connection sent too many frames, its user is too far over the rate, its address opened too many connections, or its app has as many as it may; wait as told.'),
  internal: row(4006, 500, true, 'The fault is ours, and the log has the details.'),
  'token-expired': row(4007, null, true, 'The token has expired, at connect or later; come back with a fresh one.'),
  'token-early': row(4008, null, true, 'The token is not valid yet: its issuer has another clock; wait and come back.'),
  'key-set-unavailable': row(4009, null, true, 'The gateway can not fetch the keys to check the token with just now; wait and come back.'),
  'auth-unavailable': row(4011, null, true, 'The service that the gateway asks about tokens does not answer just now; wait and come back.'),
  'bad-frame': row(4500, null, false, 'A frame was truncated, oversized, undecodable or of an unknown opcode.'),
  'bad-token': row(4501, null, false, 'The token will never be good: malformed, or of a wrong signature, algorithm, issuer, audience or device; or its app is not served any more.'),
  protocol: row(4502, null, false, 'A frame came out of order, or acked what was never sent.'),
  kicked: row(4503, null, false, 'Login policy or an operator ended the connection.'),
  banned: row(4504, null, false, 'An operator or a business service banned this user, device or token.'),
  superseded: row(4505, null, false, 'This device opened a newer connection.'),

  // How a connection ends without us.
  disconnected: row(null, null, false, 'The client said goodbye or closed cleanly.'),
  'connection-lost': row(null, null, true, 'The socket failed or was reset.'),
  'no-token': row(null, null, true, 'The application had no token for this attempt; where it said that there will be none, the client ended.'),
  'node-lost': row(null, null, true, 'The node that held the connection died or lost its lease.'),

  // Why an uplink is refused; it is still in the client's outbox.
  gap: row(null, null, true, 'An uplink before this one is missing; resend from the expected seq.'),
  throttled: row(null, 429, true, 'This sender is over its rate; wait as told.'),
  overloaded: row(null, 503, true, 'The node takes no more of this kind, of this priority, or of this user, just now; wait as told.'),
  'ledger-unavailable': row(4010, 503, true, 'The ledger can not be written; nothing was stored.'),

  // What a request over HTTP meets.
  'bad-request': row(null, 400, false, 'The request is malformed; the message names the field.'),
  unauthorized: row(null, 401, false, 'The API key is missing or unknown, has expired or was revoked.'),
  forbidden: row(null, 403, false, 'The right is missing: the API key is good, but lacks the scope or is of another app; or the client may not read or post in the room.'),
  'bad-origin': row(null, 403, false, 'This page is of an origin that LEDGERLINE_ALLOWED_ORIGINS does not allow.'),
  'not-found': row(null, 404, false, 'There is no such thing here, or not any longer.'),
  'method-not-allowed': row(null, 405, false, 'The path exists, but does not take this method; Allow names those that it takes.'),
  'unsupported-media-type': row(null, 415, false, 'The body is not JSON.'),
  'payload-too-large': row(null, 413, false, 'The request or its payload passes the bound.'),
  'not-ready': row(null, 503, true, 'The role that would answer is starting, stopping or cut off from its store.'),

  // What a reader of a group meets.
  'not-leased': row(null, 409, false, 'The partition belongs to another reader now, who goes on from the last ack.'),
  'has-readers': row(null, 409, true, 'The group has readers; it can be forgotten once they have gone.'),

  // Why a client is no member of a room, or no longer.
  left: row(null, null, false, 'The client left the room, as it asked.'),
  'too-many-rooms': row(null, null, false, 'The connection has joined as many rooms as it may; leave one first.'),
  'room-closed': row(null, 410, false, 'The room is closed: nobody joins it or posts in it.'),

  // What became of a downlink that no client acked.
  'outbox-full': row(null, null, true, 'The session had too many unacked downlinks; the oldest was dropped.'),
  'waiting-full': row(null, null, true, 'Too many downlinks waited for the first session of the user.'),
  ttl: row(null, null, false, 'Its time to live passed before it was acked.'),
  'sessions-full': row(null, null, false, 'The user had too many devices, so this one lost its place.'),
  skipped: row(null, null, false, 'The application failed at it at every try, so the client went on without it.'),
  'no-target': row(null, null, false, 'No session of the user is of the platforms and devices that the request names.'),
  'session-ended': row(null, null, false, 'The session ended before it was acked.'),
  recalled: row(null, null, false, 'Its sender took it back before it had a number.'),
  duplicate: row(null, null, false, 'A request with this id was taken before; the first one stands.'),
  conflict: row(null, null, false, 'A request with this id was taken before, for another payload or service; the first one stands.'),

  // Inside.
  'bad-record': row(null, null, false, 'A stored record can not be decoded.'),
} as const satisfies Record<string, ErrorDescription>

export type ErrorCode = keyof typeof table

export const errors: Readonly<Record<ErrorCode, ErrorDescription>> = table

function row (close: number | null, status: number | null, retry: boolean, meaning: string): ErrorDescription {
  return { close, status, retry, meaning }
}

export interface GatewayErrorOptions {
  readonly cause?: unknown
  readonly retryAfterMs?: number
}

/** An error that somebody may branch on, by its `code`. */
export class GatewayError extends Error {
  override readonly name = 'GatewayError'
  readonly code: ErrorCode
  /** How long whoever meets it is to wait; 0 where that is not known. */
  readonly retryAfterMs: number

  /** @param message what went wrong here; by default what the code means anywhere */
  constructor (code: ErrorCode, message: string = table[code].meaning, options: GatewayErrorOptions = {}) {
    super(message, options)
    this.code = code
    this.retryAfterMs = options.retryAfterMs ?? 0
  }

  /** WebSocket close code, if this error ends a connection. */
  get closeCode (): number | null { return errors[this.code].close }

  /** HTTP status, if this error answers a request. Fastify reads it by this name. */
  get statusCode (): number | null { return errors[this.code].status }
}

/** Whether `code`, perhaps from another process or a newer version, is one of ours. */
export function isErrorCode (code: string): code is ErrorCode {
  return Object.hasOwn(table, code)
}

/** What a code means, for use within a sentence; a code that is not ours stands for itself. */
export function errorInWords (code: string): string {
  if (!isErrorCode(code)) return code
  const { meaning } = errors[code]
  return meaning.charAt(0).toLowerCase() + meaning.slice(1).replace(/\.$/, '')
}

/** The table as Markdown, for docs/errors.md. */
export function errorsMarkdown (): string {
  const lines = Object.entries(errors).map(([code, { close, status, retry, meaning }]) =>
    `| \`${code}\` | ${close ?? ''} | ${status ?? ''} | ${retry ? 'yes' : 'no'} | ${meaning} |`)
  return ['| Code | Close | HTTP | Retry | Meaning |', '| --- | --- | --- | --- | --- |', ...lines, ''].join('\n')
}
