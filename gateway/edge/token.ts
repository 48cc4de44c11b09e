import {
  decodeJwt, decodeProtectedHeader, errors, jwtVerify, type JWTPayload, type JWTVerifyGetKey, type JWTVerifyOptions,
} from 'jose'
import type { Identity, TokenBearer } from '../../actors/connection/edge-context.js'
import type { Circuit } from '../../ledger/circuit.js'
import { userKey } from '../../schemas/apps.js'
import type { Health } from '../../schemas/conditions.js'
import { GatewayError } from '../../schemas/errors.js'
import { roomClaimWanted, RoomPatterns } from '../../schemas/room-rights.js'
import { idWanted, isId } from '../../schemas/text.js'
import type { App } from '../apps.js'
import type { Allowed, AuthQuestion } from '../auth/answer.js'
import type { TokenIssuer } from '../issuers.js'
import { type Key, KeySet, type KeySetTimes } from './key-set.js'

/** A client waits no longer for a token to become valid: its issuer's clock may be set meanwhile. */
const earlyMsMax = 600_000

/**
 * Verifies client tokens: the issuer says by which claim the user is named, `dev` is the device if it is there, `exp`
 * when it ends. The algorithms are pinned, so a token can't choose how it is checked: HS256 with an issuer's secret;
 * RS256, ES256 or EdDSA with his key set. Of several issuers, a token is checked with what the one has whom it names,
 * and with nothing else: so a token is of the app whose issuer it names, or of none. Where business is asked about
 * tokens, it is about those alone that are of no issuer.
 */
export class TokenVerifier {
  readonly #toleranceMs: number
  readonly #ours: readonly Issuer[]
  /** By what the list of apps says of them: one of which it says the same goes on. */
  #ofApps: ReadonlyMap<string, Issuer> = new Map()
  #issuers!: readonly Issuer[]
  #byName!: ReadonlyMap<string, Issuer>
  /** Of the default app, whose tokens need not name him: whatever names nobody else is checked with what he has. */
  readonly #only: Issuer | undefined
  readonly #auth: AskedAboutTokens | undefined
  readonly #issuer: (app: string, issuer: TokenIssuer) => Issuer
  #isStarted = false

