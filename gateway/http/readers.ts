import type { ServerResponse } from 'node:http'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { GatewayError } from '../../schemas/errors.js'
import { printable } from '../../schemas/printable.js'

/** Of answers of lines, each a JSON object or empty. */
export const ndjsonType = 'application/x-ndjson'

/** JSON without any other line end: it may hold U+2028 and its like, and many a reader ends a line there. */
export function ndjsonLine (value: unknown): string {
  return `${printable(JSON.stringify(value))}\n`
}

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

/**
 * Writes an empty line wherever an answer of lines was silent for `silentMs`: proxies end what is silent for a minute,
 * and readers of NDJSON skip it.
 */
export function keepAwake (response: ServerResponse, silentMs: number): void {
  let written = 0
  // Twice in that time: what came just after one look is seen by the next, and the line goes out with the one after.
  const timer = setInterval(() => {
    const { socket } = response
    if (!socket || !response.headersSent || response.writableEnded) return
    const isSilent = socket.bytesWritten === written && socket.writableLength === 0
    if (isSilent) response.write('\n')
    written = socket.bytesWritten
  }, silentMs / 2)
  response.once('close', () => { clearInterval(timer) })
}
