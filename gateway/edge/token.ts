import { decodeProtectedHeader, errors, jwtVerify, type JWTPayload, type JWTVerifyGetKey, type JWTVerifyOptions } from 'jose'
import type { Identity } from '../../actors/connection/connection.js'
import type { Health } from '../../schemas/conditions.js'
import { GatewayError } from '../../schemas/errors.js'
import { idWanted, isId } from '../../schemas/text.js'
import { type Key, KeySet, type KeySetTimes } from './key-set.js'

export interface TokenConfig {
  readonly jwtSecret: string | undefined
  readonly jwksUrl: string | undefined
  readonly jwtAudience: string | undefined
  /** By how much the clocks of those who issue tokens may differ from ours. */
  readonly clockToleranceMs: number
}

/** A client waits no longer for a token to become valid: its issuer's clock may be set meanwhile. */
const earlyMsMax = 600_000

/**
 * Verifies client tokens: `sub` is the user, `dev` the device if it is there, `exp` when it ends. The algorithms are
 * pinned, so a token can't choose how it is checked: HS256 with the secret; RS256, ES256 or EdDSA with the key set.
 */
export class TokenVerifier {
  readonly #toleranceMs: number
  readonly #options: JWTVerifyOptions
  readonly #payload: (token: string, options: JWTVerifyOptions) => Promise<JWTPayload>
  readonly #keySet: KeySet | undefined

  /** @param times of the key set, where there is one */
  constructor (
    { jwtSecret, jwksUrl, jwtAudience, clockToleranceMs }: TokenConfig, health: Health, times?: KeySetTimes
  ) {
    this.#toleranceMs = clockToleranceMs
    this.#keySet = jwksUrl === undefined ? undefined : new KeySet(jwksUrl, health, times)
    this.#options = {
      algorithms: this.#keySet ? ['RS256', 'ES256', 'EdDSA'] : ['HS256'],
      clockTolerance: clockToleranceMs / 1_000,
      ...(jwtAudience ? { audience: jwtAudience } : {}),
    }
    if (this.#keySet) this.#payload = withKeySet(this.#keySet)
    else if (jwtSecret !== undefined) this.#payload = withSecret(jwtSecret)
    else throw new GatewayError('internal', 'neither a token secret nor a key set is configured')
  }

  start (): void { this.#keySet?.start() }
  stop (): void { this.#keySet?.stop() }

  /**
   * @throws GatewayError `bad-token` for one that will never be good; `token-expired`, `token-early` or
   *   `key-set-unavailable` for one to come back with, or for another one, after `retryAfterMs`
   */
  async verify (token: string): Promise<Identity> {
    let payload: JWTPayload
    try {
      payload = await this.#payload(token, this.#options)
    } catch (err) {
      throw this.#refusal(err)
    }
    const early = this.#early(payload)
    if (early) throw early
    return identityOf(payload, this.#toleranceMs)
  }

  /** What is wrong with the token is the client's; a clock that differs, or a key set that is away, is not. */
  #refusal (err: unknown): unknown {
    if (err instanceof errors.JWTExpired) return new GatewayError('token-expired', undefined, { cause: err })
    if (err instanceof errors.JWTClaimValidationFailed && err.claim === 'nbf' && err.reason === 'check_failed') {
      return this.#early(err.payload) ?? err
    }
    if (!(err instanceof errors.JOSEError || err instanceof TypeError)) return err
    return new GatewayError('bad-token', err.message, { cause: err })
  }

  /** jose says nothing of an `iat` that is ahead. */
  #early ({ nbf = 0, iat = 0 }: JWTPayload): GatewayError | undefined {
    const waitMs = Math.ceil(Math.max(nbf, iat) - this.#toleranceMs / 1_000) * 1_000 - Date.now()
    if (waitMs <= 0) return undefined
    return new GatewayError('token-early', undefined, { retryAfterMs: Math.min(earlyMsMax, waitMs) })
  }
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

function identityOf ({ sub, dev, exp }: JWTPayload, toleranceMs: number): Identity {
  if (!isId(sub)) throw new GatewayError('bad-token', `sub: ${idWanted}`)
  if (dev !== undefined && typeof dev !== 'string') throw new GatewayError('bad-token', 'dev: want a device id')
  const expiresAtMs = exp === undefined ? Infinity : Math.trunc(exp * 1_000)
  return { userId: sub, deviceId: dev, expiresAtMs, endsAtMs: expiresAtMs + toleranceMs }
}
