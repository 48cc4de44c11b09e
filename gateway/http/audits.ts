import { Readable } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import { parseTime } from '../../evidence/moment.js'
import { GatewayError } from '../../schemas/errors.js'
import type { AuditEvent } from '../audits.js'
import { errorAnswers } from './errors.js'
import { ndjsonLine, ndjsonType } from './readers.js'
import { textSchema, timeDescription } from './shapes.js'

export interface AuditsOptions {
  /** @throws GatewayError `not-ready` while another one runs on this node */
  readonly audit: (sinceMs: number | undefined, signal: AbortSignal) => AsyncIterable<AuditEvent>
}

const summary = 'Audit: replay the ledger, balance its books, and tell what is not as it must be'
const description = 'Each line tells how far it is: `started`, `progress`, a `violation` each (1,000 at most); the last one is ' +
  '`done`, with the books, or `failed`. It goes on beside live traffic, one at a time on a node. A caller that leaves gives it up. ' +
  '`ledgerline audit` does the same in a process of its own.'

/** `POST /v1/audits`: what the console asks. */
export async function auditsRoutes (app: FastifyInstance, { audit }: AuditsOptions): Promise<void> {
  const running = new Set<AbortController>()
  app.addHook('preClose', async () => {
    for (const one of running) one.abort(new GatewayError('not-ready', 'the node is stopping'))
  })

  app.post<{ Body: { since?: string } }>('/v1/audits', {
    schema: {
      summary,
      description,
      tags: ['operations'],
      body: {
        type: 'object',
        additionalProperties: false,
        properties: {
          since: {
            ...textSchema(64, 1),
            description: `what came from then on is judged: ${timeDescription}; absent: all that is kept`,
          },
        },
      },
      response: {
        200: { description: summary, content: { [ndjsonType]: { schema: { type: 'string' } } } },
        ...errorAnswers('bad-request', 'unauthorized', 'not-ready'),
      },
    },
  }, async (request, reply) => {
    const one = new AbortController()
    const events = audit(sinceMsOf(request.body), one.signal)
    running.add(one)
    reply.raw.once('close', () => {
      running.delete(one)
      one.abort(new GatewayError('not-ready', 'the caller has left'))
    })
    return await reply.type(ndjsonType).send(Readable.from(linesOf(events)))
  })
}

/** @throws GatewayError `bad-request` */
function sinceMsOf ({ since }: { since?: string }): number | undefined {
  if (since === undefined) return undefined
  const sinceMs = parseTime(since, Date.now())
  if (sinceMs !== undefined && sinceMs <= Date.now()) return sinceMs
  throw new GatewayError('bad-request', `body/since: got ${JSON.stringify(since)}, want ${timeDescription}`)
}

async function * linesOf (events: AsyncIterable<AuditEvent>): AsyncGenerator<string> {
  yield '' // sends the headers: it may take long to the first event
  for await (const event of events) yield ndjsonLine(event)
}
