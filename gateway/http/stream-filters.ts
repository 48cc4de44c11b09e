import type { FastifyRequest } from 'fastify'
import { GatewayError } from '../../schemas/errors.js'
import type { PublicStream, Wanted } from '../streams/public.js'
import { idSchema, serviceSchema } from './shapes.js'

export interface FilterQuery {
  readonly users?: string | readonly string[]
  readonly room?: string
  readonly service?: string
  readonly code?: string
}

const usersMax = 100

/** Parameters by which a reader of a stream chooses records. */
export const filterProperties = {
  users: {
    anyOf: [idSchema, { type: 'array', maxItems: usersMax, items: idSchema }],
    description: `only records of this user; may come ${usersMax} times, for several`,
  },
  room: { ...idSchema, description: 'only records of this room' },
  service: { ...serviceSchema, description: 'only records for this service; empty for the default one, absent: for all' },
  code: {
    type: 'string',
    pattern: '^[a-z-]{1,64}$',
    description: 'only records of what ended so: of `connections` and `receipts`, a code of docs/errors.md, or `acked`',
    examples: ['outbox-full'],
  },
}

/** @throws GatewayError `bad-request` for a filter that the stream does not have */
export function wantedBy (of: PublicStream, { app, query }: FastifyRequest<{ Querystring: FilterQuery }>): Wanted {
  const { users, room, service, code } = query
  const has = { users: of.userOf, room: of.roomOf, service: of.serviceOf, code: of.codeOf }
  for (const name of ['users', 'room', 'service', 'code'] as const) {
    if (query[name] === undefined || has[name]) continue
    throw new GatewayError('bad-request', `querystring/${name}: records of the stream ${of.stream.name} have none`)
  }
  return { app, users: users === undefined ? undefined : new Set([users].flat()), room, service, code }
}
