import type { Config } from '../config.js'
import { ConfigError, type Reader } from '../setting.js'
import { secretOf, secretPattern, secretWanted } from '../webhooks/signature.js'

/** Whom a node asks about tokens. */
export interface AuthSetting {
  readonly url: URL
  /** Each question is signed with every one of them. */
  readonly secrets: readonly Buffer[]
  /** Questions at the same time, of this node. */
  readonly concurrency: number
}

/** As old and new ones may overlap while they are exchanged. */
const secretsMax = 4

export function authSecrets (): Reader<readonly string[]> {
  const isSecret = new RegExp(secretPattern)
  return {
    want: `1 to ${secretsMax} secrets, comma-separated, each ${secretWanted}`,
    parse (text) {
      const secrets = text.split(',').map(secret => secret.trim())
      return secrets.length <= secretsMax && secrets.every(secret => isSecret.test(secret)) ? secrets : undefined
    },
  }
}

type AuthSettings = Pick<Config,
  'authUrl' | 'authSecret' | 'authConcurrency' | 'jwtSecret' | 'jwksUrl' | 'jwtIssuer' | 'jwtAudience' | 'jwtUserClaim'>

/**
 * @returns undefined where nobody is asked
 * @throws ConfigError where settings are missing, or would have no effect
 */
export function authSetting (config: AuthSettings): AuthSetting | undefined {
  const { authUrl, authSecret, authConcurrency: concurrency, jwtSecret, jwksUrl } = config
  if (authUrl === undefined) {
    if (authSecret === undefined) return undefined
    throw new ConfigError('LEDGERLINE_AUTH_URL: got nothing, want a URL, for LEDGERLINE_AUTH_SECRET is set')
  }
  if (authSecret === undefined) {
    throw new ConfigError(`LEDGERLINE_AUTH_SECRET: got nothing, want ${secretWanted}, for LEDGERLINE_AUTH_URL is set`)
  }
  const { jwtIssuer, jwtAudience, jwtUserClaim } = config
  const isOfIssuer = jwtIssuer.length > 0 || jwtAudience.length > 0 || jwtUserClaim !== undefined
  if (isOfIssuer && jwtSecret === undefined && jwksUrl === undefined) {
    throw new ConfigError('LEDGERLINE_JWT_SECRET or LEDGERLINE_JWKS_URL: got neither, want one of them: beside ' +
      'LEDGERLINE_AUTH_URL no secret is generated, and what is set of an issuer would have no effect')
  }
  return { url: new URL(authUrl), secrets: authSecret.map(secretOf), concurrency }
}
