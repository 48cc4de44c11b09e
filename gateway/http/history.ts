import { Readable } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import type { HistoryRow } from '../../evidence/history/row.js'
import { connectionHistory } from '../../evidence/history/streams.js'
import { lineOf } from '../../evidence/history/text.js'
import { type HistoryFilter, historyOf, historyRanges } from '../../evidence/history.js'
import { parseTime } from '../../evidence/moment.js'
import type { Hole, LogReader } from '../../ledger/log.js'
import { GatewayError } from '../../schemas/errors.js'
import { keyOf } from './auth.js'
import { errorAnswers } from './errors.js'
import { admitReaders, holeDescription, holeLine, ndjsonType, piecesOf } from './readers.js'
import { idSchema, textSchema, timeDescription } from './shapes.js'

export interface HistoryOptions {
  /** Where stream `connections` is read. */
  readonly logReader: LogReader
}

interface HistoryQuery {
  readonly since?: string
  readonly until?: string
  readonly userId?: string
  readonly code?: string
}

/** More requests at the same time are refused with `overloaded`: each may read all that the log keeps. */
const readersMax = 16

const summary = 'Connections that ended, one JSON object a line'
const description = 'Those that closed from `since` on and before `until`, in order for each user, each with its whole ' +
  'story (schemas/streams/connections.avsc). A number that nobody knows, for its node was lost, is null. Connections that are still open are not among them: presence has those. ' +
  `A row that came into the stream more than an hour after its connection had closed may be missing. ${holeDescription}`

/** `GET /v1/connections`: the history that `ledgerline history` exports. */
export async function historyRoutes (app: FastifyInstance, { logReader }: HistoryOptions): Promise<void> {
  const begin = admitReaders(app, readersMax)

  app.get<{ Querystring: HistoryQuery }>('/v1/connections', {
    exposeHeadRoute: false,
    schema: {
      summary,
      description,
      tags: ['connections'],
      querystring: {
        type: 'object',
        additionalProperties: false,
        properties: {
          since: { ...textSchema(64, 1), description: `${timeDescription}; absent: from the beginning` },
          until: { ...textSchema(64, 1), description: `${timeDescription}; absent: up to now` },
          userId: { ...idSchema, description: 'of this user alone' },
          code: { type: 'string', pattern: '^[a-z-]{1,64}$', description: 'of those alone that ended with it (docs/errors.md)', examples: ['slow-consumer'] },
        },
      },
      response: {
        200: { description: summary, content: { [ndjsonType]: { schema: { type: 'string' } } } },
        ...errorAnswers('bad-request', 'unauthorized', 'overloaded'),
      },
    },
  }, async (request, reply) => {
    const { userId, code } = request.query
    const whose = { app: request.app, userId: userId === undefined ? undefined : keyOf(request, userId) }
    const filter = { ...whose, code, ...timesOf(request.query, Date.now()) }
    const signal = begin(reply)
    return await reply.type(ndjsonType).send(Readable.from(linesOf(logReader, filter, signal)))
  })
}

/** Piece by piece; the next block is read when the socket has taken them. */
async function * linesOf (log: LogReader, filter: HistoryFilter, signal: AbortSignal): AsyncGenerator<string> {
  const ranges = await historyRanges(log, connectionHistory, filter)
  yield '' // sends the headers: it may take long to the first row
  for (const range of ranges) {
    const holes: string[] = []
    const passed = (hole: Hole) => { holes.push(holeLine(range.partition, hole)) }
    for await (const { rows } of historyOf(log, connectionHistory, range, filter, { signal, passed })) {
      yield * holes.splice(0)
      for (const piece of piecesOf(textOf(rows))) {
        if (signal.aborted) return
        yield piece
      }
    }
    yield * holes
  }
}

function * textOf (rows: readonly HistoryRow[]): Generator<string> {
  for (const row of rows) yield lineOf(row)
}

/** @throws GatewayError `bad-request` */
function timesOf ({ since, until }: HistoryQuery, nowMs: number): Pick<HistoryFilter, 'sinceMs' | 'untilMs'> {
  const sinceMs = since === undefined ? undefined : timeOf('since', since, nowMs)
  const untilMs = until === undefined ? undefined : timeOf('until', until, nowMs)
  if (sinceMs !== undefined && untilMs !== undefined && sinceMs >= untilMs) {
    throw new GatewayError('bad-request', 'querystring/since must be before querystring/until')
  }
  return { sinceMs, untilMs }
}

function timeOf (name: string, text: string, nowMs: number): number {
  const atMs = parseTime(text, nowMs)
  if (atMs !== undefined) return atMs
  throw new GatewayError('bad-request', `querystring/${name}: got ${JSON.stringify(text)}, want ${timeDescription}`)
}
