import type { FastifyInstance } from 'fastify'
import { noReport, type NodeRow } from '../../projections/nodes.js'
import { drainRoutes } from './drain.js'
import type { DrainOptions } from './drain.js'
import { errorAnswers } from './errors.js'
import { asOfSchema } from './shapes.js'
import type { AsOf } from './shapes.js'

export interface NodesOptions extends DrainOptions {
  readonly nodes: () => Promise<NodesAnswer>
}

export interface NodesAnswer {
  readonly nodes: readonly NodeRow[]
  readonly asOf: AsOf
}

const integer = { type: 'integer' }
const number = { type: 'number' }

const rowSchema = {
  type: 'object',
  required: ['nodeId', 'epoch', 'state', 'alive'],
  properties: {
    nodeId: { type: 'string' },
    epoch: { type: 'integer', description: 'new at every start of the node' },
    state: { type: 'string', enum: ['up', 'draining', 'lost', 'stopped'] },
    percent: { type: 'integer', description: 'share of its connections that a draining node asks to leave' },
    alive: { type: 'boolean', description: 'its lease had not run out, by the clock of the node that answers' },
    drainRequest: {
      type: 'object',
      description: 'what an operator last asked of it, done or not; GET /v1/nodes/:nodeId/drain tells what came of it',
      properties: {
        drainId: { type: 'string' },
        percent: { type: 'number' },
        withinMs: integer,
        by: { type: 'string', description: 'id of the API key; empty for one of the environment' },
        reason: { type: 'string' },
        atMs: integer,
      },
    },
    region: { type: 'string' },
    roles: { type: 'string' },
    version: { type: 'string' },
    wsUrl: { type: 'string' },
    tcpUrl: { type: 'string' },
    connectionsMax: integer,
    leaseMs: integer,
    reported: {
      type: 'object',
      description: 'load, all 0 until the first report',
      required: Object.keys(noReport),
      properties: {
        connections: integer,
        eventLoopUtilization: { type: 'number', description: '0 to 1' },
        rssBytes: integer,
        memoryBytesMax: integer,
        cpuCores: { type: 'number', description: 'cores that the process used, in the mean' },
        loopDelayP50Ms: { type: 'number', description: 'how late the event loop was; percentiles' },
        loopDelayP90Ms: number,
        loopDelayP99Ms: number,
        ackP50Ms: { type: 'number', description: 'from the append of an uplink until its ack, of a sample; 0 for none' },
        ackP90Ms: number,
        ackP99Ms: number,
        waitMs: { type: 'number', description: 'what an uplink waited for the process between its read and its fold' },
        waitMsMax: { type: 'number', description: 'above it there is overload; 0: it is not looked for' },
        admissionLevel: {
          type: 'number',
          description: 'priorities that are refused, from -4 on, and of the next one the share of users; 0: none',
        },
        counted: {
          type: 'array',
          description: 'since its process started: uplinks, downlinks, signals, posts; by code refused, ended, settled',
          items: {
            type: 'object',
            required: ['what', 'code', 'count'],
            properties: { what: { type: 'string' }, code: { type: 'string' }, count: integer },
          },
        },
      },
    },
    startedAtMs: integer,
    reportedAtMs: { type: 'integer', description: 'by its own clock' },
    aliveUntilMs: { type: 'integer', description: 'by the clock of the node that answers; 0 when it is lost or stopped' },
  },
}

export async function nodesRoutes (app: FastifyInstance, options: NodesOptions): Promise<void> {
  await drainRoutes(app, options)
  app.get('/v1/nodes', {
    schema: {
      summary: 'The node table',
      tags: ['nodes'],
      response: {
        200: {
          type: 'object',
          required: ['nodes', 'asOf'],
          properties: {
            nodes: { type: 'array', items: rowSchema },
            asOf: asOfSchema,
          },
        },
        ...errorAnswers('unauthorized'),
      },
    },
  }, async () => await options.nodes())
}
