import { createRemoteJWKSet, errors, jwtVerify, type JWTPayload, type JWTVerifyGetKey } from 'jose'
import type { Identity } from '../../actors/connection/connection.js'
import { GatewayError } from '../../schemas/errors.js'
import { idWanted, isId } from '../../schemas/text.js'

export interface TokenConfig {
  readonly jwtSecret: string | undefined
  readonly jwksUrl: string | undefined
  readonly jwtAudience: string | undefined
}

/** Clocks of those who issue tokens may differ from ours by as much, seconds. */
const clockToleranceS = 5

/**
 * Verifies client tokens: `sub` is the user, `dev` the device if it is there, `exp` when it ends. The algorithms are
 * pinned, so a token can't choose how it is checked: HS256 with the secret; RS256, ES256 or EdDSA with the key set.
 *
 * @returns a function that throws GatewayError `bad-token` or `token-expired`
 */
export function tokenVerifier (config: TokenConfig): (token: string) => Promise<Identity> {
  const { verify, algorithms } = keyOf(config)
  const options = {
    algorithms, clockTolerance: clockToleranceS, ...(config.jwtAudience ? { audience: config.jwtAudience } : {}),
  }
  return async token => {
    let payload: JWTPayload
    try {
      payload = await verify(token, options)
    } catch (err) {
      throw refusal(err)
    }
    return identityOf(payload)
  }
}

type Verify = (token: string, options: { algorithms: string[], audience?: string }) => Promise<JWTPayload>

function keyOf ({ jwtSecret, jwksUrl }: TokenConfig): { verify: Verify, algorithms: string[] } {
  if (jwksUrl !== undefined) {
    const keys: JWTVerifyGetKey = createRemoteJWKSet(new URL(jwksUrl))
    return {
      verify: async (token, options) => (await jwtVerify(token, keys, options)).payload,
      algorithms: ['RS256', 'ES256', 'EdDSA'],
    }
  }
  if (jwtSecret === undefined) throw new GatewayError('internal', 'neither a token secret nor a key set is configured')
  const key = crypto.subtle.importKey(
    'raw', new TextEncoder().encode(jwtSecret), { name: 'HMAC', hash: 'SHA-256' }, false, ['verify'])
  return {
    verify: async (token, options) => (await jwtVerify(token, await key, options)).payload,
    algorithms: ['HS256'],
  }
}

function identityOf ({ sub, dev, exp }: JWTPayload): Identity {
  if (!isId(sub)) throw new GatewayError('bad-token', `sub: ${idWanted}`)
  if (dev !== undefined && typeof dev !== 'string') throw new GatewayError('bad-token', 'dev: want a device id')
  return { userId: sub, deviceId: dev, expiresAtS: exp ?? Infinity }
}

/** What is wrong with the token is the client's; a key set that can't be reached is not. */
function refusal (err: unknown): unknown {
  if (err instanceof errors.JWTExpired) return new GatewayError('token-expired', undefined, { cause: err })
  if (err instanceof errors.JWKSTimeout || !(err instanceof errors.JOSEError || err instanceof TypeError)) return err
  return new GatewayError('bad-token', err.message, { cause: err })
}
