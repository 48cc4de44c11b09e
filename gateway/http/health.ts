import type { FastifyInstance } from 'fastify'
import type { HealthAnswer } from '../health.js'
import { errorAnswers } from './errors.js'

export interface HealthOptions {
  readonly readiness: () => Readiness
}

export interface OperationsOptions {
  /** What is wrong, since when, and what ends it. */
  readonly health: () => HealthAnswer
}

export interface MetricsOptions {
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

/** One condition that lasts. */
export const troubleSchema = {
  type: 'object',
  required: ['condition', 'what', 'reason', 'sinceMs', 'heals', 'stops'],
  properties: {
    condition: { type: 'string', description: 'one of docs/operations.md' },
    what: { type: 'string', description: 'which of its kind; empty where there is one only' },
    reason: { type: 'string' },
    sinceMs: { type: 'integer', description: 'ms since 1970' },
    heals: { type: 'string', description: 'what ends it' },
    stops: { type: 'boolean', description: 'the node is not ready because of it' },
  },
}

const healthSchema = {
  type: 'object',
  required: ['ready', 'troubles', 'total'],
  properties: {
    ready: { type: 'boolean' },
    troubles: { type: 'array', description: 'what lasts, oldest first; 200 at most', items: troubleSchema },
    total: { type: 'integer', description: 'with those that are not listed' },
  },
}

/** Liveness and readiness, for everybody. */
export async function healthRoutes (app: FastifyInstance, { readiness }: HealthOptions): Promise<void> {
  app.get('/healthz', {
    schema: {
      summary: 'Liveness: the process answers',
      tags: ['operations'],
      response: { 200: { type: 'object', required: ['status'], properties: { status: { const: 'ok', type: 'string' } } } },
    },
  }, async () => ({ status: 'ok' }))

  app.get('/readyz', {
    schema: {
      summary: 'Readiness: every role does its work',
      tags: ['operations'],
      response: { 200: readinessSchema, 503: readinessSchema },
    },
  }, async (_request, reply) => {
    const state = readiness()
    return await reply.code(state.ready ? 200 : 503).send(state)
  })
}

/** The details of what is wrong. */
export async function operationsRoutes (app: FastifyInstance, { health }: OperationsOptions): Promise<void> {
  app.get('/v1/health', {
    schema: {
      summary: 'What is wrong with this node, since when, and what ends it',
      tags: ['operations'],
      response: { 200: healthSchema, ...errorAnswers('unauthorized') },
    },
  }, async () => health())
}

export async function metricsRoute (app: FastifyInstance, { metrics }: MetricsOptions): Promise<void> {
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
