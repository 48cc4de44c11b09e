import { type ErrorCode, GatewayError } from '../../schemas/errors.js'
import type { Entry } from '../../schemas/facts.js'
import { textWanted, tokenBytesMax, utf8Fits } from '../../schemas/text.js'
import { closeConnection } from './close.js'
import type { Connection } from './connection.js'
import type { EdgeContext, Identity } from './edge-context.js'
import { never, tickMs } from './lifetime.js'
import { tokenAllows } from './rooms.js'

/** While a token is verified that came on the open connection. */
export interface TokenCheck {
  /** The last one that came meanwhile. */
  next: string | undefined
}

/** What a token was refused with. */
export interface TokenRefusal {
  readonly code: ErrorCode
  readonly reason: string
  readonly retryAfterMs: number
}

/** Verifies a new token. Nothing waits for that: until then the connection lasts as its old token says. */
export function freshToken (connection: Connection, token: string): void {
  if (!connection.cursor.isGreeted) {
    closeConnection(connection, 'protocol', 'a token before connected')
    return
  }
  connection.cursor.answered()
  if (!utf8Fits(token, tokenBytesMax)) {
    closeConnection(connection, 'bad-frame', `token: ${textWanted(tokenBytesMax)}`)
    return
  }
  if (connection.tokenCheck) {
    connection.tokenCheck.next = token
    return
  }
  connection.tokenCheck = { next: undefined }
  check(connection, token)
}

function check (connection: Connection, token: string): void {
  const { edge, deviceId, platform, wire: { address } } = connection
  edge.verify(token, { frame: 'token', deviceId, platform, client: '', address }).then(
    identity => { connection.tell({ type: 'tokenVerified', identity }) },
    error => { connection.tell({ type: 'tokenRefused', token, refusal: refusalOf(edge, error) }) })
}

/** The token takes the place of the old one, if it is of the same user and device. */
export function tokenVerified (connection: Connection, identity: Identity): void {
  const { userId, deviceId, edge, life } = connection
  if (identity.userId !== userId) {
    closeConnection(connection, 'bad-token', 'the token is of another user')
    return
  }
  if (isOfAnotherDevice(identity, deviceId)) {
    closeConnection(connection, 'bad-token', otherDevice)
    return
  }
  life.renew(endOf(edge, identity))
  renewTokenId(connection, identity.tokenId)
  tellExpiry(connection, identity.expiresAtMs)
  tokenAllows(connection, identity.rooms)
  goOn(connection)
}

/** @param expiresAtMs ms since 1970; Infinity for never */
export function tellExpiry (connection: Connection, expiresAtMs: number): void {
  connection.write({ op: 'tokenAccepted', expiresAtMs: Number.isSafeInteger(expiresAtMs) ? expiresAtMs : 0 })
}

/** Tells the ledger of the new token, by whose id it may be banned; at some time, for nothing waits for it. */
function renewTokenId (connection: Connection, tokenId: string): void {
  if (tokenId === connection.tokenId) return
  connection.tokenId = tokenId
  const { edge, partition, userId, connectionId } = connection
  const renewal = ++connection.tokenRenewals
  const entry: Entry = { userId, atMs: Date.now(), fact: { type: 'TokenRenewed', connectionId, renewal, tokenId } }
  edge.append(partition, [entry]).catch(() => { edge.appendLater(partition, entry) })
}

/** The token can't be checked now, which says nothing against it: it is tried again while the old one lasts. */
export function tokenRefused (connection: Connection, token: string, refusal: TokenRefusal): void {
  const { code, reason, retryAfterMs } = refusal
  if (code !== 'key-set-unavailable' && code !== 'auth-unavailable') {
    closeConnection(connection, code, reason, { retryAfterMs })
    return
  }
  if (connection.tokenCheck?.next !== undefined) {
    goOn(connection)
    return
  }
  setTimeout(() => { connection.tell({ type: 'tokenDue', token }) }, retryAfterMs).unref()
}

/** Tries the token again, or the one that has come since. */
export function tryAgain (connection: Connection, token: string): void {
  const { next } = connection.tokenCheck ?? {}
  connection.tokenCheck = { next: undefined }
  check(connection, next ?? token)
}

function goOn (connection: Connection): void {
  const next = connection.tokenCheck?.next
  if (next === undefined) {
    connection.tokenCheck = undefined
    return
  }
  connection.tokenCheck = { next: undefined }
  check(connection, next)
}

export const otherDevice = 'deviceId is not the one in the token'

export function isOfAnotherDevice (identity: Identity, deviceId: string): boolean {
  return identity.deviceId !== undefined && identity.deviceId !== deviceId
}

/** When a connection ends with its token, ticks. */
export function endOf (edge: EdgeContext, { endsAtMs }: Identity): number {
  const leftTicks = Math.ceil((endsAtMs - Date.now()) / tickMs)
  return Math.min(never, edge.ticks() + Math.max(0, leftTicks))
}

/** An error that the verifier did not foresee is our fault, and is logged. */
export function refusalOf (edge: EdgeContext, error: Error): TokenRefusal {
  if (error instanceof GatewayError) {
    return { code: error.code, reason: error.message, retryAfterMs: error.retryAfterMs }
  }
  edge.failed('token could not be verified', error, {})
  return { code: 'internal', reason: 'the token could not be verified', retryAfterMs: 0 }
}
