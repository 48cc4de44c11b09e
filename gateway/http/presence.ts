import type { FastifyInstance } from 'fastify'
import type { Presence } from '../../projections/presence.js'
import { shownUser } from '../../schemas/apps.js'
import { keyOf } from './auth.js'
import { errorAnswers } from './errors.js'
import { userIdsSchema } from './downlinks.js'
import { appSchema, asOfSchema, userParamsSchema } from './shapes.js'
import type { AsOf } from './shapes.js'

export interface PresenceOptions {
  /** @param userKey with his app; `userId` of the answer is the same */
  readonly presence: (userKey: string) => Promise<PresenceAnswer>
}

export type PresenceAnswer = Presence & { readonly asOf: AsOf }

const presenceSchema = {
  type: 'object',
  required: ['userId', 'online', 'sessions', 'lastSeenAtMs', 'asOf'],
  properties: {
    app: appSchema,
    userId: { type: 'string' },
    online: { type: 'boolean' },
    sessions: {
      type: 'array',
      description: 'oldest first',
      items: {
        type: 'object',
        required: [
          'connectionId', 'deviceId', 'platform', 'sessionId', 'client', 'transport', 'address', 'nodeId', 'openedAtMs',
        ],
        properties: {
          connectionId: { type: 'string' },
          deviceId: { type: 'string' },
          platform: { type: 'string' },
          sessionId: { type: 'string' },
          client: { type: 'string', description: 'name and version of the client program' },
          transport: { type: 'string', enum: ['tcp', 'ws'] },
          address: { type: 'string', description: 'remote IP address and port; without the port where a proxy does not tell it' },
          nodeId: { type: 'string' },
          openedAtMs: { type: 'integer' },
        },
      },
    },
    lastSeenAtMs: {
      type: ['integer', 'null'],
      description: 'when a connection last opened or closed; null for a user who never had one',
    },
    asOf: asOfSchema,
  },
}

export async function presenceRoutes (app: FastifyInstance, { presence }: PresenceOptions): Promise<void> {
  app.get<{ Params: { userId: string } }>('/v1/users/:userId/presence', {
    schema: {
      summary: 'Which sessions a user has open',
      tags: ['users'],
      params: userParamsSchema,
      response: { 200: presenceSchema, ...errorAnswers('bad-request', 'unauthorized') },
    },
  }, async request => shown(await presence(keyOf(request, request.params.userId))))

  app.post<{ Body: { userIds: string[] } }>('/v1/presence', {
    schema: {
      summary: 'Which sessions several users have open',
      tags: ['users'],
      body: {
        type: 'object',
        required: ['userIds'],
        additionalProperties: false,
        properties: { userIds: userIdsSchema },
      },
      response: {
        200: {
          type: 'object',
          required: ['users'],
          properties: { users: { type: 'array', items: presenceSchema } },
        },
        ...errorAnswers('bad-request', 'unauthorized', 'payload-too-large'),
      },
    },
  }, async request => ({
    users: await Promise.all(request.body.userIds.map(async userId => shown(await presence(keyOf(request, userId))))),
  }))
}

function shown (answer: PresenceAnswer) { return { ...answer, ...shownUser(answer.userId) } }
