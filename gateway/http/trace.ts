import type { FastifyInstance } from 'fastify'
import type { Inquiry } from '../../evidence/inquiry.js'
import { type Moment, parseMoment } from '../../evidence/moment.js'
import type { RoomTrace } from '../../evidence/rooms/trace.js'
import type { Trace, TraceRange } from '../../evidence/trace.js'
import { GatewayError } from '../../schemas/errors.js'
import { keyOf } from './auth.js'
import { errorAnswers } from './errors.js'
import { appSchema, idSchema, textSchema, userParamsSchema } from './shapes.js'

export interface TraceOptions {
  /** @throws GatewayError `bad-request` where the range is not of the user's ledger */
  readonly trace: (userKey: string, inquiry: Inquiry, range: TraceRange) => Promise<Trace>
  /** @throws GatewayError `bad-request` where the range is not of the room's partition of `rooms` */
  readonly tracePost: (roomKey: string, messageId: string, range: TraceRange) => Promise<RoomTrace>
}

interface TraceQuery {
  readonly messageId?: string
  readonly sessionId?: string
  readonly seq?: string
  readonly connectionId?: string
  readonly roomId?: string
  readonly since?: string
  readonly until?: string
}

interface RoomTraceQuery extends Pick<TraceQuery, 'since' | 'until'> { readonly post: string }

export const momentSchema = { ...textSchema(64, 1), examples: ['2h', '2026-11-20T10:00:00Z', '3@1021.4'] }

const told = {
  steps: {
    type: 'array',
    description: 'oldest first',
    items: {
      type: 'object',
      required: ['position', 'atMs', 'afterMs', 'event', 'stage', 'stageMs', 'nodeId', 'connectionId', 'text'],
      properties: {
        position: {
          type: 'string',
          description: 'the entry that says so, of the ledger where no stream is named',
          examples: ['3@1021.4', 'posts 3@1021.4'],
        },
        atMs: { type: 'integer' },
        afterMs: { type: 'integer', description: 'since the step before; clocks of several nodes' },
        event: { type: 'string' },
        stage: { type: 'string', description: 'the way that ends here; empty for none', examples: ['sent-written'] },
        stageMs: { type: 'integer', description: 'how long it took' },
        nodeId: { type: 'string' },
        connectionId: { type: 'string' },
        text: { type: 'string' },
      },
    },
  },
  verdict: {
    type: 'object',
    required: ['code', 'cause', 'text'],
    properties: {
      code: { type: 'string', description: 'what became of it', examples: ['unacked'] },
      cause: { type: 'string', description: 'why; empty where all went well', examples: ['heartbeat-timeout'] },
      text: { type: 'string' },
    },
  },
}

const postTraceSchema = {
  type: 'object',
  required: ['roomId', 'steps', 'verdict'],
  properties: { app: appSchema, roomId: { type: 'string' }, ...told },
}

const traceSchema = {
  type: 'object',
  required: ['userId', 'steps', 'verdict'],
  properties: {
    app: appSchema,
    userId: { type: 'string' },
    ...told,
    post: { ...postTraceSchema, description: 'of an uplink that names a room: what became of it there' },
  },
}

const rangeSchema = {
  since: { ...momentSchema, description: 'steps before it are not shown' },
  until: { ...momentSchema, description: 'the verdict knows nothing behind it' },
}

/** `GET /v1/users/:userId/trace`, `GET /v1/rooms/:roomId/trace`: what became of something, from the streams. */
export async function traceRoutes (app: FastifyInstance, { trace, tracePost }: TraceOptions): Promise<void> {
  app.get<{ Params: { userId: string }, Querystring: TraceQuery }>('/v1/users/:userId/trace', {
    schema: {
      summary: 'What became of a message or a connection',
      tags: ['users'],
      params: userParamsSchema,
      querystring: {
        type: 'object',
        additionalProperties: false,
        properties: {
          messageId: { ...idSchema, description: 'of a downlink' },
          sessionId: { ...idSchema, description: 'of an uplink, with its seq' },
          seq: { type: 'string', pattern: '^[1-9]\\d{0,15}$' },
          connectionId: idSchema,
          roomId: { ...idSchema, description: 'whether business has the user in it' },
          ...rangeSchema,
        },
      },
      response: { 200: traceSchema, ...errorAnswers('bad-request', 'unauthorized', 'ledger-unavailable') },
    },
  }, async request => {
    const { params: { userId }, query } = request
    return await trace(keyOf(request, userId), inquiryOf(query), rangeOf(query))
  })

  app.get<{ Params: { roomId: string }, Querystring: RoomTraceQuery }>('/v1/rooms/:roomId/trace', {
    schema: {
      summary: 'What became of a post',
      tags: ['rooms'],
      params: { type: 'object', required: ['roomId'], properties: { roomId: idSchema } },
      querystring: {
        type: 'object',
        required: ['post'],
        additionalProperties: false,
        properties: {
          post: { ...textSchema(256, 1), description: 'its message id; of an uplink, userId/userSeq', examples: ['ann/12'] },
          ...rangeSchema,
        },
      },
      response: { 200: postTraceSchema, ...errorAnswers('bad-request', 'unauthorized', 'ledger-unavailable') },
    },
  }, async request => {
    const { params: { roomId }, query } = request
    return await tracePost(keyOf(request, roomId), query.post, rangeOf(query))
  })
}

function rangeOf ({ since, until }: Pick<TraceQuery, 'since' | 'until'>): TraceRange {
  return { since: momentOf('since', since), until: momentOf('until', until) }
}

function inquiryOf ({ messageId, sessionId, seq, connectionId, roomId }: TraceQuery): Inquiry {
  const isUplink = sessionId !== undefined && seq !== undefined
  const things = [messageId, sessionId ?? seq, connectionId, roomId].filter(thing => thing !== undefined).length
  if (things === 1 && messageId !== undefined) return { messageId }
  if (things === 1 && connectionId !== undefined) return { connectionId }
  if (things === 1 && roomId !== undefined) return { roomId }
  if (things === 1 && isUplink) return { sessionId, seq: Number(seq) }
  throw new GatewayError('bad-request', 'query: want messageId, or sessionId and seq, or connectionId, or roomId')
}

/** @throws GatewayError `bad-request` */
export function momentOf (name: string, text: string | undefined): Moment | undefined {
  try {
    return text === undefined ? undefined : parseMoment(text, Date.now())
  } catch (cause) {
    throw new GatewayError('bad-request', `query/${name}: ${(cause as RangeError).message}`, { cause })
  }
}
