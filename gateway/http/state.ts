import type { FastifyInstance } from 'fastify'
import { type Moment, parseMoment } from '../../evidence/moment.js'
import type { RoomView } from '../../evidence/rooms/state.js'
import type { StateView } from '../../evidence/state.js'
import { GatewayError } from '../../schemas/errors.js'
import { roomRightNames } from '../../schemas/room-rights.js'
import { keyOf } from './auth.js'
import { errorAnswers } from './errors.js'
import { appSchema, idSchema, textSchema, userParamsSchema } from './shapes.js'

export interface StateOptions {
  /** @throws GatewayError `bad-request`, `not-found` where the moment is not in the user's ledger */
  readonly state: (userKey: string, at: Moment | undefined) => Promise<StateView>
  /** @throws GatewayError `bad-request`, `not-found` where the moment is not in the room's partition of `rooms` */
  readonly roomState: (roomKey: string, at: Moment | undefined) => Promise<RoomView>
}

const text = { type: 'string' }
const integer = { type: 'integer' }

/** An object that has all of these. */
function object (properties: Record<string, object>) {
  return { type: 'object', required: Object.keys(properties), properties }
}

const kept = { messageId: text, service: text, payloadBytes: integer, requestedAtMs: integer, expiresAtMs: integer }

const sessionSchema = object({
  deviceId: text,
  platform: text,
  sessionId: text,
  connectionId: { ...text, description: 'where downlinks go to; empty while the device is offline' },
  nodeId: text,
  touchedAtMs: { ...integer, description: 'when a connection of it last opened or closed' },
  uplinkSeq: { ...integer, description: 'highest accepted uplink' },
  nextSeq: { ...integer, description: 'what the next downlink gets' },
  ackedSeq: integer,
  missed: { ...integer, description: 'downlinks gone for good that the client was not told of' },
  outbox: {
    type: 'array',
    description: 'unacked downlinks, oldest first',
    items: object({ seq: { ...integer, description: '0 until the device connects' }, ...kept }),
  },
})

const { required, properties } = object({
  userId: text,
  asOf: {
    type: ['object', 'null'],
    description: 'the last entry that it holds; null where there is none',
    required: ['position', 'atMs'],
    properties: { position: { ...text, examples: ['3@1021.4'] }, atMs: integer },
  },
  knownSince: {
    type: ['object', 'null'],
    description: 'where retention has deleted what was before; null where nothing was deleted',
    required: ['position', 'atMs'],
    properties: { position: text, atMs: { type: ['integer', 'null'] } },
  },
  userSeq: integer,
  sessions: { type: 'array', items: sessionSchema },
  connections: {
    type: 'array',
    description: 'those that are open',
    items: object({ connectionId: text, nodeId: text, deviceId: text, sessionId: text }),
  },
  waiting: { type: 'array', description: 'downlinks for the first session to open', items: object(kept) },
  memberships: {
    type: 'array',
    description: 'rooms that business has the user in',
    items: object({ roomId: text, rights: { ...text, enum: [...roomRightNames] }, grantedAtMs: integer }),
  },
})
const stateSchema = { type: 'object', required, properties: { app: appSchema, ...properties } }

const room = object({
  roomId: text,
  asOf: { ...properties['asOf'], description: 'the last entry of the stream rooms that it holds; null where there is none' },
  knownSince: properties['knownSince']!,
  roomSeq: { ...integer, description: 'number of its last post; 0 for none' },
  keptAfter: { ...integer, description: 'posts after this one are kept for who joins' },
  closed: { type: 'boolean' },
  closeReason: text,
  nodes: {
    type: 'array',
    description: 'those that have members',
    items: object({
      nodeId: text,
      nodeEpoch: integer,
      interest: { ...integer, description: 'counts up on the node' },
      joinedAtMs: integer,
      deliveredSeq: { ...integer, description: 'the last post that its members were given, as it said last; 0 for none' },
      deliveredAtMs: integer,
      members: { ...integer, description: 'as it said then' },
      behind: { ...integer, description: 'those of them that read too slowly' },
      gone: { ...text, description: 'node-lost or node-silent where it is gone; empty while it lives' },
    }),
  },
  posts: {
    type: 'array',
    description: 'those that are kept, oldest first',
    items: object({
      roomSeq: integer, messageId: text, from: text, service: text, payloadBytes: integer, postedAtMs: integer,
    }),
  },
})
const roomSchema = { ...room, properties: { app: appSchema, ...room.properties } }

const querySchema = {
  type: 'object',
  additionalProperties: false,
  properties: {
    at: {
      ...textSchema(64, 1),
      description: 'a time, or a position of the ledger, of a room one of the stream rooms, itself included; by default now',
      examples: ['2h', '2026-11-20T10:00:00Z', '3@1021.4'],
    },
  },
}

/** `GET /v1/users/:userId/state`, `GET /v1/rooms/:roomId/state`: what an actor knew then, by the production fold. */
export async function stateRoutes (app: FastifyInstance, { state, roomState }: StateOptions): Promise<void> {
  app.get<{ Params: { userId: string }, Querystring: { at?: string } }>('/v1/users/:userId/state', {
    schema: {
      summary: 'The state of a user at a time or position',
      tags: ['users'],
      params: userParamsSchema,
      querystring: querySchema,
      response: { 200: stateSchema, ...errorAnswers('bad-request', 'unauthorized', 'not-found', 'ledger-unavailable') },
    },
  }, async request => {
    const { params: { userId }, query: { at } } = request
    return await state(keyOf(request, userId), at === undefined ? undefined : momentOf(at))
  })

  app.get<{ Params: { roomId: string }, Querystring: { at?: string } }>('/v1/rooms/:roomId/state', {
    schema: {
      summary: 'The state of a room at a time or position',
      tags: ['rooms'],
      params: { type: 'object', required: ['roomId'], properties: { roomId: idSchema } },
      querystring: querySchema,
      response: { 200: roomSchema, ...errorAnswers('bad-request', 'unauthorized', 'not-found', 'ledger-unavailable') },
    },
  }, async request => {
    const { params: { roomId }, query: { at } } = request
    return await roomState(keyOf(request, roomId), at === undefined ? undefined : momentOf(at))
  })
}

function momentOf (at: string): Moment {
  try {
    return parseMoment(at, Date.now())
  } catch (cause) {
    throw new GatewayError('bad-request', `query/at: ${(cause as RangeError).message}`, { cause })
  }
}
