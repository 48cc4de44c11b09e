import { randomUUID } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import type { RoomPost } from '../../actors/room-links.js'
import { shownUser } from '../../schemas/apps.js'
import type { JsonPayload } from '../../schemas/payload.js'
import { postRefusalOf } from '../downlink-command.js'
import type { MembersPage, RoomInfo } from '../room-questions.js'
import type { CloseCommand, PostAnswer, PostCommand } from '../rooms.js'
import { callerId, keyOf, takeRecipients } from './auth.js'
import { traceOf } from './downlink-message.js'
import { errorAnswers } from './errors.js'
import { decodePayload, payloadSchema } from './payload.js'
import { idSchema, reasonSchema, serviceSchema } from './shapes.js'

export interface RoomsOptions {
  readonly rooms: {
    /** Resolves once the post is durable, or a signal was handed on. @throws GatewayError `room-closed` */
    readonly post: (command: PostCommand, tellsRepeats: boolean) => Promise<PostAnswer>
    /** @returns where it stands; undefined where the room was closed before */
    readonly close: (command: CloseCommand) => Promise<string | undefined>
    /** @throws GatewayError `not-ready` */
    readonly info: (roomKey: string) => Promise<RoomInfo>
    /** @returns the first `max`; undefined where it does not keep all of them. @throws GatewayError `not-ready` */
    readonly keptPosts: (roomKey: string, afterSeq: number, max: number) => Promise<readonly RoomPost[] | undefined>
    /** @returns when a post not far before it was posted, 0 for not known. @throws GatewayError `not-ready` */
    readonly timeOf: (roomKey: string, roomSeq: number) => Promise<{ postedAtMs: number, roomSeq: number }>
    /** @throws GatewayError `not-ready` */
    readonly members: (roomKey: string, after: string, limit: number) => Promise<MembersPage>
  }
  readonly frameBytesMax: number
}

interface Params { readonly roomId: string }

interface PostBody {
  readonly messageId?: string
  readonly service: string
  readonly payload: JsonPayload
  readonly delivery: PostCommand['delivery']
}

export const roomParamsSchema = { type: 'object', required: ['roomId'], properties: { roomId: idSchema } }

const bodySchema = {
  type: 'object',
  required: ['payload'],
  additionalProperties: false,
  properties: {
    messageId: { ...idSchema, description: 'idempotency key within the room; drawn where it is absent' },
    service: { ...serviceSchema, default: '' },
    payload: payloadSchema,
    delivery: {
      type: 'string',
      enum: ['durable', 'signal'],
      default: 'durable',
      description: 'a signal goes to the members that are there, at most once, and has no number',
    },
  },
}

const postedSchema = {
  type: 'object',
  required: ['messageId', 'status'],
  properties: {
    messageId: { type: 'string' },
    status: { type: 'string', enum: ['queued', 'duplicate', 'conflict', 'sent', 'offline'] },
    position: { type: 'string', description: 'where the request stands in the stream rooms', examples: ['3@1021.4'] },
  },
}

const infoSchema = {
  type: 'object',
  required: ['roomId', 'roomSeq', 'keptAfter', 'closed', 'members', 'nodes'],
  properties: {
    roomId: { type: 'string' },
    roomSeq: { type: 'integer', description: 'number of its last post; 0 for none' },
    keptAfter: { type: 'integer', description: 'posts after this one are kept for who joins' },
    closed: { type: 'boolean' },
    members: { type: 'integer', description: 'open connections that are in it, on the nodes that say so' },
    nodes: {
      type: 'array',
      items: {
        type: 'object',
        required: ['nodeId', 'members'],
        properties: {
          nodeId: { type: 'string' },
          members: { type: ['integer', 'null'], description: 'null where it does not say' },
        },
      },
    },
  },
}

const membersSchema = {
  type: 'object',
  required: ['roomId', 'members', 'next', 'total', 'unknown'],
  properties: {
    roomId: { type: 'string' },
    members: {
      type: 'array',
      items: {
        type: 'object',
        required: ['userId', 'deviceId', 'connectionId', 'nodeId'],
        properties: {
          userId: { type: 'string' },
          app: { type: 'string' },
          deviceId: { type: 'string' },
          connectionId: { type: 'string' },
          nodeId: { type: 'string' },
        },
      },
    },
    next: { type: ['string', 'null'], description: 'give it as `after` for the next page' },
    total: { type: 'integer' },
    unknown: { type: 'array', items: { type: 'string' }, description: 'nodes that do not answer just now' },
  },
}

