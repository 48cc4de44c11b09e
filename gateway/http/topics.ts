import type { FastifyInstance } from 'fastify'
import type { Topic } from '../topics.js'
import { errorAnswers } from './errors.js'

export interface TopicsOptions {
  readonly topics: () => Promise<readonly Topic[]>
}

const count = { type: 'integer', minimum: 0 }
const offset = { type: 'string', pattern: '^\\d+$' }
const orNull = { type: ['integer', 'null'] }

const topicSchema = {
  type: 'object',
  required: ['stream', 'topic', 'retentionMs', 'retentionBytes', 'blocks', 'partitions'],
  properties: {
    stream: { type: 'string' },
    topic: { type: ['string', 'null'], description: 'its name in Kafka' },
    retentionMs: { ...orNull, description: 'as configured; null for ever' },
    retentionBytes: { ...orNull, description: 'as configured; null for any' },
    blocks: count,
    partitions: {
      type: 'array',
      items: {
        type: 'object',
        required: ['partition', 'first', 'next', 'blocks', 'firstAtMs', 'lastAtMs'],
        properties: {
          partition: count,
          first: { ...offset, description: 'the first offset that is kept' },
          next: { ...offset, description: 'the offset that the next block gets' },
          blocks: count,
          firstAtMs: { ...orNull, description: 'of the first block that is kept' },
          lastAtMs: { ...orNull, description: 'of the last one' },
        },
      },
    },
  },
}

/** `GET /v1/topics`: what each stream holds. */
export async function topicsRoutes (app: FastifyInstance, { topics }: TopicsOptions): Promise<void> {
  app.get('/v1/topics', {
    schema: {
      summary: 'The streams: partitions, offsets, age and retention',
      tags: ['operations'],
      response: {
        200: {
          type: 'object',
          required: ['topics'],
          properties: { topics: { type: 'array', items: topicSchema } },
        },
        ...errorAnswers('unauthorized', 'ledger-unavailable'),
      },
    },
  }, async () => ({ topics: await topics() }))
}
