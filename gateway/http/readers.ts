import type { FastifyInstance, FastifyReply } from 'fastify'
import { GatewayError } from '../../schemas/errors.js'

/**
 * Admits long answers, at most `max` at a time.
 *
 * @returns what begins one: its signal is aborted when the connection of `reply` closes, or when the server does
 * @throws GatewayError `overloaded`, from what it returns
 */
export function admitReaders (app: FastifyInstance, max: number): (reply: FastifyReply) => AbortSignal {
  const readers = new Set<AbortController>()
  app.addHook('preClose', async () => {
    for (const reader of readers) reader.abort()
  })
  return reply => {
    if (readers.size >= max) throw new GatewayError('overloaded', `${max} readers are the bound`)
    const reader = new AbortController()
    readers.add(reader)
    reply.raw.once('close', () => {
      reader.abort()
      readers.delete(reader)
    })
    return reader.signal
  }
}
