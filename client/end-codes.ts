/*
  The codes that end a connection (protocol.md 4), in the order of their WebSocket close codes: from 4000 on come back,
  from 4500 on do not. schemas/errors.ts is their home, and a test keeps both identical; its texts are too much for a
  bundle of so few bytes.
*/
const comeBack = ['heartbeat-timeout', 'slow-consumer', 'migrating', 'redirected', 'handshake-timeout', 'rate-limited',
  'internal', 'token-expired', 'token-early', 'key-set-unavailable', 'ledger-unavailable', 'auth-unavailable'] as const
const stayAway = ['bad-frame', 'bad-token', 'protocol', 'kicked', 'banned', 'superseded'] as const

/** Why a connection, an attempt or a client ended: the server, no connection, no token, or `close`. */
export type EndCode =
  | typeof comeBack[number] | typeof stayAway[number] | 'connection-lost' | 'no-token' | 'disconnected'

/** What a `ClientError` may have for its code. */
export type ClientErrorCode = EndCode | 'outbox-full' | 'payload-too-large' | 'forbidden'

/** A newer server may say what this client does not know. */
export type OrNewer<Code extends string> = Code | (string & {})

/** @param closeCode of a WebSocket; a newer server may have one that we do not know */
export function codeOf (closeCode: number): OrNewer<EndCode> {
  return comeBack[closeCode - 4000] ?? stayAway[closeCode - 4500] ?? `close-${closeCode}`
}

/** Whether to stay away: as the code says, and where it is a newer one, as the close code does. */
export function isTerminal (code: string, closeCode: number): boolean {
  return isOneOf(stayAway, code) || (closeCode >= 4500 && !isOneOf(comeBack, code))
}

function isOneOf (codes: readonly string[], code: string): boolean {
  return codes.includes(code)
}
