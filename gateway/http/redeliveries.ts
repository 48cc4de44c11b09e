import { randomUUID } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { GatewayError } from '../../schemas/errors.js'
import { ttlMsDefault, ttlMsMax } from '../downlink-command.js'
import { redeliveriesMax, type RedeliveryAnswer, type RedeliveryCommand } from '../redelivery.js'
import { callerId, keyOf } from './auth.js'
import { errorAnswers } from './errors.js'
import { idSchema, reasonSchema, userParamsSchema } from './shapes.js'

export interface RedeliveriesOptions {
  /**
   * Resolves once all that was found is durable.
   *
   * @throws GatewayError `not-found` where the device has no session; `ledger-unavailable` where not all was stored
   */
  readonly redeliver: (command: RedeliveryCommand) => Promise<RedeliveryAnswer>
}

type Body = Omit<RedeliveryCommand, 'userId' | 'requestId' | 'by'> & { readonly requestId?: string }

const seqSchema = { type: 'integer', minimum: 1, maximum: Number.MAX_SAFE_INTEGER }

const bodySchema = {
  type: 'object',
  required: ['deviceId', 'fromSeq', 'toSeq'],
  additionalProperties: false,
  properties: {
    deviceId: idSchema,
    fromSeq: seqSchema,
    toSeq: { ...seqSchema, description: `at most ${redeliveriesMax} with fromSeq` },
    ttlMs: {
      type: 'integer', minimum: 1, maximum: ttlMsMax, default: ttlMsDefault, description: 'how long it is kept, from now on',
    },
    requestId: { ...idSchema, description: 'idempotency key; drawn where it is absent' },
    reason: { ...reasonSchema, description: 'why, for whoever looks back' },
  },
}

const answerSchema = {
  type: 'object',
  required: ['requestId', 'redelivered', 'notFound'],
  properties: {
    requestId: { type: 'string' },
    redelivered: {
      type: 'array',
      items: {
        type: 'object',
        required: ['messageId', 'seq', 'position'],
        properties: {
          messageId: { type: 'string' },
          seq: { type: 'integer', description: 'what it was sent as before' },
          position: { type: 'string', description: 'of the redelivery in the ledger', examples: ['3@1021.4'] },
        },
      },
    },
    notFound: {
      type: 'array',
      description: 'numbers that the session never gave, or gave before the first entry that is kept',
      items: { type: 'integer' },
    },
  },
}

/** `POST /v1/users/:userId/redeliveries`: downlinks of a device once more, under new numbers. */
export async function redeliveriesRoutes (app: FastifyInstance, { redeliver }: RedeliveriesOptions): Promise<void> {
  app.post<{ Params: { userId: string }, Body: Body }>('/v1/users/:userId/redeliveries', {
    schema: {
      summary: 'Send downlinks to a device once more',
      tags: ['users'],
      params: userParamsSchema,
      body: bodySchema,
      response: {
        202: answerSchema,
        ...errorAnswers('bad-request', 'unauthorized', 'not-found', 'payload-too-large', 'ledger-unavailable'),
      },
    },
  }, async (request, reply) => {
    const { params: { userId }, body } = request
    const { fromSeq, toSeq, requestId = randomUUID() } = body
    if (toSeq < fromSeq || toSeq - fromSeq >= redeliveriesMax) {
      throw new GatewayError('bad-request',
        `body: got fromSeq ${fromSeq} and toSeq ${toSeq}, want 1 to ${redeliveriesMax} downlinks`)
    }
    return await reply.code(202).send(await redeliver({
      ...body, userId: keyOf(request, userId), requestId, by: callerId(request),
    }))
  })
}
