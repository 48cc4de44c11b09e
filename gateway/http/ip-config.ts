import type { FastifyInstance } from 'fastify'
import { errorAnswers } from './errors.js'
import { textSchema } from './shapes.js'

export interface IpConfigOptions {
  /** @throws GatewayError where there is no list to serve, not even an old one */
  readonly ipConfig: (request: IpConfigRequest, host: string) => IpConfig | Promise<IpConfig>
}

export interface IpConfigRequest {
  readonly transport: 'tcp' | 'ws'
  /** The client's region; empty where it named none. */
  readonly region: string
}

export interface IpConfig {
  /** What to connect to, best first. */
  readonly endpoints: readonly string[]
  /** How long the list may be used. */
  readonly ttlMs: number
  readonly heartbeatMs: number
  readonly backoff: { readonly baseMs: number, readonly capMs: number }
  /** Time of the node table that the list was made from. */
  readonly asOfMs: number
}

const ipConfigSchema = {
  type: 'object',
  required: ['endpoints', 'ttlMs', 'heartbeatMs', 'backoff', 'asOfMs'],
  properties: {
    endpoints: { type: 'array', items: { type: 'string' }, examples: [['wss://a.example.com/v1/connect']] },
    ttlMs: { type: 'integer' },
    heartbeatMs: { type: 'integer' },
    backoff: {
      type: 'object',
      required: ['baseMs', 'capMs'],
      properties: { baseMs: { type: 'integer' }, capMs: { type: 'integer' } },
    },
    asOfMs: { type: 'integer', description: 'time of the node table that the list was made from, ms since 1970' },
  },
}

/** `GET /v1/ip-config`: where a client is to connect. For everybody; in browsers for pages of allowed origins. */
export async function ipConfigRoutes (app: FastifyInstance, { ipConfig }: IpConfigOptions): Promise<void> {
  app.get<{ Querystring: IpConfigRequest }>('/v1/ip-config', {
    config: { browsers: true },
    schema: {
      summary: 'Where to connect',
      tags: ['clients'],
      querystring: {
        type: 'object',
        properties: {
          transport: { type: 'string', enum: ['tcp', 'ws'], default: 'ws' },
          region: { ...textSchema(64), default: '' },
        },
      },
      response: { 200: ipConfigSchema, ...errorAnswers('bad-request') },
    },
  }, async request => await ipConfig(request.query, request.host))
}
