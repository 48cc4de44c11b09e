import type { FastifyInstance } from 'fastify'
import { errorAnswers } from './errors.js'

export interface HealthOptions {
  readonly readiness: () => Readiness
  /** Of prom-client. */
  readonly metrics: { readonly contentType: string, metrics (): Promise<string> }
}

export interface Readiness {
  readonly ready: boolean
  /** Everything that must be well, by name. */
  readonly checks: Readonly<Record<string, Check>>
}

export interface Check {
  readonly ok: boolean
  /** Empty when all is well. */
  readonly reason: string
}

const readinessSchema = {
  type: 'object',
  required: ['ready', 'checks'],
  properties: {
    ready: { type: 'boolean' },
    checks: {
      type: 'object',
      additionalProperties: {
        type: 'object',
        required: ['ok', 'reason'],
        properties: { ok: { type: 'boolean' }, reason: { type: 'string' } },
      },
    },
  },
}

/** Liveness and readiness for everybody; metrics for those with a key. */
export async function healthRoutes (app: FastifyInstance, { readiness, metrics }: HealthOptions): Promise<void> {
  app.get('/healthz', {
    config: { public: true },
    schema: {
      summary: 'Liveness: the process answers',
      tags: ['operations'],
      security: [],
      response: { 200: { type: 'object', required: ['status'], properties: { status: { const: 'ok', type: 'string' } } } },
    },
  }, async () => ({ status: 'ok' }))

  app.get('/readyz', {
    config: { public: true },
    schema: {
      summary: 'Readiness: every role does its work',
      tags: ['operations'],
      security: [],
      response: { 200: readinessSchema, 503: readinessSchema },
    },
  }, async (_request, reply) => {
    const state = readiness()
    return await reply.code(state.ready ? 200 : 503).send(state)
  })

  app.get('/metrics', {
    schema: {
      summary: 'Metrics for Prometheus',
      tags: ['operations'],
      response: {
        200: { description: 'Prometheus text format', content: { 'text/plain': { schema: { type: 'string' } } } },
        ...errorAnswers('unauthorized'),
      },
    },
  }, async (_request, reply) => await reply.type(metrics.contentType).send(await metrics.metrics()))
}
