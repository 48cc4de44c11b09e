import type { FastifyInstance } from 'fastify'
import type { Timeline, TimelineRange } from '../../evidence/timeline.js'
import { keyOf } from './auth.js'
import { errorAnswers } from './errors.js'
import { appSchema, userParamsSchema } from './shapes.js'
import { momentOf, momentSchema } from './trace.js'

export interface TimelineOptions {
  /** @throws GatewayError `bad-request` where the range is not of the user's ledger */
  readonly timeline: (userKey: string, range: TimelineRange) => Promise<Timeline>
}

interface Query {
  readonly since?: string
  readonly until?: string
  readonly limit?: string
}

const limitMax = 5_000
const limitDefault = 1_000

const text = { type: 'string' }
const integer = { type: 'integer' }

function object (properties: Record<string, object>) {
  return { type: 'object', required: Object.keys(properties), properties }
}

const markSchema = object({
  position: { ...text, description: 'the entry of the ledger that says so', examples: ['3@1021.4'] },
  atMs: integer,
  event: { ...text, description: 'what happened', examples: ['opened', 'uplink', 'requested', 'sent', 'written', 'acked'] },
  deviceId: { ...text, description: 'empty where it is of no device, as are the others where they do not matter' },
  connectionId: text,
  messageId: text,
  seq: { ...integer, description: 'of an uplink or a downlink within its session; 0 for none' },
  code: { ...text, description: 'of docs/errors.md' },
  text,
})

const { required, properties } = object({
  userId: text,
  marks: { type: 'array', description: 'oldest first', items: markSchema },
  more: { ...integer, description: 'older ones of the range that are left out' },
  connections: {
    type: 'array',
    description: 'open at some time between the first mark and the last',
    items: object({
      connectionId: text,
      deviceId: text,
      platform: text,
      nodeId: text,
      openedAtMs: integer,
      closedAtMs: { type: ['integer', 'null'], description: 'null while it is open' },
      code: { ...text, description: 'how it ended' },
    }),
  },
  isKnown: { type: 'boolean', description: 'the ledger has an entry of the user' },
  knownSince: {
    type: ['object', 'null'],
    description: 'where retention has deleted what was before; null where nothing was deleted',
    required: ['position', 'atMs'],
    properties: { position: text, atMs: { type: ['integer', 'null'] } },
  },
})

/** `GET /v1/users/:userId/timeline`: what happened to a user, for a picture of it. */
export async function timelineRoutes (app: FastifyInstance, { timeline }: TimelineOptions): Promise<void> {
  app.get<{ Params: { userId: string }, Querystring: Query }>('/v1/users/:userId/timeline', {
    schema: {
      summary: 'What happened to a user: connections, messages, kicks, bans',
      tags: ['users'],
      params: userParamsSchema,
      querystring: {
        type: 'object',
        additionalProperties: false,
        properties: {
          since: { ...momentSchema, description: 'nothing before it' },
          until: { ...momentSchema, description: 'nothing behind it' },
          limit: {
            type: 'string', pattern: '^[1-9]\\d{0,3}$', description: `the newest so many, ${limitMax} at most; ${limitDefault} by default`,
          },
        },
      },
      response: {
        200: { type: 'object', required, properties: { app: appSchema, ...properties } },
        ...errorAnswers('bad-request', 'unauthorized', 'ledger-unavailable'),
      },
    },
  }, async request => {
    const { params: { userId }, query: { since, until, limit = limitDefault } } = request
    return await timeline(keyOf(request, userId), {
      since: momentOf('since', since),
      until: momentOf('until', until),
      marksMax: Math.min(limitMax, Number(limit)),
    })
  })
}
