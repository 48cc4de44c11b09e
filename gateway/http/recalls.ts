import { randomUUID } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import type { RecallCommand } from '../recall.js'
import { callerId, keyOf } from './auth.js'
import { errorAnswers } from './errors.js'
import { idSchema, reasonSchema } from './shapes.js'

export interface RecallsOptions {
  /** Resolves once it is durable. @returns where it stands @throws GatewayError `ledger-unavailable` */
  readonly recall: (command: RecallCommand) => Promise<string>
}

interface Query { readonly userId: string, readonly reason: string, readonly requestId?: string }

/** `DELETE /v1/downlinks/:messageId`: takes a downlink back that waits. */
export async function recallsRoutes (app: FastifyInstance, { recall }: RecallsOptions): Promise<void> {
  app.delete<{ Params: { messageId: string }, Querystring: Query }>('/v1/downlinks/:messageId', {
    schema: {
      summary: 'Take a downlink back',
      description: 'Where it waits without a number: for the first session of the user, or for a device that has been ' +
        'offline since it was requested. One that has a number may have been written, and stays.',
      tags: ['messages'],
      params: { type: 'object', required: ['messageId'], properties: { messageId: idSchema } },
      querystring: {
        type: 'object',
        required: ['userId'],
        properties: {
          userId: idSchema,
          reason: { ...reasonSchema, description: 'for whoever reads the ledger' },
          requestId: { ...idSchema, description: 'idempotency key within the user and the message; drawn where it is absent' },
        },
      },
      response: {
        202: {
          type: 'object',
          required: ['userId', 'messageId', 'position'],
          properties: {
            userId: { type: 'string' },
            messageId: { type: 'string' },
            position: { type: 'string', description: 'where it stands in the ledger', examples: ['3@1021.4'] },
          },
        },
        ...errorAnswers('bad-request', 'unauthorized', 'ledger-unavailable'),
      },
    },
  }, async (request, reply) => {
    const { params: { messageId }, query: { userId, reason, requestId = randomUUID() } } = request
    const command = { userId: keyOf(request, userId), messageId, requestId, reason, by: callerId(request) }
    return await reply.code(202).send({ userId, messageId, position: await recall(command) })
  })
}
