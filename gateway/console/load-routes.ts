import type { FastifyInstance } from 'fastify'
import { errorAnswers } from '../http/errors.js'
import { type LoadAnswer, reportFields } from './load-history.js'

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
    description: 'what each node reported last by then (GET /v1/nodes); null where it was not alive',
    items: object({ nodeId: { type: 'string' }, ...Object.fromEntries(reportFields.map(field => [field, values])) }),
  },
  rates: {
    ...object({
      nodeId: { type: 'string' },
      uplinks: { ...values, description: 'given to the ledger' },
      downlinks: { ...values, description: 'frames written' },
      signals: values,
      posts: { ...values, description: 'written to members of rooms' },
      refused: { ...byCode, description: 'times that a client was told that an uplink was refused, by code' },
      ended: { ...byCode, description: 'connections, by code' },
    }),
    description: 'of the node that is asked, a second',
  },
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
