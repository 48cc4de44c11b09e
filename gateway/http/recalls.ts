import { randomUUID } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import type { RecallAnswer, RecallCommand } from '../recall.js'
import { callerId, keyOf } from './auth.js'
import { errorAnswers } from './errors.js'
import { idSchema, reasonSchema } from './shapes.js'

export interface RecallsOptions {
  /** Resolves once it is durable. @throws GatewayError `ledger-unavailable` */
  readonly recall: (command: RecallCommand) => Promise<RecallAnswer>
}

interface Query {
  readonly userId: string
  readonly reason: string
  readonly requestId?: string
  readonly notify: 'true' | 'false'
}

export const outcomeSchema = {
  type: 'string',
  enum: ['recalled', 'written', 'ended', 'unknown'],
  description: '`recalled`: it waits for no device any more, and none has acked it; `written`: a device may have it, or ' +
    'gets it; `ended`: it had ended before, as its receipts say; `unknown`: the user never had it, or more than a day ' +
    'ago, or the owner of the user does not say so in time',
}

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
          notify: {
            type: 'string',
            enum: ['true', 'false'],
            default: 'false',
            description: 'devices that may have it are told by a downlink of its own',
          },
        },
      },
      response: {
        202: {
          type: 'object',
          required: ['userId', 'messageId', 'position', 'status'],
          properties: {
            userId: { type: 'string' },
            messageId: { type: 'string' },
            position: { type: 'string', description: 'where it stands in the ledger', examples: ['3@1021.4'] },
            status: outcomeSchema,
            noticeId: { type: 'string', description: 'id of the downlink that tells the devices, with `notify`' },
          },
        },
        ...errorAnswers('bad-request', 'unauthorized', 'ledger-unavailable'),
      },
    },
  }, async (request, reply) => {
    const { params: { messageId }, query: { userId, reason, requestId = randomUUID(), notify } } = request
    const asked = { messageId, requestId, reason, by: callerId(request), notify: notify === 'true' }
    const command = { userId: keyOf(request, userId), ...asked }
    return await reply.code(202).send({ userId, messageId, ...await recall(command) })
  })
}
