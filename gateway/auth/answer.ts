import { Ajv, type ValidateFunction } from 'ajv'
import { appNamePattern } from '../../schemas/apps.js'
import type { ErrorCode } from '../../schemas/errors.js'
import { roomClaimWanted, RoomPatterns } from '../../schemas/room-rights.js'
import { idWanted, isId, isTextWithin, textWanted } from '../../schemas/text.js'
import { wordsFor } from '../keys/key-file.js'

/** What a client shows, and what is known of it: what business is asked about. */
export interface AuthQuestion {
  /** `connect` of a new connection, or `token` of an open one. */
  readonly frame: 'connect' | 'token'
  readonly token: string
  readonly deviceId: string
  readonly platform: string
  /** What the client says that it is; empty for a token of an open connection. */
  readonly client: string
  /** Remote IP address and port. */
  readonly address: string
}

/** The token is good. */
export interface Allowed {
  readonly result: 'allow'
  readonly userId: string
  /** Empty for the default one. */
  readonly app: string
  /** Undefined for any. */
  readonly deviceId: string | undefined
  /** Empty where it can't be banned by itself. */
  readonly tokenId: string
  readonly rooms: RoomPatterns
  /** Ms since 1970; Infinity for a token that does not expire. */
  readonly expiresAtMs: number
}

export interface Refused {
  readonly result: 'refuse'
  readonly code: typeof refusalCodes[number]
  readonly reason: string
  readonly retryAfterMs: number
}

export interface AuthAnswer {
  readonly verdict: Allowed | Refused
  /** How long it may stand for the next ones; 0 for not at all. */
  readonly cacheMs: number
}

/** Of a refusal: each with what clients make of it everywhere (docs/errors.md). */
const refusalCodes = ['bad-token', 'token-expired', 'token-early', 'rate-limited', 'banned'] as const satisfies ErrorCode[]

/** The client gets it in an `error` frame. */
const reasonBytesMax = 256
const cacheMsMax = 86_400_000
const retryAfterMsMax = 3_600_000

const cacheMs = {
  type: 'integer', minimum: 0, maximum: cacheMsMax, description: 'how long this answer stands for the same token and device, on this node; absent: 0, each time is asked',
}

const allow = {
  type: 'object',
  additionalProperties: false,
  required: ['result', 'userId'],
  properties: {
    result: { const: 'allow' },
    userId: { type: 'string', description: idWanted },
    app: { type: 'string', pattern: appNamePattern, description: 'whose user it is, of LEDGERLINE_APPS; absent: of the default app' },
    deviceId: { type: 'string', description: 'the only device that may show this token; absent: any' },
    tokenId: { type: 'string', description: 'by which this token may be banned; absent: not by itself' },
    expiresAtMs: {
      type: 'integer',
      minimum: 0,
      maximum: Number.MAX_SAFE_INTEGER,
      description: 'ms since 1970; the connection ends then, unless a fresh token comes before. Absent: never',
    },
    rooms: { type: 'object', description: roomClaimWanted },
    cacheMs,
  },
}

const refuse = {
  type: 'object',
  additionalProperties: false,
  required: ['result', 'code'],
  properties: {
    result: { const: 'refuse' },
    code: { type: 'string', enum: refusalCodes, description: 'what the client gets; banned ends it for good' },
    reason: { type: 'string', description: `the client gets it, too: ${textWanted(reasonBytesMax)}` },
    retryAfterMs: {
      type: 'integer', minimum: 0, maximum: retryAfterMsMax, description: 'how long the client waits; absent: as it sees fit',
    },
    cacheMs,
  },
}

const text = { type: 'string' }

/** JSON Schema of both sides; docs/auth.schema.json is a copy. */
export const authSchema = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'What a Ledgerline gateway asks LEDGERLINE_AUTH_URL (question), and what it takes for an answer (allow, refuse)',
  oneOf: [{ $ref: '#/definitions/allow' }, { $ref: '#/definitions/refuse' }],
  definitions: {
    question: {
      type: 'object',
      required: ['frame', 'token', 'deviceId', 'platform', 'client', 'address'],
      properties: {
        frame: { enum: ['connect', 'token'], description: 'token: a fresh one, of an open connection' },
        token: text,
        deviceId: text,
        platform: text,
        client: { ...text, description: 'name and version of its SDK, as it says; empty with frame token' },
        address: { ...text, description: 'remote IP address and port' },
      },
    },
    allow,
    refuse,
  },
}

interface GivenAllow {
  readonly userId: string
  readonly app?: string
  readonly deviceId?: string
  readonly tokenId?: string
  readonly expiresAtMs?: number
  readonly rooms?: unknown
  readonly cacheMs?: number
}

interface GivenRefuse {
  readonly code: Refused['code']
  readonly reason?: string
  readonly retryAfterMs?: number
  readonly cacheMs?: number
}

const ajv = new Ajv({ verbose: true })
const isAllow = ajv.compile<GivenAllow>(allow)
const isRefuse = ajv.compile<GivenRefuse>(refuse)

/**
 * A field that is not known makes it none: one that is misspelt, such as an expiry, must not be passed over.
 *
 * @param hasApp whether there is such an app
 * @throws Error that says what is wrong with it; what is there is not shown, for it may be a secret
 */
export function answerOf (body: string, hasApp: (app: string) => boolean): AuthAnswer {
  let given: unknown
  try {
    given = JSON.parse(body)
  } catch {
    throw new Error('it answers something else than JSON') // what JSON.parse says quotes it
  }
  const { result } = (given ?? {}) as { result?: unknown }
  switch (result) {
    case 'allow': {
      const found = valid(isAllow, given)
      return { verdict: allowed(found, hasApp), cacheMs: found.cacheMs ?? 0 }
    }
    case 'refuse': {
      const found = valid(isRefuse, given)
      return { verdict: refused(found), cacheMs: found.cacheMs ?? 0 }
    }
    default: throw notAsWanted('result: want one of allow, refuse')
  }
}

function notAsWanted (what: string): Error { return new Error(`its answer is not as it must be: ${what}`) }

function valid<T> (is: ValidateFunction<T>, given: unknown): T {
  if (is(given)) return given
  const error = is.errors![0]!
  if (error.keyword !== 'additionalProperties') throw notAsWanted(wordsFor(error))
  const known = Object.keys((error.parentSchema as { properties: object }).properties)
  throw notAsWanted(`it has a field that is not known; there are ${known.join(', ')}`)
}

function allowed (given: GivenAllow, hasApp: (app: string) => boolean): Allowed {
  const { userId, app = '', deviceId, tokenId, expiresAtMs = Infinity } = given
  for (const [field, id] of Object.entries({ userId, deviceId, tokenId })) {
    if (id !== undefined && !isId(id)) throw notAsWanted(`${field}: ${idWanted}`)
  }
  if (!hasApp(app)) throw notAsWanted('app: want one of LEDGERLINE_APPS')
  const rooms = given.rooms === undefined ? RoomPatterns.none : RoomPatterns.of(given.rooms)
  if (!rooms) throw notAsWanted(`rooms: ${roomClaimWanted}`)
  return { result: 'allow', userId, app, deviceId, tokenId: tokenId ?? '', rooms, expiresAtMs }
}

function refused ({ code, reason = '', retryAfterMs = 0 }: GivenRefuse): Refused {
  if (isTextWithin(reason, reasonBytesMax)) return { result: 'refuse', code, reason, retryAfterMs }
  throw notAsWanted(`reason: ${textWanted(reasonBytesMax)}`)
}
