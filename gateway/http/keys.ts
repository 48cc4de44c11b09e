import type { FastifyInstance } from 'fastify'
import type { Caller } from '../keys/api-keys.js'
import { keyFileSchema } from '../keys/key-file.js'
import { scopes } from '../keys/scopes.js'
import type { ListedKey, WantedKey } from '../keys/stored-keys.js'
import { errorAnswers } from './errors.js'
import { idSchema, textSchema } from './shapes.js'

export interface KeysOptions {
  /** @param app whose file; empty for that of the default one */
  readonly keys: (app: string) => Promise<ListedKey[]>
  readonly createKey: (app: string, wanted: WantedKey, caller: Caller) => Promise<ListedKey & { readonly key: string }>
  readonly revokeKey: (app: string, keyId: string) => Promise<ListedKey>
}

const { id, name, requestsPerSecond, recipientsPerSecond } = keyFileSchema.properties.keys.items.properties
const moment = { type: 'string', format: 'date-time', description: 'ISO 8601 with a zone' }

const listedProperties = {
  id: { type: 'string', pattern: id.pattern, description: 'logs, metrics and facts name the key by it' },
  name: { type: 'string', description: name.description },
  scopes: { type: 'array', items: { type: 'string', enum: scopes } },
  state: { type: 'string', enum: ['good', 'expired', 'revoked'] },
  requestsPerSecond,
  recipientsPerSecond,
  createdAt: moment,
  expiresAt: moment,
  revokedAt: moment,
}

const listedSchema = {
  type: 'object', required: ['id', 'name', 'scopes', 'state', 'createdAt'], properties: listedProperties,
}

const createdSchema = {
  ...listedSchema,
  required: ['key', ...listedSchema.required],
  properties: { key: { type: 'string', description: 'told this once; the file has its digest alone' }, ...listedProperties },
}

const wantedSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['name', 'scopes'],
  properties: {
    name: { ...textSchema(name.maxLength, 1), description: name.description },
    scopes: {
      type: 'array',
      minItems: 1,
      uniqueItems: true,
      items: { type: 'string', enum: scopes },
      description: 'of those that the asking key has',
    },
    requestsPerSecond,
    recipientsPerSecond,
    expiresAt: { ...moment, description: 'a time to come; absent: never' },
  },
}

const errorsOfAll = ['bad-request', 'unauthorized', 'not-found', 'not-ready'] as const

/** API keys in the file of `LEDGERLINE_API_KEYS_FILE`, or of an app: what `ledgerline keys` does where the file is. */
export async function keysRoutes (app: FastifyInstance, { keys, createKey, revokeKey }: KeysOptions): Promise<void> {
  app.get('/v1/keys', {
    schema: {
      summary: 'The API keys of the file that this node reads',
      tags: ['operations'],
      response: {
        200: { type: 'object', required: ['keys'], properties: { keys: { type: 'array', items: listedSchema } } },
        ...errorAnswers(...errorsOfAll),
      },
    },
  }, async request => ({ keys: await keys(request.app) }))

  app.post<{ Body: WantedKey }>('/v1/keys', {
    schema: {
      summary: 'Make an API key',
      description: 'It is good at once on this node, and within a second on each other one that reads the same file.',
      tags: ['operations'],
      body: wantedSchema,
      response: { 201: createdSchema, ...errorAnswers(...errorsOfAll) },
    },
  }, async (request, reply) => await reply.code(201).send(await createKey(request.app, request.body, request.caller!)))

  app.delete<{ Params: { keyId: string } }>('/v1/keys/:keyId', {
    schema: {
      summary: 'Revoke an API key',
      description: 'What goes on with it ends. A key that was revoked before stays as it is.',
      tags: ['operations'],
      params: {
        type: 'object',
        required: ['keyId'],
        properties: { keyId: idSchema },
      },
      response: { 200: listedSchema, ...errorAnswers(...errorsOfAll) },
    },
  }, async request => await revokeKey(request.app, request.params.keyId))
}
