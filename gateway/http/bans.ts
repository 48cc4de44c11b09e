import { randomUUID } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { bansMax, type Ban } from '../../actors/user/bans.js'
import { GatewayError } from '../../schemas/errors.js'
import type { BanAnswer, BanCommand, LiftCommand } from '../bans.js'
import { callerId, keyOf } from './auth.js'
import { errorAnswers } from './errors.js'
import { bySchema, idSchema, textSchema, userParamsSchema } from './shapes.js'

export interface BansOptions {
  /** Resolves once the ban is durable. @throws GatewayError `bad-request` where the user has too many */
  readonly ban: (command: BanCommand) => Promise<BanAnswer>
  /** Resolves once its end is durable. @throws GatewayError `not-found` */
  readonly liftBan: (command: LiftCommand) => Promise<void>
  /** Those in force, oldest first. @throws GatewayError `not-ready` */
  readonly bansOf: (userKey: string) => Promise<readonly Ban[]>
}

interface Body {
  readonly userId: string
  readonly deviceId?: string
  readonly tokenId?: string
  readonly untilMs?: number
  readonly ttlMs?: number
  readonly reason: string
  readonly banId?: string
}

/** Ten years: whoever means longer leaves it out. */
const ttlMsMax = 315_360_000_000

const reasonSchema = { ...textSchema(256), default: '' }

const bodySchema = {
  type: 'object',
  required: ['userId'],
  additionalProperties: false,
  properties: {
    userId: idSchema,
    deviceId: { ...idSchema, description: 'this device alone' },
    tokenId: { ...idSchema, description: 'tokens of this jti alone' },
    untilMs: { type: 'integer', minimum: 1, maximum: Number.MAX_SAFE_INTEGER, description: 'when it ends, ms since 1970' },
    ttlMs: { type: 'integer', minimum: 1, maximum: ttlMsMax, description: 'how long it lasts, from now on' },
    reason: { ...reasonSchema, description: 'what the client is told' },
    banId: { ...idSchema, description: 'idempotency key within the user, for one ban; drawn where it is absent' },
  },
}

const nullableText = { type: ['string', 'null'] }
const banFields = {
  banId: { type: 'string' },
  deviceId: { ...nullableText, description: 'null for any' },
  tokenId: { ...nullableText, description: 'null for any' },
  untilMs: { type: ['integer', 'null'], description: 'null until it is lifted' },
}

const answerSchema = {
  type: 'object',
  required: ['userId', ...Object.keys(banFields), 'position'],
  properties: {
    userId: { type: 'string' },
    ...banFields,
    position: { ...nullableText, description: 'in the ledger; null where it was there before', examples: ['3@1021.4'] },
  },
}

const banSchema = {
  type: 'object',
  required: [...Object.keys(banFields), 'reason', 'bannedAtMs', 'by'],
  properties: { ...banFields, reason: { type: 'string' }, bannedAtMs: { type: 'integer' }, by: bySchema },
}

/** Bans: who is kept out until a time, or until that is lifted. */
export async function bansRoutes (app: FastifyInstance, { ban, liftBan, bansOf }: BansOptions): Promise<void> {
  app.post<{ Body: Body }>('/v1/bans', {
    schema: {
      summary: 'Keep a user out, or one of his devices or tokens',
      description: `At most ${bansMax} in force a user.`,
      tags: ['users'],
      body: bodySchema,
      response: { 202: answerSchema, ...errorAnswers('bad-request', 'unauthorized', 'ledger-unavailable') },
    },
  }, async (request, reply) => {
    const { userId } = request.body
    const command = { ...commandOf(request.body, Date.now()), userId: keyOf(request, userId), by: callerId(request) }
    const { position = null, ...given } = await ban(command)
    return await reply.code(202).send({ ...shown(given), userId, position })
  })

  app.delete<{ Params: { banId: string }, Querystring: { userId: string, reason: string } }>('/v1/bans/:banId', {
    schema: {
      summary: 'Lift a ban',
      tags: ['users'],
      params: { type: 'object', required: ['banId'], properties: { banId: idSchema } },
      querystring: {
        type: 'object',
        required: ['userId'],
        properties: {
          userId: { ...idSchema, description: 'whose ban it is' },
          reason: { ...reasonSchema, description: 'for whoever reads the ledger' },
        },
      },
      response: {
        202: {
          type: 'object',
          required: ['userId', 'banId'],
          properties: { userId: { type: 'string' }, banId: { type: 'string' } },
        },
        ...errorAnswers('bad-request', 'unauthorized', 'not-found', 'ledger-unavailable'),
      },
    },
  }, async (request, reply) => {
    const { params: { banId }, query: { userId, reason } } = request
    await liftBan({ userId: keyOf(request, userId), banId, reason, by: callerId(request) })
    return await reply.code(202).send({ userId, banId })
  })

  app.get<{ Params: { userId: string } }>('/v1/users/:userId/bans', {
    schema: {
      summary: 'Bans of a user that are in force',
      tags: ['users'],
      params: userParamsSchema,
      response: {
        200: {
          type: 'object',
          required: ['userId', 'bans'],
          properties: { userId: { type: 'string' }, bans: { type: 'array', description: 'oldest first', items: banSchema } },
        },
        ...errorAnswers('bad-request', 'unauthorized', 'not-ready'),
      },
    },
  }, async request => {
    const { userId } = request.params
    return { userId, bans: (await bansOf(keyOf(request, userId))).map(shown) }
  })
}

function commandOf (body: Body, nowMs: number): Omit<BanCommand, 'by'> {
  const { userId, deviceId = '', tokenId = '', untilMs, ttlMs, reason, banId = randomUUID() } = body
  if (deviceId !== '' && tokenId !== '') {
    throw new GatewayError('bad-request', 'body: got deviceId and tokenId, want at most one of them')
  }
  if (untilMs !== undefined && ttlMs !== undefined) {
    throw new GatewayError('bad-request', 'body: got untilMs and ttlMs, want at most one of them')
  }
  if (untilMs !== undefined && untilMs <= nowMs) {
    throw new GatewayError('bad-request', `body/untilMs: got ${untilMs}, want a time to come`)
  }
  return { userId, banId, deviceId, tokenId, untilMs: untilMs ?? (ttlMs === undefined ? 0 : nowMs + ttlMs), reason: reason || 'banned' }
}

/** What stands for "any" and "never" in a ban is null to those who ask. */
function shown<T extends Pick<Ban, 'deviceId' | 'tokenId' | 'untilMs'>> (ban: T) {
  return { ...ban, deviceId: ban.deviceId || null, tokenId: ban.tokenId || null, untilMs: ban.untilMs || null }
}
