import type { FastifyInstance } from 'fastify'
import { errorAnswers } from '../http/errors.js'
import { type LoadAnswer, nodeFields } from './load-history.js'

export interface LoadOptions {
  /** @param sinceMs samples taken later alone */
  readonly load: (sinceMs: number) => LoadAnswer
}

const values = { type: 'array', items: { type: ['number', 'null'] } }
const byCode = { type: 'object', additionalProperties: values }

function object (properties: Record<string, object>) {
  return { type: 'object', required: Object.keys(properties), properties }
}

const loadSchema = object({
  everyMs: { type: 'integer', description: 'between two samples' },
  atMs: { type: 'array', description: 'when they were taken, oldest first; all other arrays go with it', items: { type: 'integer' } },
  nodes: {
    type: 'array',
    description: 'of each node what it reported last by then (GET /v1/nodes), and what it counted, a second: `refusals` ' +
      'of uplinks and `ends` of connections, whatever their code; null where it was not alive',
    items: object({ nodeId: { type: 'string' }, ...Object.fromEntries(nodeFields.map(field => [field, values])) }),
  },
  lag: {
    ...byCode,
    description: 'by follower of a stream (GET /v1/lag): for how long at least it had not reached an end of the stream, ms, looked at ' +
      'every 10 s; null where it was not known',
  },
  refused: { ...byCode, description: 'of all nodes, a second: times that a client was told that an uplink was refused, by code' },
  ended: { ...byCode, description: 'of all nodes, a second: connections that ended, by code' },
  settled: { ...byCode, description: 'of all nodes, a second: durable downlinks that ended on a device, `acked` or by code' },
})

/** `GET /v1/load`: what the charts of the console show. */
export function loadRoutes (app: FastifyInstance, options: LoadOptions | undefined): void {
  app.get<{ Querystring: { since?: string } }>('/v1/load', {
    schema: {
      summary: 'The load of the last hour',
      tags: ['nodes'],
      querystring: {
        type: 'object',
        additionalProperties: false,
        properties: {
          since: { type: 'string', pattern: '^\\d{1,15}$', description: 'ms since 1970; samples taken later alone' },
        },
      },
      response: { 200: loadSchema, ...errorAnswers('bad-request', 'unauthorized') },
    },
  }, async ({ query: { since = '0' } }) => options!.load(Number(since))) // asked on a node with the role alone, which has it
}
