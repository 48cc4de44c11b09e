import type { FastifyInstance } from 'fastify'
import type { Inquiry } from '../../evidence/inquiry.js'
import { type Moment, parseMoment } from '../../evidence/moment.js'
import type { Trace, TraceRange } from '../../evidence/trace.js'
import { GatewayError } from '../../schemas/errors.js'
import { keyOf } from './auth.js'
import { errorAnswers } from './errors.js'
import { appSchema, idSchema, textSchema, userParamsSchema } from './shapes.js'

export interface TraceOptions {
  /** @throws GatewayError `bad-request` where the range is not of the user's ledger */
  readonly trace: (userKey: string, inquiry: Inquiry, range: TraceRange) => Promise<Trace>
}

interface TraceQuery {
  readonly messageId?: string
  readonly sessionId?: string
  readonly seq?: string
  readonly connectionId?: string
  readonly since?: string
  readonly until?: string
}

const momentSchema = { ...textSchema(64, 1), examples: ['2h', '2026-11-20T10:00:00Z', '3@1021.4'] }

const traceSchema = {
  type: 'object',
  required: ['userId', 'steps', 'verdict'],
  properties: {
    app: appSchema,
    userId: { type: 'string' },
    steps: {
      type: 'array',
      description: 'oldest first',
      items: {
        type: 'object',
        required: ['position', 'atMs', 'afterMs', 'event', 'stage', 'stageMs', 'nodeId', 'connectionId', 'text'],
        properties: {
          position: { type: 'string', description: 'the entry of the ledger that says so', examples: ['3@1021.4'] },
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
  },
}

/** `GET /v1/users/:userId/trace`: what became of a message or a connection, from the ledger. */
export async function traceRoutes (app: FastifyInstance, { trace }: TraceOptions): Promise<void> {
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
          since: { ...momentSchema, description: 'steps before it are not shown' },
          until: { ...momentSchema, description: 'the verdict knows nothing behind it' },
        },
      },
      response: { 200: traceSchema, ...errorAnswers('bad-request', 'unauthorized', 'ledger-unavailable') },
    },
  }, async request => {
    const { params: { userId }, query } = request
    const range = { since: momentOf('since', query.since), until: momentOf('until', query.until) }
    return await trace(keyOf(request, userId), inquiryOf(query), range)
  })
}

function inquiryOf ({ messageId, sessionId, seq, connectionId }: TraceQuery): Inquiry {
  const isUplink = sessionId !== undefined && seq !== undefined
  const things = [messageId, sessionId ?? seq, connectionId].filter(thing => thing !== undefined).length
  if (things === 1 && messageId !== undefined) return { messageId }
  if (things === 1 && connectionId !== undefined) return { connectionId }
  if (things === 1 && isUplink) return { sessionId, seq: Number(seq) }
  throw new GatewayError('bad-request', 'query: want messageId, or sessionId and seq, or connectionId')
}

function momentOf (name: string, text: string | undefined): Moment | undefined {
  try {
    return text === undefined ? undefined : parseMoment(text, Date.now())
  } catch (cause) {
    throw new GatewayError('bad-request', `query/${name}: ${(cause as RangeError).message}`, { cause })
  }
}
