import { randomUUID } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { type Membership, membershipsMax } from '../../actors/user/memberships.js'
import { type RoomRight, roomRightNames } from '../../schemas/room-rights.js'
import type { GrantAnswer, GrantCommand, RevokeCommand } from '../memberships.js'
import { callerId, keyOf } from './auth.js'
import { errorAnswers } from './errors.js'
import { idSchema, reasonSchema, userParamsSchema } from './shapes.js'

export interface MembershipsOptions {
  /** Resolves once it is durable. @throws GatewayError `bad-request` where the user is in too many rooms */
  readonly grantRoom: (command: GrantCommand) => Promise<GrantAnswer>
  /** Resolves once it is durable. @throws GatewayError `not-found` */
  readonly revokeRoom: (command: RevokeCommand) => Promise<void>
  /** The one granted first comes first. @throws GatewayError `not-ready` */
  readonly roomsOf: (userKey: string) => Promise<readonly Membership[]>
}

interface Params { readonly userId: string, readonly roomId: string }

const paramsSchema = {
  type: 'object', required: ['userId', 'roomId'], properties: { userId: idSchema, roomId: idSchema },
}

const rightsSchema = { type: 'string', enum: roomRightNames, description: '`r` to read posts, `w` to write some' }

const requestIdSchema = { ...idSchema, description: 'idempotency key within the user; drawn where it is absent' }

const bodySchema = {
  type: 'object',
  additionalProperties: false,
  properties: { rights: { ...rightsSchema, default: 'rw' }, requestId: requestIdSchema },
}

const grantedSchema = {
  type: 'object',
  required: ['userId', 'roomId', 'rights', 'position'],
  properties: {
    userId: { type: 'string' },
    roomId: { type: 'string' },
    rights: rightsSchema,
    position: {
      type: ['string', 'null'], description: 'in the ledger; null where he had these rights before', examples: ['3@1021.4'],
    },
  },
}

const roomsSchema = {
  type: 'object',
  required: ['userId', 'rooms'],
  properties: {
    userId: { type: 'string' },
    rooms: {
      type: 'array',
      description: 'the one granted first comes first',
      items: {
        type: 'object',
        required: ['roomId', 'rights', 'grantedAtMs'],
        properties: { roomId: { type: 'string' }, rights: rightsSchema, grantedAtMs: { type: 'integer' } },
      },
    },
  },
}

/** In which rooms business has a user, until it takes him out: his devices join them at every connect. */
export async function membershipsRoutes (
  app: FastifyInstance, { grantRoom, revokeRoom, roomsOf }: MembershipsOptions
): Promise<void> {
  app.put<{ Params: Params, Body: { rights: RoomRight, requestId?: string } }>('/v1/users/:userId/rooms/:roomId', {
    // All that a body could say has a default.
    preValidation: async request => { request.body ??= {} as never },
    schema: {
      summary: 'Put a user into a room',
      description: `His devices join it by themselves, at once and at every connect. At most ${membershipsMax} a user.`,
      tags: ['rooms'],
      params: paramsSchema,
      body: bodySchema,
      response: { 202: grantedSchema, ...errorAnswers('bad-request', 'unauthorized', 'ledger-unavailable') },
    },
  }, async (request, reply) => {
    const { params: { userId, roomId }, body: { rights, requestId = randomUUID() } } = request
    const command = { userId: keyOf(request, userId), roomId, rights, requestId, by: callerId(request) }
    const { position = null } = await grantRoom(command)
    return await reply.code(202).send({ userId, roomId, rights, position })
  })

  app.delete<{ Params: Params, Querystring: { reason: string, requestId?: string } }>('/v1/users/:userId/rooms/:roomId', {
    schema: {
      summary: 'Take a user out of a room',
      tags: ['rooms'],
      params: paramsSchema,
      querystring: {
        type: 'object',
        properties: { reason: { ...reasonSchema, description: 'for whoever reads the ledger' }, requestId: requestIdSchema },
      },
      response: {
        202: {
          type: 'object',
          required: ['userId', 'roomId'],
          properties: { userId: { type: 'string' }, roomId: { type: 'string' } },
        },
        ...errorAnswers('bad-request', 'unauthorized', 'not-found', 'ledger-unavailable'),
      },
    },
  }, async (request, reply) => {
    const { params: { userId, roomId }, query: { reason, requestId = randomUUID() } } = request
    await revokeRoom({ userId: keyOf(request, userId), roomId, requestId, reason, by: callerId(request) })
    return await reply.code(202).send({ userId, roomId })
  })

  app.get<{ Params: { userId: string } }>('/v1/users/:userId/rooms', {
    schema: {
      summary: 'Rooms that a user was put into',
      tags: ['rooms'],
      params: userParamsSchema,
      response: { 200: roomsSchema, ...errorAnswers('bad-request', 'unauthorized', 'not-ready') },
    },
  }, async request => {
    const { userId } = request.params
    return { userId, rooms: await roomsOf(keyOf(request, userId)) }
  })
}
