import type { FastifyInstance } from 'fastify'
import { GatewayError } from '../../schemas/errors.js'
import { messageRefusalOf, usersMax } from '../downlink-command.js'
import { takeRecipients } from './auth.js'
import { type DownlinkMessage, messageOf, messageSchema, traceOf } from './downlink-message.js'
import { type DownlinksOptions, sendingToMany } from './downlinks-many.js'
import { errorAnswers } from './errors.js'
import { ndjsonType } from './readers.js'
import { outcomeSchema } from './recalls.js'
import { idSchema } from './shapes.js'

export type { DownlinksOptions } from './downlinks-many.js'

interface DownlinkBody extends DownlinkMessage { readonly to: { readonly userIds: readonly string[] } }

export const userIdsSchema = { type: 'array', minItems: 1, maxItems: usersMax, uniqueItems: true, items: idSchema }

const bodySchema = {
  ...messageSchema,
  required: ['to', ...messageSchema.required],
  properties: {
    to: {
      type: 'object',
      required: ['userIds'],
      additionalProperties: false,
      properties: { userIds: userIdsSchema },
    },
    ...messageSchema.properties,
  },
}

const answerSchema = {
  type: 'object',
  required: ['messageId', 'users'],
  properties: {
    messageId: { type: 'string' },
    users: {
      type: 'array',
      items: {
        type: 'object',
        required: ['userId', 'status'],
        properties: {
          userId: { type: 'string' },
          status: { type: 'string', enum: ['queued', 'duplicate', 'conflict', 'sent', 'offline', 'rejected'] },
          position: { type: 'string', description: 'where the request stands in the ledger', examples: ['3@1021.4'] },
          replaced: { ...outcomeSchema, description: `of the downlink that it replaces. ${outcomeSchema.description}` },
          code: { type: 'string', description: 'why it was rejected' },
        },
      },
    },
  },
}

const linesDescription = 'The message is the first line, without `to`: `{ "messageId": "m1", "payload": "hi" }`. ' +
  'Each line after that names a user, any number of them: `{ "userId": "ann" }`. With `"answers": "failed"` in ' +
  'the first line only those are told that are `rejected` or `conflict`.'

const answerLinesDescription = '`{ messageId }`; for each user, as it is stored, what an answer in JSON has of him, with ' +
  'the `line` that names him; `{ progress }` now and then; at last `{ totals }`, with an `error` where the lines ' +
  'behind those were not taken. A line that names no user is `rejected`, with a `message`, and the others are not.'

/** `POST /v1/downlinks`: a message to some users, durable or at most once; in lines to any number of them. */
export async function downlinksRoutes (app: FastifyInstance, options: DownlinksOptions): Promise<void> {
  // Of its own: no other route takes lines.
  await app.register(async scope => {
    scope.addContentTypeParser(ndjsonType, (_request, body, done) => { done(null, body) })
    addRoute(scope, options)
  })
}

function addRoute (app: FastifyInstance, options: DownlinksOptions): void {
  const sendToMany = sendingToMany(app, options)
  app.post<{ Body: DownlinkBody }>('/v1/downlinks', {
    schema: {
      summary: 'Send to users',
      description: 'To a thousand at most in JSON, to any number of them in lines.',
      tags: ['messages'],
      body: {
        content: {
          'application/json': { schema: bodySchema },
          [ndjsonType]: { schema: { description: linesDescription } },
        },
      },
      response: {
        202: {
          description: 'For each user what became of it',
          content: {
            'application/json': { schema: answerSchema },
            [ndjsonType]: { schema: { type: 'string', description: answerLinesDescription } },
          },
        },
        ...errorAnswers('bad-request', 'unauthorized', 'payload-too-large', 'overloaded', 'ledger-unavailable'),
      },
    },
  }, async (request, reply) => {
    if (request.mediaType === ndjsonType) return await sendToMany(request, reply)
    // Fastify validates a body of a type that the schema names, and there is none without a body.
    if (request.mediaType === undefined) throw new GatewayError('bad-request', 'body must be object')
    const { to: { userIds }, ...message } = request.body
    const command = { ...messageOf(message, request.app), userIds, ...traceOf(request) }
    const refusal = messageRefusalOf(command, options.frameBytesMax)
    if (refusal) throw refusal
    takeRecipients(request, userIds.length)
    return await reply.code(202).send(await options.push(command, message.messageId !== undefined))
  })
}
