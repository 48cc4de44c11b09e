import { Readable } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import { rebuildable, type Rebuildable, type RebuildEvent } from '../rebuild.js'
import { errorAnswers } from './errors.js'
import { ndjsonLine, ndjsonType } from './readers.js'

export interface RebuildsOptions {
  /** @throws GatewayError `not-ready` while the table is being rebuilt already */
  readonly rebuild: (table: Rebuildable, signal: AbortSignal) => AsyncIterable<RebuildEvent>
}

const summary = 'Rebuild a table from its stream, beside the live one'
const description = 'Each line tells how far it is: `started`, `progress`, `comparing`; the last one is `done`, with how ' +
  'the live table differed from what its stream makes of it, or `failed`, and then the live table is as it was. A ' +
  'caller that leaves gives the rebuild up.'

/** `POST /v1/rebuilds`: what `ledgerline rebuild` asks. */
export async function rebuildsRoutes (app: FastifyInstance, { rebuild }: RebuildsOptions): Promise<void> {
  const running = new Set<AbortController>()
  app.addHook('preClose', async () => {
    for (const one of running) one.abort(new Error('the node is stopping'))
  })

  app.post<{ Body: { table: Rebuildable } }>('/v1/rebuilds', {
    schema: {
      summary,
      description,
      tags: ['operations'],
      body: {
        type: 'object',
        additionalProperties: false,
        required: ['table'],
        properties: { table: { type: 'string', enum: rebuildable } },
      },
      response: {
        200: { description: summary, content: { [ndjsonType]: { schema: { type: 'string' } } } },
        ...errorAnswers('bad-request', 'unauthorized', 'not-ready'),
      },
    },
  }, async (request, reply) => {
    const one = new AbortController()
    const events = rebuild(request.body.table, one.signal)
    running.add(one)
    reply.raw.once('close', () => {
      running.delete(one)
      one.abort(new Error('the caller has left'))
    })
    return await reply.type(ndjsonType).send(Readable.from(linesOf(events)))
  })
}

async function * linesOf (events: AsyncIterable<RebuildEvent>): AsyncGenerator<string> {
  yield '' // sends the headers: it may take long to the first event
  for await (const event of events) yield ndjsonLine(event)
}
