import type { Config } from './config.js'
import { jsonSetting } from './json-setting.js'
import { ConfigError, issuerNames, tokenSecret, urlWithoutLogin } from './setting.js'

/** Somebody who signs client tokens, and what is taken from him. */
export interface TokenIssuer {
  /** What `iss` may be; empty: tokens of any, and without one. Of several issuers, each has a name at least. */
  readonly names: readonly string[]
  /** What he signs with: exactly one of the two. HS256, or a key of the set. */
  readonly secret: string | undefined
  readonly jwksUrl: string | undefined
  /** `aud` must be one of these, or have one of them in it; empty: tokens of any audience. */
  readonly audiences: readonly string[]
  /** The claim that says who the user is. */
  readonly userClaim: string
}

type TokenSettings = Pick<Config,
  'jwtSecret' | 'jwksUrl' | 'jwtIssuer' | 'jwtAudience' | 'jwtUserClaim' | 'jwtIssuers' | 'authUrl'>

const variable = 'LEDGERLINE_JWT_ISSUERS'

/** One issuer has them as settings of their own. */
const single = {
  jwtSecret: 'LEDGERLINE_JWT_SECRET',
  jwksUrl: 'LEDGERLINE_JWKS_URL',
  jwtIssuer: 'LEDGERLINE_JWT_ISSUER',
  jwtAudience: 'LEDGERLINE_JWT_AUDIENCE',
  jwtUserClaim: 'LEDGERLINE_JWT_USER_CLAIM',
} as const

export const issuersMax = 100

/**
 * Whose tokens a node takes. Where there is no list of them, it is the one that the settings describe; where business
 * is asked about tokens, there may be none.
 *
 * @throws ConfigError that names the issuer and the field, what it got and what it wants; a secret is not told
 */
export function tokenIssuers (config: TokenSettings): readonly TokenIssuer[] {
  const { jwtSecret, jwksUrl, jwtIssuer, jwtAudience, jwtUserClaim, jwtIssuers, authUrl } = config
  if (jwtIssuers === undefined) {
    if (jwtSecret !== undefined && jwksUrl !== undefined) {
      throw new ConfigError('LEDGERLINE_JWT_SECRET and LEDGERLINE_JWKS_URL: got both, want one of them')
    }
    if (authUrl !== undefined && jwtSecret === undefined && jwksUrl === undefined) return []
    return [{
      names: jwtIssuer, secret: jwtSecret, jwksUrl, audiences: jwtAudience, userClaim: jwtUserClaim ?? userClaimDefault,
    }]
  }
  for (const [key, name] of Object.entries(single)) {
    const value = config[key as keyof typeof single]
    if (value === undefined || value.length === 0) continue
    throw new ConfigError(`${variable} and ${name}: got both, want one of them: each issuer of the list has its own`)
  }
  return issuersOf(jsonSetting(variable, jwtIssuers, 'issuers'), variable)
}

const userClaimDefault = 'sub'

/**
 * Several issuers, each with a name at least.
 *
 * @param list as JSON has it
 * @param at where it stands, for messages
 * @throws ConfigError as `tokenIssuers` does
 */
export function issuersOf (list: unknown, at: string): TokenIssuer[] {
  if (!Array.isArray(list) || list.length === 0 || list.length > issuersMax) {
    throw new ConfigError(`${at}: want a JSON array of 1 to ${issuersMax} issuers`)
  }
  const issuers = list.map((issuer, i) => issuerOf(issuer, `${at}[${i}]`))
  const names = issuers.flatMap(({ names }) => names)
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  if (twice !== undefined) {
    throw new ConfigError(`${at}: got the issuer ${JSON.stringify(twice)} twice, want each once`)
  }
  return issuers
}

const fields = ['issuer', 'secret', 'jwksUrl', 'audience', 'userClaim']

function issuerOf (given: unknown, at: string): TokenIssuer {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) throw new ConfigError(`${at}: want an object`)
  const foreign = Object.keys(given).find(name => !fields.includes(name))
  if (foreign !== undefined) {
    throw new ConfigError(`${at}: got a field ${JSON.stringify(foreign)}, want only ${fields.join(', ')}`)
  }
  const { issuer, secret, jwksUrl, audience = [], userClaim = userClaimDefault } = given as Record<string, unknown>
  if ((secret === undefined) === (jwksUrl === undefined)) {
    const got = secret === undefined ? 'neither secret nor jwksUrl' : 'both secret and jwksUrl'
    throw new ConfigError(`${at}: got ${got}, want one of them`)
  }
  const names = namesIn(issuer, `${at}.issuer`)
  if (names.length === 0) throw new ConfigError(`${at}.issuer: got none, want ${namesWanted}`)
  if (!isUserClaim(userClaim)) throw new ConfigError(`${at}.userClaim: want ${userClaimWanted}`)
  return {
    names,
    secret: secret === undefined ? undefined : textIn(secret, tokenSecret(), `${at}.secret`),
    jwksUrl: jwksUrl === undefined ? undefined : textIn(jwksUrl, urlWithoutLogin('http', 'https'), `${at}.jwksUrl`),
    audiences: namesIn(audience, `${at}.audience`),
    userClaim,
  }
}

function textIn (
  value: unknown, { parse, want }: { parse (text: string): string | undefined, want: string }, at: string
): string {
  const text = typeof value === 'string' ? parse(value) : undefined
  if (text === undefined) throw new ConfigError(`${at}: want ${want}`)
  return text
}

const { isName, want: nameWanted } = issuerNames
const namesWanted = `${nameWanted}, or an array of them`

function namesIn (value: unknown, at: string): string[] {
  const names = Array.isArray(value) ? value : [value]
  if (names.every((name): name is string => typeof name === 'string' && isName(name))) return names
  throw new ConfigError(`${at}: want ${namesWanted}`)
}

export const userClaimWanted = 'the name of a claim: 1 to 256 characters without white space'

export function isUserClaim (value: unknown): value is string {
  return typeof value === 'string' && /^\S{1,256}$/.test(value)
}
