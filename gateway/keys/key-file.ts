import { createHash, randomBytes } from 'node:crypto'
import { Ajv, type ErrorObject } from 'ajv'
import { isId, isTextWithin } from '../../schemas/text.js'
import { ConfigError } from '../setting.js'
import { type Scope, scopes } from './scopes.js'

/** One key, as its file has it: never the key itself. */
export interface StoredKey {
  /** Part of the key, and no secret: logs, metrics and facts name the key by it. */
  readonly id: string
  /** For people. */
  readonly name: string
  /** SHA-256 of the whole key, in hex. */
  readonly sha256: string
  readonly scopes: readonly Scope[]
  /** Of one node; absent for no bound. */
  readonly requestsPerSecond?: number
  readonly recipientsPerSecond?: number
  /** ISO 8601, with a zone. */
  readonly createdAt: string
  /** From then on it is refused; absent: never. */
  readonly expiresAt?: string
  readonly revokedAt?: string
}

export interface KeyFile { readonly keys: readonly StoredKey[] }

/** Keys of one file, with those that were revoked. */
export const keysMax = 1_000

/** The longest name, in bytes of UTF-8. */
export const keyNameBytesMax = 128

const momentWanted = 'want a time with a zone, such as 2027-01-31T00:00:00Z'
const momentPattern = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/
const moment = { type: 'string', format: 'moment' }
const perSecond = { type: 'integer', minimum: 1, maximum: 1_000_000 }

/** JSON Schema of the file; docs/api-keys.schema.json is a copy. */
export const keyFileSchema = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'API keys of a Ledgerline gateway (LEDGERLINE_API_KEYS_FILE)',
  type: 'object',
  additionalProperties: false,
  required: ['keys'],
  properties: {
    keys: {
      type: 'array',
      maxItems: keysMax,
      items: {
        type: 'object',
        additionalProperties: false,
        required: ['id', 'name', 'sha256', 'scopes', 'createdAt'],
        properties: {
          id: {
            type: 'string',
            pattern: '^[0-9a-z]{4,32}$',
            description: 'between the two "_" of the key; each id once',
          },
          name: {
            type: 'string', minLength: 1, maxLength: keyNameBytesMax, format: 'name', description: 'whose it is, for people',
          },
          sha256: { type: 'string', pattern: '^[0-9a-f]{64}$', description: 'SHA-256 of the whole key, in hex' },
          scopes: { type: 'array', minItems: 1, uniqueItems: true, items: { type: 'string', enum: scopes } },
          requestsPerSecond: { ...perSecond, description: 'of one node; absent: no bound' },
          recipientsPerSecond: { ...perSecond, description: 'users that pushes name, of one node; absent: no bound' },
          createdAt: { ...moment, description: 'ISO 8601 with a zone' },
          expiresAt: { ...moment, description: 'from then on it is refused; absent: never' },
          revokedAt: { ...moment, description: 'it is refused; absent: it is not revoked' },
        },
      },
    },
  },
} as const

const isKeyFile = new Ajv({
  verbose: true,
  formats: {
    moment: text => momentPattern.test(text) && !Number.isNaN(Date.parse(text)),
    name: isKeyName,
  },
}).compile<KeyFile>(keyFileSchema)

/** Names stand in logs and on terminals. */
export function isKeyName (text: string): boolean {
  return isId(text) && isTextWithin(text, keyNameBytesMax)
}

export const keyNameWanted = `want 1 to ${keyNameBytesMax} bytes of text without control characters`

/**
 * @param path for messages, which never show what is in the file beside names of fields
 * @throws ConfigError saying where it is not what docs/api-keys.schema.json wants
 */
export function parseKeyFile (text: string, path: string): KeyFile {
  let found: unknown
  try {
    found = JSON.parse(text)
  } catch {
    // Without its cause: that quotes what it met, which may be a key that somebody put there.
    throw new ConfigError(`${path}: got something else, want JSON as in docs/api-keys.schema.json`)
  }
  if (!isKeyFile(found)) throw new ConfigError(`${path}: ${wordsFor(isKeyFile.errors![0]!)}`)
  const ids = new Set<string>()
  found.keys.forEach(({ id }, i) => {
    if (ids.has(id)) throw new ConfigError(`${path}: keys/${i}/id: there is another key ${id}; want each id once`)
    ids.add(id)
  })
  return found
}

/** What came is not shown: it may be a key that somebody put into the wrong field. */
export function wordsFor ({ instancePath, keyword, params, parentSchema = {}, message = '' }: ErrorObject): string {
  const where = instancePath.slice(1) || 'the file'
  const known = Object.keys((parentSchema as { properties?: object }).properties ?? {}).join(', ')
  switch (keyword) {
    case 'additionalProperties': return `${where}: there is no field ${cut(String(params['additionalProperty']))}; there are ${known}`
    case 'required': return `${where}: want ${JSON.stringify(params['missingProperty'])}`
    case 'enum': return `${where}: want one of ${(params['allowedValues'] as string[]).join(', ')}`
    case 'pattern': return `${where}: want ${String(params['pattern'])}`
    case 'format': return `${where}: ${params['format'] === 'moment' ? momentWanted : keyNameWanted}`
    default: return `${where} ${message}`
  }
}

function cut (name: string): string {
  return JSON.stringify(name.length <= 40 ? name : `${name.slice(0, 40)}...`)
}

/** @returns a new key, `ll_ID_SECRET` with 256 random bits, and what is kept of it */
export function drawKey (): { readonly key: string, readonly id: string, readonly sha256: string } {
  const id = randomBytes(5).toString('hex')
  const key = `ll_${id}_${randomBytes(32).toString('base64url')}`
  return { key, id, sha256: digestOf(key).toString('hex') }
}

/** The id in what may be a key of a file; undefined where it can't be one. */
export function idIn (key: string): string | undefined {
  return /^ll_([0-9a-z]{4,32})_[\w-]{43}$/.exec(key)?.[1]
}

/** A key has 256 random bits, so a fast digest is as good as a slow one (docs/decisions, API keys). */
export function digestOf (key: string): Buffer {
  return createHash('sha256').update(key).digest()
}
