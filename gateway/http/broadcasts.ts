import { randomUUID } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { type JsonPayload } from '../../schemas/payload.js'
import { type BroadcastAnswer, type BroadcastCommand, broadcastTtlMsMax, type CancelCommand } from '../broadcasts/broadcasts.js'
import type { BroadcastInfo } from '../broadcasts/known.js'
import { filterItemsMax, contentRefusalOf } from '../downlink-command.js'
import { callerId, takeRecipients } from './auth.js'
import { traceOf } from './downlink-message.js'
import { errorAnswers } from './errors.js'
import { decodePayload, payloadSchema } from './payload.js'
import { bySchema, idSchema, platformSchema, reasonSchema, serviceSchema, textSchema } from './shapes.js'

export interface BroadcastsOptions {
  readonly broadcasts: {
    /** Resolves once it is durable. @throws GatewayError `overloaded`, `ledger-unavailable` */
    readonly request: (command: BroadcastCommand) => Promise<BroadcastAnswer>
    /** @throws GatewayError `not-found` */
    readonly describe: (app: string, messageId: string) => Promise<BroadcastInfo>
    /** Resolves once it is durable. @throws GatewayError `not-found`, `ledger-unavailable` */
    readonly cancel: (command: CancelCommand) => Promise<void>
  }
  readonly frameBytesMax: number
}

interface Params { readonly messageId: string }

interface Body {
  readonly messageId?: string
  readonly service: string
  readonly payload: JsonPayload
  readonly platforms: readonly string[]
  readonly regions: readonly string[]
  readonly perSecond: number
  readonly ttlMs: number
}

const paramsSchema = { type: 'object', required: ['messageId'], properties: { messageId: idSchema } }
const integer = { type: 'integer' }
const texts = { type: 'array', items: { type: 'string' } }

const bodySchema = {
  type: 'object',
  required: ['payload'],
  additionalProperties: false,
  properties: {
    messageId: { ...idSchema, description: 'idempotency key within the app; drawn where it is absent' },
    service: { ...serviceSchema, default: '' },
    payload: payloadSchema,
    platforms: {
      type: 'array',
      maxItems: filterItemsMax,
      items: platformSchema,
      default: [],
      description: 'only to connections of these; empty for all',
    },
    regions: {
      type: 'array',
      maxItems: filterItemsMax,
      items: textSchema(64, 1),
      default: [],
      description: 'only by nodes of these; empty for all',
    },
    perSecond: {
      type: 'integer',
      minimum: 1,
      maximum: 10_000,
      default: 500,
      description: 'connections that each node writes to in a second',
    },
    ttlMs: {
      type: 'integer',
      minimum: 1,
      maximum: broadcastTtlMsMax,
      default: 600_000,
      description: 'who has not got it by then does not get it',
    },
  },
}

const answerSchema = {
  type: 'object',
  required: ['messageId', 'status'],
  properties: {
    messageId: { type: 'string' },
    status: { type: 'string', enum: ['queued', 'duplicate', 'conflict'] },
  },
}

const counts = {
  sent: { type: 'integer', description: 'connections that it was written to' },
  slow: { type: 'integer', description: 'connections that were left out, for their clients do not read' },
  left: { type: 'integer', description: 'connections that were not looked at yet, about' },
}

const infoSchema = {
  type: 'object',
  required: ['messageId', 'by', 'state', 'sent', 'slow', 'left', 'nodes'],
  properties: {
    messageId: { type: 'string' },
    app: { type: 'string', description: 'empty for the default app' },
    service: { type: 'string' },
    platforms: texts,
    regions: texts,
    perSecond: integer,
    ttlMs: integer,
    requestedAtMs: integer,
    by: bySchema,
    cancelled: {
      type: 'object',
      description: 'absent where nobody cancelled it',
      required: ['by', 'reason', 'atMs'],
      properties: { by: bySchema, reason: { type: 'string' }, atMs: integer },
    },
    state: { type: 'string', enum: ['running', 'done', 'cancelled', 'expired', 'refused'] },
    ...counts,
    nodes: {
      type: 'array',
      items: {
        type: 'object',
        required: ['nodeId', 'state', 'sent', 'slow', 'left'],
        properties: {
          nodeId: { type: 'string' },
          state: {
            type: 'string',
            description: '`waiting` until it has begun, `running`, `done`, `cancelled`, `expired`, `refused` where it ' +
              'carries out as many as it may, or `gone` where it ended before it was done',
          },
          ...counts,
        },
      },
    },
  },
}

/** A signal to all connections that are open: asked for, watched and cancelled at any node. */
export async function broadcastsRoutes (
  app: FastifyInstance, { broadcasts, frameBytesMax }: BroadcastsOptions
): Promise<void> {
  app.post<{ Body: Body }>('/v1/broadcasts', {
    schema: {
      summary: 'Send a signal to all connections',
      description: 'At most once to each connection that is open, or opens before its node has done all others.',
      tags: ['messages'],
      body: bodySchema,
      response: {
        202: answerSchema,
        ...errorAnswers('bad-request', 'unauthorized', 'payload-too-large', 'overloaded', 'not-ready', 'ledger-unavailable'),
      },
    },
  }, async (request, reply) => {
    const { messageId = randomUUID(), payload, ...rest } = request.body
    const command = {
      app: request.app,
      messageId,
      payload: decodePayload(payload),
      ...rest,
      by: callerId(request),
      ...traceOf(request),
    }
    const refusal = contentRefusalOf(command, frameBytesMax)
    if (refusal) throw refusal
    takeRecipients(request, 1)
    return await reply.code(202).send(await broadcasts.request(command))
  })

  app.get<{ Params: Params }>('/v1/broadcasts/:messageId', {
    schema: {
      summary: 'How far a broadcast is',
      tags: ['messages'],
      params: paramsSchema,
      response: { 200: infoSchema, ...errorAnswers('bad-request', 'unauthorized', 'not-found', 'not-ready') },
    },
  }, async request => await broadcasts.describe(request.app, request.params.messageId))

  app.delete<{ Params: Params, Querystring: { reason: string } }>('/v1/broadcasts/:messageId', {
    schema: {
      summary: 'Cancel a broadcast',
      description: 'Who has not got it yet does not get it. One that is over stays as it is.',
      tags: ['messages'],
      params: paramsSchema,
      querystring: { type: 'object', properties: { reason: reasonSchema } },
      response: {
        202: { type: 'object', required: ['messageId'], properties: { messageId: { type: 'string' } } },
        ...errorAnswers('bad-request', 'unauthorized', 'not-found', 'not-ready', 'ledger-unavailable'),
      },
    },
  }, async (request, reply) => {
    const { params: { messageId }, query: { reason } } = request
    await broadcasts.cancel({ app: request.app, messageId, reason, by: callerId(request) })
    return await reply.code(202).send({ messageId })
  })
}
