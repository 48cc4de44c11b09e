import type { ServerResponse } from 'node:http'
import type { FastifyInstance, FastifyReply } from 'fastify'
import type { Hole } from '../../ledger/log.js'
import { GatewayError } from '../../schemas/errors.js'
import { printable } from '../../schemas/printable.js'
import { Places } from './places.js'

/** Of answers of lines, each a JSON object or empty. */
export const ndjsonType = 'application/x-ndjson'

/** JSON without any other line end: it may hold U+2028 and its like, and many a reader ends a line there. */
export function ndjsonLine (value: unknown): string {
  return `${printable(JSON.stringify(value))}\n`
}

const pieceCharsMax = 1 << 16

/**
 * Lines put together to pieces, each of which is one write: 64 Ki characters and what the last line has beyond that,
 * whatever the number of lines. The last piece ends with them.
 */
export function * piecesOf (lines: Iterable<string>): Generator<string> {
  let piece = ''
  for (const line of lines) {
    piece += line
    if (piece.length < pieceCharsMax) continue
    yield piece
    piece = ''
  }
  if (piece !== '') yield piece
}

/** The line that says that retention deleted blocks before the reader came to them. */
export function holeLine (partition: number, { from, to }: Hole, more: object = {}): string {
  return ndjsonLine({ ...more, hole: { partition, from: `${from}`, to: `${to}` } })
}

/** Of the answers that have it. */
export const holeDescription = 'A line `{ hole: { partition, from, to } }` instead of one of these says that retention ' +
  'deleted the blocks from `from` up to but without `to` before they could be read.'

/**
 * Admits long answers, at most `max` at a time, but one of each app in any case.
 *
 * @returns what begins one: its signal is aborted when the connection of `reply` closes, or when the server does
 * @throws GatewayError `overloaded`, from what it returns; `not-ready` where the server closes: a request that came
 *   before that may have waited for its place meanwhile, and nothing else would end its answer
 */
export function admitReaders (app: FastifyInstance, max: number): (reply: FastifyReply) => AbortSignal {
  const readers = new Set<AbortController>()
  const places = new Places(max)
  let isClosing = false
  app.addHook('preClose', async () => {
    isClosing = true
    for (const reader of readers) reader.abort()
  })
  return reply => {
    if (isClosing) throw new GatewayError('not-ready', 'this node is stopping')
    const giveBack = places.take(reply.request.caller!.app)
    const reader = new AbortController()
    readers.add(reader)
    reply.raw.once('close', () => {
      reader.abort()
      readers.delete(reader)
      giveBack()
    })
    return reader.signal
  }
}

/**
 * Writes `filler`, which its readers skip, wherever an answer of lines was silent for `silentMs`: proxies end what is
 * silent for a minute.
 */
export function keepAwake (response: ServerResponse, silentMs: number, filler: string): void {
  let written = 0
  // Twice in that time: what came just after one look is seen by the next, and the line goes out with the one after.
  const timer = setInterval(() => {
    const { socket } = response
    if (!socket || !response.headersSent || response.writableEnded) return
    const isSilent = socket.bytesWritten === written && socket.writableLength === 0
    if (isSilent) response.write(filler)
    written = socket.bytesWritten
  }, silentMs / 2)
  response.once('close', () => { clearInterval(timer) })
}
