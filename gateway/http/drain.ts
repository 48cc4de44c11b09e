import type { FastifyInstance } from 'fastify'
import { shownUser } from '../../schemas/apps.js'
import type { DrainAnswer, DrainCommand, DrainState } from '../drain-requests.js'
import { callerId } from './auth.js'
import { errorAnswers } from './errors.js'
import { appSchema, idSchema, reasonSchema } from './shapes.js'

export interface DrainOptions {
  /** Resolves once the request is durable; the node takes it up within a second or two. */
  readonly drain: (command: DrainCommand) => Promise<DrainAnswer>
  readonly drainState: (nodeId: string, moves: boolean) => Promise<DrainState>
}

const integer = { type: 'integer' }

const paramsSchema = { type: 'object', required: ['nodeId'], properties: { nodeId: idSchema } }

const answerProperties = {
  nodeId: { type: 'string' },
  drainId: { type: 'string' },
  percent: { type: 'number' },
  withinMs: integer,
}

const moveSchema = {
  type: 'object',
  properties: {
    app: appSchema,
    userId: { type: 'string' },
    deviceId: { type: 'string' },
    connectionId: { type: 'string' },
    closed: { type: 'boolean', description: 'by the node, for its client did not go' },
    toNodeId: { type: 'string', description: 'where it resumed; empty where it was not seen again' },
    toConnectionId: { type: 'string' },
    afterMs: { type: 'integer', description: 'from migrate until it resumed; -1 where it was not seen again' },
    darkMs: { type: 'integer', description: 'of that, without a connection' },
    uplinksLost: { type: 'integer', description: '-1 where that can not be told' },
    downlinksLost: { type: 'integer', description: '-1 where that can not be told' },
    rooms: { type: 'integer', description: 'that it was in' },
  },
}

const stateSchema = {
  type: 'object',
  properties: {
    ...answerProperties,
    state: { type: 'string', enum: ['requested', 'draining', 'done', 'broken-off'] },
    startedAtMs: integer,
    total: { type: 'integer', description: 'connections that have to leave' },
    asked: { type: 'integer', description: 'of those, sent a migrate' },
    left: { type: 'integer', description: 'of those, gone' },
    closed: { type: 'integer', description: 'of those, closed by the node' },
    resumed: { type: 'integer', description: 'of those gone, seen on another connection' },
    uplinksLost: integer,
    downlinksLost: integer,
    members: { type: 'integer', description: 'of rooms, that left with their connections: one for each room of each' },
    membersResumed: { type: 'integer', description: 'of those, whose device was seen on another connection' },
    moves: { type: 'array', items: moveSchema },
  },
}

/** Has the connections of a node leave, and tells what became of them. Any node may be asked about any other. */
export async function drainRoutes (app: FastifyInstance, { drain, drainState }: DrainOptions): Promise<void> {
  app.post<{ Params: { nodeId: string }, Body: { percent: number, withinMs: number, reason: string } }>('/v1/nodes/:nodeId/drain', {
    schema: {
      summary: 'Have the connections of a node go to others',
      tags: ['nodes'],
      params: paramsSchema,
      body: {
        type: 'object',
        additionalProperties: false,
        properties: {
          percent: {
            type: 'number', minimum: 0, maximum: 100, default: 100, description: 'of its connections; 0 ends the drain',
          },
          withinMs: { type: 'integer', minimum: 1_000, maximum: 3_600_000, default: 60_000 },
          reason: { ...reasonSchema, description: 'why, for whoever looks back' },
        },
      },
      response: {
        202: { type: 'object', properties: answerProperties },
        ...errorAnswers('bad-request', 'unauthorized', 'not-found', 'ledger-unavailable'),
      },
    },
  }, async (request, reply) => {
    const { nodeId } = request.params
    return await reply.code(202).send(await drain({ ...request.body, nodeId, by: callerId(request) }))
  })

  app.get<{ Params: { nodeId: string }, Querystring: { moves: 'true' | 'false' } }>('/v1/nodes/:nodeId/drain', {
    schema: {
      summary: 'The last drain of a node: how far it is, and where each connection went',
      tags: ['nodes'],
      params: paramsSchema,
      querystring: {
        type: 'object',
        properties: { moves: { type: 'string', enum: ['true', 'false'], default: 'true' } },
      },
      response: { 200: stateSchema, ...errorAnswers('bad-request', 'unauthorized', 'not-found') },
    },
  }, async request => {
    const state = await drainState(request.params.nodeId, request.query.moves === 'true')
    if (!state.moves) return state
    return { ...state, moves: state.moves.map(move => ({ ...move, ...shownUser(move.userId) })) }
  })
}
