import type { FastifyInstance } from 'fastify'
import type { Trace } from '../../evidence/trace.js'
import { GatewayError } from '../../schemas/errors.js'
import { errorAnswers } from './errors.js'
import { textSchema, userIdSchema } from './shapes.js'

export interface TraceOptions {
  readonly trace: (userId: string, query: TraceQuery) => Promise<Trace>
}

/** A downlink by its id, or an uplink by its session and seq. */
export type TraceQuery =
  | { readonly messageId: string }
  | { readonly sessionId: string, readonly seq: number }

const traceSchema = {
  type: 'object',
  required: ['userId', 'steps', 'verdict'],
  properties: {
    userId: { type: 'string' },
    steps: {
      type: 'array',
      description: 'oldest first',
      items: {
        type: 'object',
        required: ['position', 'atMs', 'afterMs', 'event', 'nodeId', 'connectionId', 'text'],
        properties: {
          position: { type: 'string', description: 'the entry of the ledger that says so', examples: ['3@1021.4'] },
          atMs: { type: 'integer' },
          afterMs: { type: 'integer', description: 'since the step before; clocks of several nodes' },
          event: { type: 'string' },
          nodeId: { type: 'string' },
          connectionId: { type: 'string' },
          text: { type: 'string' },
        },
      },
    },
    verdict: {
      type: 'object',
      required: ['code', 'text'],
      properties: { code: { type: 'string' }, text: { type: 'string' } },
    },
  },
}

/** `GET /v1/users/:userId/trace`: what became of a message, from the ledger. */
export async function traceRoutes (app: FastifyInstance, { trace }: TraceOptions): Promise<void> {
  app.get<{ Params: { userId: string }, Querystring: { messageId?: string, sessionId?: string, seq?: string } }>(
    '/v1/users/:userId/trace', {
      schema: {
        summary: 'What became of a message',
        tags: ['users'],
        params: { type: 'object', properties: { userId: userIdSchema } },
        querystring: {
          type: 'object',
          additionalProperties: false,
          properties: {
            messageId: { ...textSchema(128, 1), description: 'of a downlink' },
            sessionId: { ...textSchema(128, 1), description: 'of an uplink, with its seq' },
            seq: { type: 'string', pattern: '^[1-9]\\d{0,15}$' },
          },
        },
        response: { 200: traceSchema, ...errorAnswers('bad-request', 'unauthorized', 'ledger-unavailable') },
      },
    }, async ({ params: { userId }, query }) => await trace(userId, queryOf(query)))
}

function queryOf ({ messageId, sessionId, seq }: { messageId?: string, sessionId?: string, seq?: string }): TraceQuery {
  if (messageId !== undefined && sessionId === undefined && seq === undefined) return { messageId }
  if (messageId === undefined && sessionId !== undefined && seq !== undefined) return { sessionId, seq: Number(seq) }
  throw new GatewayError('bad-request', 'query: want messageId, or sessionId and seq')
}
