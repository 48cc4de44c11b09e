import type { FastifyInstance } from 'fastify'
import type { Acked, GroupName, Groups, ReaderShown, ReadingNode } from '../groups/groups.js'
import type { FollowerLag } from '../lag.js'
import { GatewayError } from '../../schemas/errors.js'
import type { DownlinksOptions } from './downlinks-many.js'
import { errorAnswers } from './errors.js'
import { repliesSchema, replyOutcomesSchema, sendRepliesOfAck } from './group-replies.js'
import { followerSchema } from './lag.js'

export interface GroupsOptions extends Pick<DownlinksOptions, 'push' | 'frameBytesMax'> {
  readonly groups: {
    readonly join: Groups['join']
    /** Resolves once it is known of each whether it is durable. */
    readonly ack: (name: GroupName, cursors: readonly string[]) => Promise<readonly Acked[]>
    /** Names of the groups of an app. @throws GatewayError `ledger-unavailable`, as the two below */
    readonly list: (app: string) => Promise<readonly string[]>
    /** Undefined where there is no such group. */
    readonly describe: (name: GroupName) => Promise<GroupShown | undefined>
    /** @throws GatewayError `has-readers` */
    readonly forget: (name: GroupName) => Promise<void>
  }
}

export interface GroupShown {
  /** How far it is behind the streams that it has read. */
  readonly lags: readonly FollowerLag[]
  readonly nodes: readonly ReadingNode[]
  /** On this node. */
  readonly readers: readonly ReaderShown[]
}

/** What `GET /v1/groups/:group` answers. */
export interface GroupAnswer extends Pick<GroupShown, 'nodes' | 'readers'> {
  readonly group: string
  readonly streams: GroupShown['lags']
}

const cursorsMax = 1_000

export const groupSchema = { type: 'string', pattern: '^[\\w-]{1,64}$', examples: ['orders'] }
const paramsSchema = { type: 'object', required: ['group'], properties: { group: groupSchema } }

const ackedSchema = {
  type: 'object',
  required: ['acks'],
  properties: {
    acks: {
      type: 'array',
      items: {
        type: 'object',
        required: ['cursor', 'status'],
        properties: {
          cursor: { type: 'string' },
          status: { type: 'string', enum: ['acked', 'rejected'] },
          code: {
            type: 'string',
            description: '`not-leased`: the partition is another reader\'s now, who goes on from the last ack, or the ' +
              'node of the reader is gone; `bad-request`: no cursor of a group; `ledger-unavailable`, `internal`: it ' +
              'is not known to be stored, ack it again',
          },
        },
      },
    },
    replies: replyOutcomesSchema,
  },
}

const shownSchema = {
  type: 'object',
  required: ['group', 'streams', 'nodes', 'readers'],
  properties: {
    group: { type: 'string' },
    streams: { type: 'array', description: 'how far it is behind each stream that it has read', items: followerSchema },
    nodes: {
      type: 'array',
      description: 'on which it is read, of the whole cluster, and the partitions that each of them has',
      items: {
        type: 'object',
        required: ['nodeId', 'stream', 'partitions'],
        properties: {
          nodeId: { type: 'string', description: 'or its KAFKA_CLIENT_ID, where that is set' },
          stream: { type: 'string' },
          partitions: { type: 'array', items: { type: 'integer' } },
        },
      },
    },
    readers: {
      type: 'array',
      description: 'on the node that is asked',
      items: {
        type: 'object',
        required: ['readerId', 'stream', 'sinceMs', 'partitions', 'unackedBytes'],
        properties: {
          readerId: { type: 'string' },
          stream: { type: 'string' },
          sinceMs: { type: 'integer', description: 'ms since 1970' },
          partitions: { type: 'array', items: { type: 'integer' } },
          unackedBytes: { type: 'integer' },
        },
      },
    },
  },
}

interface Params { readonly group: string }

/** What readers in groups (`GET /v1/streams/:stream?group=`) ack, and how far their groups are. */
export async function groupsRoutes (app: FastifyInstance, options: GroupsOptions): Promise<void> {
  const { groups } = options
  app.post<{ Params: Params, Body: { cursors: string[], replies?: object[] } }>('/v1/groups/:group/acks', {
    schema: {
      summary: 'Ack lines of a stream that were read in a group',
      description: 'A cursor acks its line and all that the group was given before it in the same partition. The answer ' +
        'comes once that is durable: whoever reads the partition next goes on behind it. Replies are stored before: they ' +
        'want the scope push as well.',
      tags: ['groups'],
      params: paramsSchema,
      body: {
        type: 'object',
        required: ['cursors'],
        additionalProperties: false,
        properties: {
          cursors: {
            type: 'array',
            minItems: 1,
            maxItems: cursorsMax,
            items: { type: 'string', maxLength: 1024, pattern: '^[\\w-]+$' },
            description: 'of lines; the last one of each partition is enough',
          },
          replies: repliesSchema,
        },
      },
      response: {
        200: ackedSchema, ...errorAnswers('bad-request', 'unauthorized', 'forbidden', 'throttled', 'ledger-unavailable'),
      },
    },
  }, async request => {
    const { app, params: { group }, body: { cursors, replies } } = request
    // First: an ack without them would lose them where the node dies in between.
    const outcomes = replies && await sendRepliesOfAck(request, group, replies, cursors, options)
    const acks = await groups.ack({ app, group }, cursors)
    return outcomes ? { acks, replies: outcomes } : { acks }
  })

  app.get('/v1/groups', {
    schema: {
      summary: 'Groups that have acked anything, or are read',
      tags: ['groups'],
      response: {
        200: {
          type: 'object',
          required: ['groups'],
          properties: { groups: { type: 'array', items: { type: 'string' } } },
        },
        ...errorAnswers('unauthorized', 'ledger-unavailable'),
      },
    },
  }, async ({ app }) => ({ groups: await groups.list(app) }))

  app.get<{ Params: Params }>('/v1/groups/:group', {
    schema: {
      summary: 'How far a group is, and who reads in it',
      tags: ['groups'],
      params: paramsSchema,
      response: { 200: shownSchema, ...errorAnswers('bad-request', 'unauthorized', 'not-found', 'ledger-unavailable') },
    },
  }, async ({ app, params: { group } }): Promise<GroupAnswer> => {
    const shown = await groups.describe({ app, group })
    if (!shown) throw new GatewayError('not-found', `there is no group ${group}`)
    return { group, streams: shown.lags, nodes: shown.nodes, readers: shown.readers }
  })

  app.delete<{ Params: Params }>('/v1/groups/:group', {
    schema: {
      summary: 'Forget how far a group is',
      description: 'Whoever reads in it next begins anew.',
      tags: ['groups'],
      params: paramsSchema,
      response: {
        204: { type: 'null', description: 'forgotten' },
        ...errorAnswers('bad-request', 'unauthorized', 'has-readers', 'ledger-unavailable'),
      },
    },
  }, async ({ app, params: { group } }, reply) => {
    await groups.forget({ app, group })
    return await reply.code(204).send()
  })
}