  /**
   * @param issuers of the default app; several have names. At least one, unless there is `auth`
   * @param clockToleranceMs by how much their clocks may differ from ours
   * @param times of key sets
   * @param apps the others, whose issuers all have names, each of them once
   * @param auth is asked about tokens that are of no issuer
   */
  constructor (
    issuers: readonly TokenIssuer[], clockToleranceMs: number, health: Health, times?: KeySetTimes,
    apps: readonly App[] = [], auth?: AskedAboutTokens
  ) {
    this.#auth = auth
    this.#toleranceMs = clockToleranceMs
    const areMany = issuers.length > 1 || apps.length > 0
    this.#issuer = (app, issuer) => new Issuer(app, issuer, clockToleranceMs, jwksUrl =>
      new KeySet(jwksUrl, health, times, areMany ? issuer.names[0] : undefined))
    this.#ours = issuers.map(issuer => this.#issuer('', issuer))
    this.#only = issuers.length === 1 ? this.#ours[0] : undefined
    this.useApps(apps)
  }

  /** Takes the issuers of the apps that there are now. Keys of those that stay as they were need not be had anew. */
  useApps (apps: readonly App[]): void {
    const wanted = new Map(apps.flatMap(({ name, issuers }) =>
      issuers.map(issuer => [JSON.stringify([name, issuer]), { name, issuer }] as const)))
    // Before others begin that may have the same names.
    for (const [as, { keySet }] of this.#ofApps) if (!wanted.has(as)) keySet?.stop()
    const before = this.#ofApps
    this.#ofApps = new Map(Array.from(wanted, ([as, { name, issuer }]) =>
      [as, before.get(as) ?? this.#issuer(name, issuer)]))
    if (this.#isStarted) for (const [as, { keySet }] of this.#ofApps) if (!before.has(as)) keySet?.start()
    this.#issuers = [...this.#ours, ...this.#ofApps.values()]
    this.#byName = new Map(this.#issuers.flatMap(issuer => issuer.names.map(name => [name, issuer])))
  }

  start (): void {
    this.#isStarted = true
    for (const { keySet } of this.#issuers) keySet?.start()
  }

  stop (): void {
    for (const { keySet } of this.#issuers) keySet?.stop()
    this.#auth?.stop()
  }

  /** Before the hosts of key sets, one for each issuer that has one, and before who is asked. */
  circuits (): Circuit[] {
    return [...this.#issuers.flatMap(({ keySet }) => keySet?.circuit ?? []), ...this.#auth ? [this.#auth.circuit] : []]
  }

  /**
   * @throws GatewayError `bad-token` for one that will never be good; `token-expired`, `token-early` or
   *   `key-set-unavailable` for one to come back with, or for another one, after `retryAfterMs`; what `auth` throws
   */
  async verify (token: string, bearer: TokenBearer): Promise<Identity> {
    if (this.#auth && !this.#isOfIssuer(token)) return this.#identity(await this.#auth.ask({ ...bearer, token }))
    let issuer: Issuer
    let payload: JWTPayload
    try {
      issuer = this.#issuerOf(token)
      payload = await issuer.verified(token)
    } catch (err) {
      throw this.#refusal(err)
    }
    // He may have gone while his keys were asked for.
    if (!this.#issuers.includes(issuer)) return await this.verify(token, bearer)
    const early = this.#early(payload)
    if (early) throw early
    return identityOf(payload, issuer, this.#toleranceMs)
  }

  /** A JWT that names an issuer, or any, where one takes those of anybody. What he refuses, nobody is asked about. */
  #isOfIssuer (token: string): boolean {
    try {
      decodeProtectedHeader(token)
      const { iss } = decodeJwt(token)
      return (typeof iss === 'string' && this.#byName.has(iss)) || this.#only?.names.length === 0
    } catch {
      return false
    }
  }

  #identity ({ app, userId, deviceId, tokenId, rooms, expiresAtMs }: Allowed): Identity {
    const endsAtMs = expiresAtMs + this.#toleranceMs
    if (endsAtMs <= Date.now()) throw new GatewayError('token-expired')
    return { userId: userKey(app, userId), deviceId, tokenId, rooms, expiresAtMs, endsAtMs, isAsked: true }
  }

  /** Nothing of the token is verified here: whom it names finds out. */
  #issuerOf (token: string): Issuer {
    if (this.#issuers.length === 1) return this.#issuers[0]!
    const { iss } = decodeJwt(token)
    const issuer = (typeof iss === 'string' ? this.#byName.get(iss) : undefined) ?? this.#only
    if (!issuer) throw new GatewayError('bad-token', 'iss: nobody here has this issuer\'s keys')
    return issuer
  }

  /** What is wrong with the token is the client's; a clock that differs, or a key set that is away, is not. */
  #refusal (err: unknown): unknown {
    if (err instanceof errors.JWTExpired) return new GatewayError('token-expired', undefined, { cause: err })
    if (err instanceof errors.JWTClaimValidationFailed && err.claim === 'nbf' && err.reason === 'check_failed') {
      return this.#early(err.payload) ?? err
    }
    if (!(err instanceof errors.JOSEError || err instanceof TypeError)) return err
    return new GatewayError('bad-token', wrongWith(err), { cause: err })
  }

  /** jose says nothing of an `iat` that is ahead. */
  #early ({ nbf = 0, iat = 0 }: JWTPayload): GatewayError | undefined {
    const waitMs = Math.ceil(Math.max(nbf, iat) - this.#toleranceMs / 1_000) * 1_000 - Date.now()
    if (waitMs <= 0) return undefined
    return new GatewayError('token-early', undefined, { retryAfterMs: Math.min(earlyMsMax, waitMs) })
  }
}

/** Who judges tokens in place of keys. */
export interface AskedAboutTokens {
  readonly circuit: Circuit
  /** @throws GatewayError that is not of the token itself, or what it is refused for */
  ask (question: AuthQuestion): Promise<Allowed>
  stop (): void
}

/** What the tokens of one issuer are checked with. */
class Issuer {
  readonly names: readonly string[]
  readonly userClaim: string
  readonly keySet: KeySet | undefined
  readonly #options: JWTVerifyOptions
  readonly #payload: (token: string, options: JWTVerifyOptions) => Promise<JWTPayload>

  /** @param app whose users he vouches for; empty for the default one */
  constructor (
    readonly app: string, { names, secret, jwksUrl, audiences, userClaim }: TokenIssuer, toleranceMs: number,
    keySetAt: (jwksUrl: string) => KeySet
  ) {
    this.names = names
    this.userClaim = userClaim
    this.keySet = jwksUrl === undefined ? undefined : keySetAt(jwksUrl)
    this.#options = {
      algorithms: this.keySet ? ['RS256', 'ES256', 'EdDSA'] : ['HS256'],
      clockTolerance: toleranceMs / 1_000,
      ...(names.length > 0 ? { issuer: [...names] } : {}),
      ...(audiences.length > 0 ? { audience: [...audiences] } : {}),
    }
    if (this.keySet) this.#payload = withKeySet(this.keySet)
    else if (secret !== undefined) this.#payload = withSecret(secret)
    else throw new GatewayError('internal', 'neither a token secret nor a key set is configured')
  }

  /** @throws what jose or the key set throws */
  verified (token: string): Promise<JWTPayload> { return this.#payload(token, this.#options) }
}

/** In our own words: it goes into the ledger, and what jose says may quote the token. */
function wrongWith (err: Error): string {
  if (err instanceof errors.JWTClaimValidationFailed) return `${err.claim}: not what is wanted`
  if (err instanceof errors.JWSSignatureVerificationFailed) return 'its signature is not of a key that is known here'
  if (err instanceof errors.JOSEAlgNotAllowed) return 'alg: not one that is taken'
  if (err instanceof errors.JOSENotSupported) return 'its header wants what is not supported'
  return 'it is no signed JWT'
}

function withSecret (secret: string) {
  const key = crypto.subtle.importKey(
    'raw', new TextEncoder().encode(secret), { name: 'HMAC', hash: 'SHA-256' }, false, ['verify'])
  return async (token: string, options: JWTVerifyOptions) => (await jwtVerify(token, await key, options)).payload
}

/** A token that does not name its key is tried with each that it may be of, and then with those that there are now. */
function withKeySet (keySet: KeySet) {
  return async (token: string, options: JWTVerifyOptions): Promise<JWTPayload> => {
    try {
      return await withEach(token, options, (header, jws) => keySet.keysFor(header, jws))
    } catch (err) {
      if (!isForeign(err) || decodeProtectedHeader(token).kid !== undefined) throw err
      return await withEach(token, options, (header, jws) => keySet.newestFor(header, jws))
    }
  }
}

type FindKeys = (...of: Parameters<JWTVerifyGetKey>) => Promise<readonly Key[]>

async function withEach (token: string, options: JWTVerifyOptions, find: FindKeys): Promise<JWTPayload> {
  let others: readonly Key[] = []
  const findFirst: JWTVerifyGetKey = async (header, jws) => {
    const [first, ...rest] = await find(header, jws)
    others = rest
    return first!
  }
  try {
    return (await jwtVerify(token, findFirst, options)).payload
  } catch (err) {
    if (!isForeign(err)) throw err
    for (const key of others) {
      try {
        return (await jwtVerify(token, key, options)).payload
      } catch (err) {
        if (!isForeign(err)) throw err
      }
    }
    throw err
  }
}

/** It was signed with another key. */
function isForeign (err: unknown): boolean { return err instanceof errors.JWSSignatureVerificationFailed }

function identityOf (payload: JWTPayload, { app, userClaim }: Issuer, toleranceMs: number): Identity {
  const { dev, exp, jti } = payload
  const userId = Object.hasOwn(payload, userClaim) ? payload[userClaim] : undefined
  if (!isId(userId)) throw new GatewayError('bad-token', `${userClaim}: ${idWanted}`)
  if (dev !== undefined && typeof dev !== 'string') throw new GatewayError('bad-token', 'dev: want a device id')
  const rooms = Object.hasOwn(payload, 'rooms') ? RoomPatterns.of(payload['rooms']) : RoomPatterns.none
  if (!rooms) throw new GatewayError('bad-token', `rooms: ${roomClaimWanted}`)
  const expiresAtMs = exp === undefined ? Infinity : Math.trunc(exp * 1_000)
  return {
    userId: userKey(app, userId),
    deviceId: dev,
    tokenId: isId(jti) ? jti : '',
    rooms,
    expiresAtMs,
    endsAtMs: expiresAtMs + toleranceMs,
  }
}
