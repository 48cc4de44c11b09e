import type { FastifyInstance } from 'fastify'
import { userIdOf } from '../../schemas/apps.js'
import { GatewayError } from '../../schemas/errors.js'
import type { KickAnswer, KickCommand } from '../kick.js'
import { callerId, keyOf } from './auth.js'
import { errorAnswers } from './errors.js'
import { idSchema, reasonSchema, userParamsSchema } from './shapes.js'

export interface ConnectionsOptions {
  /** Resolves once the kicks are durable; with no connection where none is open that fits. */
  readonly kick: (request: KickCommand) => Promise<KickAnswer>
}

const kickReasonSchema = { ...reasonSchema, description: 'what the client is told' }

const kickSchema = {
  type: 'object',
  required: ['connections'],
  properties: {
    connections: {
      type: 'array',
      description: 'those that are being closed',
      items: {
        type: 'object',
        required: ['userId', 'connectionId'],
        properties: { userId: { type: 'string' }, connectionId: { type: 'string' } },
      },
    },
  },
}

/** Kicks: terminal goodbyes by an operator or a business service. */
export async function connectionsRoutes (app: FastifyInstance, { kick }: ConnectionsOptions): Promise<void> {
  const response = { 202: kickSchema, ...errorAnswers('bad-request', 'unauthorized', 'not-found') }

  app.delete<{ Params: { connectionId: string }, Querystring: { userId?: string, reason: string } }>(
    '/v1/connections/:connectionId', {
      schema: {
        summary: 'Close one connection for good',
        tags: ['connections'],
        params: {
          type: 'object',
          required: ['connectionId'],
          properties: { connectionId: idSchema },
        },
        querystring: {
          type: 'object',
          properties: {
            userId: { ...idSchema, description: 'whose it is, where that is known' },
            reason: kickReasonSchema,
          },
        },
        response,
      },
    }, async (request, reply) => {
      const { userId, reason } = request.query
      const { connectionId } = request.params
      const whose = userId === undefined ? '' : keyOf(request, userId)
      const answer = await kick({ app: request.app, userId: whose, connectionId, reason, by: callerId(request) })
      if (answer.connections.length === 0) throw new GatewayError('not-found', `no connection ${connectionId} is open`)
      return await reply.code(202).send(shown(answer))
    })

  app.delete<{ Params: { userId: string }, Querystring: { reason: string } }>('/v1/users/:userId/connections', {
    schema: {
      summary: 'Close all connections of a user for good',
      tags: ['users'],
      params: userParamsSchema,
      querystring: { type: 'object', properties: { reason: kickReasonSchema } },
      response,
    },
  }, async (request, reply) => {
    const { userId } = request.params
    const { reason } = request.query
    const answer = await kick({
      app: request.app, userId: keyOf(request, userId), connectionId: '', reason, by: callerId(request),
    })
    if (answer.connections.length === 0) throw new GatewayError('not-found', `user ${userId} has no connection open`)
    return await reply.code(202).send(shown(answer))
  })
}

function shown ({ connections }: KickAnswer): KickAnswer {
  return { connections: connections.map(({ userId, connectionId }) => ({ userId: userIdOf(userId), connectionId })) }
}
