import { Readable } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import { GatewayError } from '../../schemas/errors.js'
import type { RedeliveryCounts, WebhookState } from '../webhooks/running.js'
import { errorAnswers } from './errors.js'
import { ndjsonLine, ndjsonType } from './readers.js'

export interface WebhooksOptions {
  readonly webhooks: () => readonly WebhookState[]
  /**
   * Resolves once what was given up is done anew; `signal` breaks it off.
   *
   * @throws GatewayError `not-found` for a webhook that there is not; `not-ready` while it is under way already
   */
  readonly redeliverWebhook: (name: string, signal: AbortSignal) => Promise<RedeliveryCounts>
}

const webhookSchema = {
  type: 'object',
  required: ['name', 'url', 'app', 'streams', 'state', 'reason', 'deletedBlocks'],
  properties: {
    name: { type: 'string' },
    url: { type: 'string', description: 'scheme, host and port alone' },
    app: { type: 'string', description: 'empty for the default app' },
    streams: { type: 'array', items: { type: 'string' } },
    state: {
      type: 'string',
      enum: ['delivering', 'waiting', 'disabled'],
      description: '`waiting`: nothing is taken just now; `disabled`: it has answered 410',
    },
    reason: { type: 'string', description: 'why it is not delivering; empty where it is' },
    deletedBlocks: {
      type: 'integer',
      description: 'blocks of its streams that retention deleted before it took them, as far as this node has met with them since it started',
    },
  },
}

const summary = 'Send what a webhook did not take once more'
const description = 'Records of the stream `undelivered` that are of this webhook, up to the end as it is at the request. ' +
  'The answer has one line when all of them are done: `{ webhook, sent, undelivered }`, or `{ code, message }` where it ' +
  'was broken off. A caller that leaves breaks it off; asked for again it goes on with what is left.'

/** What this node has of webhooks, and `POST /v1/webhooks/:name/redeliveries`. */
export async function webhooksRoutes (
  app: FastifyInstance, { webhooks, redeliverWebhook }: WebhooksOptions
): Promise<void> {
  const running = new Set<AbortController>()
  app.addHook('preClose', async () => {
    for (const one of running) one.abort()
  })

  app.get('/v1/webhooks', {
    schema: {
      summary: 'The webhooks, as this node sees them',
      tags: ['operations'],
      response: {
        200: {
          type: 'object', required: ['webhooks'], properties: { webhooks: { type: 'array', items: webhookSchema } },
        },
        ...errorAnswers('unauthorized'),
      },
    },
  }, async () => ({ webhooks: webhooks() }))

  app.post<{ Params: { name: string } }>('/v1/webhooks/:name/redeliveries', {
    schema: {
      summary,
      description,
      tags: ['operations'],
      params: { type: 'object', required: ['name'], properties: { name: { type: 'string', maxLength: 64 } } },
      response: {
        200: { description: summary, content: { [ndjsonType]: { schema: { type: 'string' } } } },
        ...errorAnswers('bad-request', 'unauthorized', 'not-found'),
      },
    },
  }, async (request, reply) => {
    const { name } = request.params
    if (!webhooks().some(webhook => webhook.name === name)) throw new GatewayError('not-found', `no webhook has the name ${name}`)
    const one = new AbortController()
    running.add(one)
    reply.raw.once('close', () => {
      running.delete(one)
      one.abort()
    })
    return await reply.type(ndjsonType).send(Readable.from(linesOf(redeliverWebhook(name, one.signal))))
  })
}

async function * linesOf (counts: Promise<RedeliveryCounts>): AsyncGenerator<string> {
  counts.catch(() => {}) // it may fail before the headers are sent
  yield '' // sends them: the first line may take hours
  try {
    yield ndjsonLine(await counts)
  } catch (err) {
    const { code, message } = err instanceof GatewayError ? err : new GatewayError('internal', (err as Error).message)
    yield ndjsonLine({ code, message })
  }
}
