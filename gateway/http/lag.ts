import type { FastifyInstance } from 'fastify'
import type { FollowerLag } from '../lag.js'
import type { ConditionName } from '../../schemas/conditions.js'
import type { HealthAnswer } from '../health.js'
import { errorAnswers } from './errors.js'
import { troubleSchema } from './health.js'

export interface LagOptions {
  readonly lag: () => Promise<readonly FollowerLag[]>
  readonly health: () => HealthAnswer
}

/** Why somebody may be behind. */
const ofStreams: ReadonlySet<ConditionName> = new Set([
  'ledger', 'appends', 'refused', 'topics', 'throttled', 'followers', 'cut-back', 'users', 'snapshots', 'uplinks', 'tables',
  'connections', 'downlinks', 'schema-registry', 'webhooks',
])

const count = { type: 'integer', minimum: 0 }
const offset = { type: 'string', pattern: '^\\d+$' }

export const followerSchema = {
  type: 'object',
  required: ['follower', 'stream', 'partitions', 'blocks', 'gone', 'ms', 'unknown', 'standing'],
  properties: {
    follower: { type: 'string', description: 'users, a table, `stream NAME`, or `group NAME`' },
    stream: { type: 'string', description: 'what it follows' },
    blocks: { ...count, description: 'that it is behind, over all partitions' },
    gone: { ...count, description: 'blocks that retention deleted before it had done them, over all partitions' },
    ms: { ...count, description: 'age of the oldest entry that is not done; 0 when all is' },
    unknown: { type: 'string', description: 'why some of its partitions are left out; empty where none is' },
    standing: {
      type: 'array',
      description: 'partitions that stand still on this node, or that the log tells nothing of',
      items: {
        type: 'object',
        required: ['partition', 'reason'],
        properties: { partition: count, reason: { type: 'string', description: 'why' } },
      },
    },
    partitions: {
      type: 'array',
      items: {
        type: 'object',
        required: ['partition', 'position', 'end', 'blocks', 'gone', 'entries', 'ms'],
        properties: {
          partition: count,
          position: { ...offset, description: 'the first offset that is not done' },
          end: { ...offset, description: 'the offset that the next block gets' },
          blocks: count,
          gone: count,
          entries: { type: ['integer', 'null'], description: 'null where they are too many to be counted' },
          ms: { type: ['integer', 'null'], description: 'null where their time is not known' },
        },
      },
    },
  },
}

/** `GET /v1/lag`: who is behind, and by how much. */
export async function lagRoutes (app: FastifyInstance, { lag, health }: LagOptions): Promise<void> {
  app.get('/v1/lag', {
    schema: {
      summary: 'Who is behind the streams, and by how much',
      tags: ['operations'],
      response: {
        200: {
          type: 'object',
          required: ['followers', 'troubles'],
          properties: {
            followers: { type: 'array', items: followerSchema },
            troubles: { type: 'array', description: 'what is wrong with streams on this node', items: troubleSchema },
          },
        },
        ...errorAnswers('unauthorized', 'ledger-unavailable'),
      },
    },
  }, async () => {
    const followers = await lag()
    return { followers, troubles: health().troubles.filter(({ condition }) => ofStreams.has(condition)) }
  })
}
