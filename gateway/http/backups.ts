import { Readable } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import type { BackupCommand, BackupEvent } from '../backups.js'
import { errorAnswers } from './errors.js'
import { ndjsonLine, ndjsonType } from './readers.js'
import { textSchema } from './shapes.js'

export interface BackupsOptions {
  /** @throws GatewayError `bad-request`, `not-ready` */
  readonly backup: (command: BackupCommand) => Promise<AsyncIterable<BackupEvent>>
}

const summary = 'Copy the data directory as it is now, while it goes on'
const description = 'Into a directory on the machine of the gateway that has a file `backup-token` in it, and nothing ' +
  'else: that file shows that the caller may write there. Each line tells how far it is: `started`, `progress`; the ' +
  'last one is `done` or `failed`. A caller that leaves does not end it.'

/** `POST /v1/backups`: what `ledgerline backup` asks. */
export async function backupsRoutes (app: FastifyInstance, { backup }: BackupsOptions): Promise<void> {
  app.post<{ Body: BackupCommand }>('/v1/backups', {
    schema: {
      summary,
      description,
      tags: ['operations'],
      body: {
        type: 'object',
        additionalProperties: false,
        required: ['directory', 'token'],
        properties: {
          directory: { ...textSchema(4_096, 1), description: 'an absolute path' },
          token: { ...textSchema(256, 16), description: 'what `backup-token` holds' },
          withSecrets: { type: 'boolean', default: true, description: '`jwt-secret` and `api-key`, where they are files' },
        },
      },
      response: {
        200: { description: summary, content: { [ndjsonType]: { schema: { type: 'string' } } } },
        ...errorAnswers('bad-request', 'unauthorized', 'not-ready'),
      },
    },
  }, async (request, reply) => {
    const events = await backup(request.body)
    return await reply.type(ndjsonType).send(Readable.from(linesOf(events)))
  })
}

async function * linesOf (events: AsyncIterable<BackupEvent>): AsyncGenerator<string> {
  yield '' // sends the headers: it may take long to the first event
  for await (const event of events) yield ndjsonLine(event)
}
