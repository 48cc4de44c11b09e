import { createHmac } from 'node:crypto'
import { roomsClaim } from './rooms/member.js'

/** Whose a token is. */
export interface TokenOf {
  readonly userId: string
  readonly tokenId: string
  /** Ms since 1970; Infinity for ever. */
  readonly expiresAtMs: number
}

/** That whoever has the secret can verify. */
export function jwtOf ({ userId, tokenId, expiresAtMs }: TokenOf, secret: string): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const expires = expiresAtMs < Infinity ? { exp: Math.floor(expiresAtMs / 1_000) } : {}
  const claims = { sub: userId, jti: tokenId, rooms: roomsClaim, ...expires }
  const signed = `${part({ alg: 'HS256' })}.${part(claims)}`
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
}

/** That says something to business alone. */
export function opaqueOf ({ userId, tokenId, expiresAtMs }: TokenOf): string {
  return Buffer.from([userId, tokenId, expiresAtMs].join('|')).toString('hex')
}

/** Whether it may be an `opaqueOf`: hexadecimal, with all that one says. */
export function isOpaque (token: string): boolean {
  return Buffer.from(token, 'hex').toString().split('|').length === 3
}

/** @param token an opaque one */
export function readOpaque (token: string): TokenOf {
  const [userId, tokenId, expiresAtMs] = Buffer.from(token, 'hex').toString().split('|')
  return { userId: userId!, tokenId: tokenId!, expiresAtMs: Number(expiresAtMs) }
}
