import { randomUUID } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import type { DownlinkCommand } from '../../schemas/records.js'
import { filterItemsMax, sizeRefusalOf, ttlMsDefault, ttlMsMax, usersMax } from '../downlink-command.js'
import type { PushAnswer } from '../push.js'
import { takeRecipients } from './auth.js'
import { errorAnswers } from './errors.js'
import type { JsonPayload } from '../../schemas/payload.js'
import { decodePayload, payloadSchema } from './payload.js'
import { idSchema, platformSchema, serviceSchema } from './shapes.js'

export interface DownlinksOptions {
  /**
   * Resolves once every user's request is durable, or a signal was handed on.
   *
   * @throws GatewayError `ledger-unavailable` where nothing at all was stored
   */
  readonly push: (command: DownlinkCommand, tellsRepeats: boolean) => Promise<PushAnswer>
  readonly frameBytesMax: number
}

interface DownlinkBody {
  readonly to: { readonly userIds: readonly string[] }
  readonly messageId?: string
  readonly service: string
  readonly payload: JsonPayload
  readonly ttlMs: number
  readonly delivery: DownlinkCommand['delivery']
  readonly platforms: readonly string[]
  readonly exceptDevices: readonly string[]
  readonly devices: readonly string[]
}

export const userIdsSchema = { type: 'array', minItems: 1, maxItems: usersMax, uniqueItems: true, items: idSchema }

const bodySchema = {
  type: 'object',
  required: ['to', 'payload'],
  additionalProperties: false,
  properties: {
    to: {
      type: 'object',
      required: ['userIds'],
      additionalProperties: false,
      properties: { userIds: userIdsSchema },
    },
    messageId: { ...idSchema, description: 'idempotency key within each user; drawn where it is absent' },
    service: { ...serviceSchema, default: '' },
    payload: payloadSchema,
    ttlMs: {
      type: 'integer',
      minimum: 1,
      maximum: ttlMsMax,
      default: ttlMsDefault,
      description: 'how long it is kept for delivery',
    },
    delivery: {
      type: 'string',
      enum: ['durable', 'signal'],
      default: 'durable',
      description: 'a signal is sent at most once and never stored',
    },
    platforms: {
      type: 'array',
      maxItems: filterItemsMax,
      items: platformSchema,
      default: [],
      description: 'only to sessions of these; empty for all',
    },
    devices: {
      type: 'array',
      maxItems: filterItemsMax,
      items: idSchema,
      default: [],
      description: 'only to these devices; empty for all',
    },
    exceptDevices: {
      type: 'array',
      maxItems: filterItemsMax,
      items: idSchema,
      default: [],
      description: 'not to these devices, also where `devices` names them',
    },
  },
}

const answerSchema = {
  type: 'object',
  required: ['messageId', 'users'],
  properties: {
    messageId: { type: 'string' },
    users: {
      type: 'array',
      items: {
        type: 'object',
        required: ['userId', 'status'],
        properties: {
          userId: { type: 'string' },
          status: { type: 'string', enum: ['queued', 'duplicate', 'conflict', 'sent', 'offline', 'rejected'] },
          position: { type: 'string', description: 'where the request stands in the ledger', examples: ['3@1021.4'] },
          code: { type: 'string', description: 'why it was rejected' },
        },
      },
    },
  },
}

/** `POST /v1/downlinks`: a message to some users, durable or at most once. */
export async function downlinksRoutes (app: FastifyInstance, options: DownlinksOptions): Promise<void> {
  app.post<{ Body: DownlinkBody }>('/v1/downlinks', {
    schema: {
      summary: 'Send to users',
      tags: ['messages'],
      body: bodySchema,
      response: {
        202: answerSchema,
        ...errorAnswers('bad-request', 'unauthorized', 'payload-too-large', 'ledger-unavailable'),
      },
    },
  }, async (request, reply) => {
    const command = commandOf(request.body, request.app)
    const refusal = sizeRefusalOf(command, options.frameBytesMax)
    if (refusal) throw refusal
    takeRecipients(request, command.userIds.length)
    return await reply.code(202).send(await options.push(command, request.body.messageId !== undefined))
  })
}

function commandOf (body: DownlinkBody, app: string): DownlinkCommand {
  const { to, messageId = randomUUID(), service, ttlMs, delivery, platforms, exceptDevices, devices } = body
  const payload = decodePayload(body.payload)
  return { messageId, app, userIds: to.userIds, service, payload, ttlMs, delivery, platforms, exceptDevices, devices }
}