/** What business services do with rooms. */
export async function roomsRoutes (app: FastifyInstance, { rooms, frameBytesMax }: RoomsOptions): Promise<void> {
  app.post<{ Params: Params, Body: PostBody }>('/v1/rooms/:roomId/posts', {
    schema: {
      summary: 'Post in a room',
      tags: ['rooms'],
      params: roomParamsSchema,
      body: bodySchema,
      response: {
        202: postedSchema,
        ...errorAnswers('bad-request', 'unauthorized', 'room-closed', 'payload-too-large', 'ledger-unavailable'),
      },
    },
  }, async (request, reply) => {
    const { params, body: { messageId = randomUUID(), service, payload, delivery } } = request
    const command = {
      roomId: keyOf(request, params.roomId),
      messageId,
      service,
      payload: decodePayload(payload),
      delivery,
      by: callerId(request),
      ...traceOf(request),
    }
    const refusal = postRefusalOf(command, frameBytesMax)
    if (refusal) throw refusal
    takeRecipients(request, 1)
    return await reply.code(202).send(await rooms.post(command, request.body.messageId !== undefined))
  })

  app.get<{ Params: Params }>('/v1/rooms/:roomId', {
    schema: {
      summary: 'How far a room is, and who is in it',
      tags: ['rooms'],
      params: roomParamsSchema,
      response: { 200: infoSchema, ...errorAnswers('bad-request', 'unauthorized', 'not-ready') },
    },
  }, async request => {
    const { roomId } = request.params
    const info = await rooms.info(keyOf(request, roomId))
    return { roomId, ...info, members: info.nodes.reduce((sum, { members }) => sum + (members ?? 0), 0) }
  })

  app.get<{ Params: Params, Querystring: { after: string, limit: string } }>('/v1/rooms/:roomId/members', {
    schema: {
      summary: 'Open connections that are in a room',
      tags: ['rooms'],
      params: roomParamsSchema,
      querystring: {
        type: 'object',
        properties: {
          after: {
            type: 'string', maxLength: 64, pattern: '^[\\w-]*$', default: '', description: '`next` of the page before',
          },
          limit: {
            type: 'string',
            pattern: '^([1-9]\\d{0,2}|1000)$',
            default: '100',
            description: 'at most 1,000',
            examples: ['100'],
          },
        },
      },
      response: { 200: membersSchema, ...errorAnswers('bad-request', 'unauthorized', 'not-ready') },
    },
  }, async request => {
    const { params: { roomId }, query: { after, limit } } = request
    const page = await rooms.members(keyOf(request, roomId), after, Number(limit))
    const members = page.members.map(({ userId, ...member }) => ({ ...shownUser(userId), ...member }))
    return { roomId, ...page, members }
  })

  app.delete<{ Params: Params, Querystring: { reason: string, requestId?: string } }>('/v1/rooms/:roomId', {
    schema: {
      summary: 'Close a room',
      description: 'Its members are told `left`, and from then on nobody joins it or posts in it.',
      tags: ['rooms'],
      params: roomParamsSchema,
      querystring: {
        type: 'object',
        properties: {
          reason: { ...reasonSchema, description: 'what members are told' },
          requestId: { ...idSchema, description: 'idempotency key within the room; drawn where it is absent' },
        },
      },
      response: {
        202: {
          type: 'object',
          required: ['roomId', 'position'],
          properties: {
            roomId: { type: 'string' },
            position: { type: ['string', 'null'], description: 'in the stream rooms; null where it was closed before' },
          },
        },
        ...errorAnswers('bad-request', 'unauthorized', 'ledger-unavailable'),
      },
    },
  }, async (request, reply) => {
    const { params: { roomId }, query: { reason, requestId = randomUUID() } } = request
    const position = await rooms.close({ roomId: keyOf(request, roomId), requestId, reason, by: callerId(request) })
    return await reply.code(202).send({ roomId, position: position ?? null })
  })
}
