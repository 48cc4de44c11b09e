import type { FastifyInstance } from 'fastify'
import { type Moment, parseMoment } from '../../evidence/moment.js'
import type { StateView } from '../../evidence/state.js'
import { GatewayError } from '../../schemas/errors.js'
import { keyOf } from './auth.js'
import { errorAnswers } from './errors.js'
import { appSchema, textSchema, userParamsSchema } from './shapes.js'

export interface StateOptions {
  /** @throws GatewayError `bad-request`, `not-found` where the moment is not in the user's ledger */
  readonly state: (userKey: string, at: Moment | undefined) => Promise<StateView>
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
})
const stateSchema = { type: 'object', required, properties: { app: appSchema, ...properties } }

/** `GET /v1/users/:userId/state`: what the user actor knew at a moment, by the production fold. */
export async function stateRoutes (app: FastifyInstance, { state }: StateOptions): Promise<void> {
  app.get<{ Params: { userId: string }, Querystring: { at?: string } }>('/v1/users/:userId/state', {
    schema: {
      summary: 'The state of a user at a time or position',
      tags: ['users'],
      params: userParamsSchema,
      querystring: {
        type: 'object',
        additionalProperties: false,
        properties: {
          at: {
            ...textSchema(64, 1),
            description: 'a time, or a position of the ledger, itself included; by default now',
            examples: ['2h', '2026-11-20T10:00:00Z', '3@1021.4'],
          },
        },
      },
      response: { 200: stateSchema, ...errorAnswers('bad-request', 'unauthorized', 'not-found', 'ledger-unavailable') },
    },
  }, async request => {
    const { params: { userId }, query: { at } } = request
    return await state(keyOf(request, userId), at === undefined ? undefined : momentOf(at))
  })
}

function momentOf (at: string): Moment {
  try {
    return parseMoment(at, Date.now())
  } catch (cause) {
    throw new GatewayError('bad-request', `query/at: ${(cause as RangeError).message}`, { cause })
  }
}
