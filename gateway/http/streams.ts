import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { parseTime } from '../../evidence/moment.js'
import { GatewayError } from '../../schemas/errors.js'
import { StreamCursor } from '../streams/cursor.js'
import { keysOf, type PublicStream, publicStreams, type Wanted, wants } from '../streams/public.js'
import { boundsOf, type StreamLog, StreamReading } from '../streams/reading.js'
import { errorAnswers } from './errors.js'
import { groupSchema, type GroupsOptions } from './groups.js'
import { eventStream, eventStreamType, formatFor, type LineFormat } from './line-formats.js'
import { admitReaders, holeDescription, ndjsonType, piecesOf } from './readers.js'
import { textSchema, timeDescription } from './shapes.js'
import { filterProperties, type FilterQuery, wantedBy } from './stream-filters.js'

export interface StreamsOptions extends GroupsOptions {
  readonly logReader: StreamLog
}

interface StreamQuery extends FilterQuery {
  readonly after?: string
  readonly since?: string
  readonly follow?: 'true' | 'false'
  readonly limit?: string
  readonly group?: string
  readonly ackWithinMs: string
}

interface Route { Querystring: StreamQuery }
type StreamRequest = FastifyRequest<Route>

/** More requests at the same time are refused with `overloaded`. */
const readersMax = 64

const summary = 'Records of a stream, one JSON object a line'
const description = 'In order for each key of the stream, which is the user, the room or the node. `cursor` names the place behind its line: give it as ' +
  '`after` to go on there, or `now` for those that come from now on: the first line is then the cursor alone. With `follow` the answer has no end but `limit`, ' +
  `and an empty line wherever it was silent for 15 s. ${holeDescription} It has a cursor, too. A header ` +
  '`ledgerline-gap: true` says so of what stood directly behind the cursor. With `Accept: text/event-stream` it is ' +
  'server-sent events: `data` is the line, `id` its cursor, and a hole is an event of the name `hole`. They follow unless ' +
  '`follow` is false, and the header `Last-Event-ID` goes before `after`.'

const querySchema = {
  type: 'object',
  properties: {
    after: { type: 'string', maxLength: 8192, pattern: '^[\\w-]*$', description: 'cursor of the last line taken, or `now`; absent: from the beginning' },
    since: {
      ...textSchema(64, 1),
      description: `from the first record of then on, where there is no \`after\`: ${timeDescription}`,
    },
    follow: { type: 'string', enum: ['true', 'false'], description: 'absent: false, and true for server-sent events' },
    limit: { type: 'string', pattern: '^[1-9]\\d{0,8}$', description: 'lines after which the answer ends', examples: ['100'] },
    ...filterProperties,
    group: {
      ...groupSchema,
      description: 'read as one of this group: its readers share the partitions, and ack what they have done ' +
        '(`POST /v1/groups/:group/acks`). It goes on from the last ack; one that has acked nothing begins with the ' +
        'first record, or with `after=now`',
    },
    ackWithinMs: {
      type: 'string',
      pattern: '^[1-9]\\d{3,5}$',
      default: '30000',
      description: 'a reader in a group that acks nothing for so long, while he has something to ack, loses his ' +
        'partitions; 1,000 to 999,999',
      examples: ['30000'],
    },
  },
}

const streamSchema = {
  summary,
  description,
  tags: ['messages'],
  querystring: querySchema,
  response: {
    200: {
      description: summary,
      content: { [ndjsonType]: { schema: { type: 'string' } }, [eventStreamType]: { schema: { type: 'string' } } },
    },
    ...errorAnswers('bad-request', 'unauthorized', 'not-found', 'overloaded', 'ledger-unavailable'),
  },
}

const names = publicStreams.map(({ stream }) => stream.name)
const uplinksOf = publicStreams.find(({ stream }) => stream.name === 'uplinks')!

/** `GET /v1/streams/:stream`, and `GET /v1/uplinks`, an older name of one of them: what business services consume. */
export async function streamsRoutes (app: FastifyInstance, { logReader, groups }: StreamsOptions): Promise<void> {
  const begin = admitReaders(app, readersMax)
  const options = { exposeHeadRoute: false, schema: streamSchema }

  /** @param tellsPlace where `after` is `now`, as a line of its own */
  async function answer (
    of: PublicStream, request: StreamRequest, reply: FastifyReply, tellsPlace = true
  ): Promise<unknown> {
    const wanted = wantedBy(of, request)
    const format = formatFor(request.headers)
    if (request.query.group !== undefined) {
      const joining = { ...joiningOf(request), of, wanted, format, signal: begin(reply) }
      request.raw.socket.setKeepAlive(true, 30_000)
      return await reply.headers(format.headers).send(Readable.from(await groups.join(joining)))
    }
    const after = afterOf(request)
    const cursor = await cursorAfter(logReader, of, after, sinceMsOf(request))
    if (after !== '' && after !== 'now' && await hasGap(logReader, of, cursor)) reply.header('ledgerline-gap', 'true')
    const { follow = format === eventStream ? 'true' : 'false', limit } = request.query
    const isFollower = follow === 'true'
    // A follower whose machine vanished sends no FIN, and nothing else would tell.
    if (isFollower) request.raw.socket.setKeepAlive(true, 30_000)
    const linesMax = limit === undefined ? Infinity : Number(limit)
    const beginning = format.beginning + (tellsPlace && after === 'now' ? format.place(`${cursor}`) : '')
    const reader = { wanted, format, beginning, isFollower, linesMax, signal: begin(reply) }
    return await reply.headers(format.headers).send(Readable.from(piecesOfStream(logReader, of, cursor, reader)))
  }

  app.get<Route & { Params: { stream: string } }>('/v1/streams/:stream', options, async (request, reply) => {
    const { stream: name } = request.params
    const of = publicStreams.find(({ stream, appOf }) => stream.name === name && appOf)
    if (of) return await answer(of, request, reply)
    throw new GatewayError('not-found', `no stream ${JSON.stringify(name.slice(0, 100))}; want ${names.join(', ')}`)
  })
  // Those of no app have a path of their own, for access.ts lets others come to them.
  for (const of of publicStreams.filter(({ appOf }) => !appOf)) {
    app.get<Route>(`/v1/streams/${of.stream.name}`, options, (request, reply) => answer(of, request, reply))
  }
  // Its readers were never told of a line that is no record of theirs.
  app.get<Route>('/v1/uplinks', options, (request, reply) => answer(uplinksOf, request, reply, false))
}

/** @throws GatewayError `bad-request` for what no reader in a group asks for: the group has a place, and no end */
function joiningOf ({ app, query }: StreamRequest) {
  const { group = '', after, since, follow, limit, ackWithinMs } = query
  const faults = [
    ...after === undefined || after === 'now' ? [] : ['after: want now, or none'],
    ...since === undefined ? [] : ['since: want none'],
    ...follow === 'false' ? ['follow: want true, or none'] : [],
    ...limit === undefined ? [] : ['limit: want none'],
  ]
  if (faults.length > 0) {
    throw new GatewayError('bad-request', `querystring/${faults[0]}: a group is read from its last ack on, without end`)
  }
  return { app, group, begins: after === 'now' ? 'now' as const : 'first' as const, ackWithinMs: Number(ackWithinMs) }
}

/** Where to go on; empty for the beginning. An EventSource that comes back asks with the query that it began with. */
function afterOf ({ headers, query }: StreamRequest): string {
  return headers['last-event-id'] as string | undefined || query.after || ''
}

/** @throws GatewayError `bad-request` for what is no time, and beside a place to go on from */
function sinceMsOf (request: StreamRequest): number | undefined {
  const { since, after } = request.query
  if (since === undefined) return undefined
  if (after !== undefined) throw new GatewayError('bad-request', 'querystring/since: want none beside after')
  const sinceMs = parseTime(since, Date.now())
  if (sinceMs !== undefined) return sinceMs
  throw new GatewayError('bad-request', `querystring/since: got ${JSON.stringify(since)}, want ${timeDescription}`)
}

/** @throws GatewayError `bad-request` for what is no cursor of ours */
async function cursorAfter (
  log: StreamLog, { stream }: PublicStream, after: string, sinceMs: number | undefined
): Promise<StreamCursor> {
  if (after !== '' && after !== 'now') {
    try {
      return StreamCursor.parse(after, stream.name, log.partitions(stream))
    } catch (cause) {
      throw new GatewayError('bad-request', `querystring/after: got ${JSON.stringify(after.slice(0, 100))}, want now, or a cursor that this gateway gave out for ${stream.name}`, { cause })
    }
  }
  const cursor = StreamCursor.start(stream.name, log.partitions(stream))
  for (const [partition, { first, next }] of (await boundsOf(log, stream)).entries()) {
    const since = sinceMs === undefined ? first : await log.offsetAt(stream, partition, sinceMs)
    cursor.move(partition, after === 'now' ? next : since > first ? since : first, 0)
  }
  return cursor
}

/**
 * Whether something between the cursor and the first line still kept is gone.
 *
 * @throws GatewayError `bad-request` when the cursor is ahead of the stream, hence of another one
 */
async function hasGap (log: StreamLog, { stream }: PublicStream, cursor: StreamCursor): Promise<boolean> {
  let gap = false
  for (const [partition, { first, next }] of (await boundsOf(log, stream)).entries()) {
    const { offset, index } = cursor.place(partition)
    if (offset > next || (offset === next && index > 0)) {
      throw new GatewayError('bad-request', 'querystring/after is ahead of the stream: it comes from another one')
    }
    gap ||= offset < first
  }
  return gap
}

interface Reader {
  readonly wanted: Wanted
  readonly format: LineFormat
  readonly beginning: string
  readonly isFollower: boolean
  readonly linesMax: number
  readonly signal: AbortSignal
}

/** Lines in pieces, so that a fast reader costs few writes, and a slow one holds no more than one of them. */
async function * piecesOfStream (
  log: StreamLog, of: PublicStream, cursor: StreamCursor,
  { wanted, format, beginning, isFollower, linesMax, signal }: Reader
): AsyncGenerator<string> {
  yield beginning
  const isWanted = wants(of, wanted)
  const reading = new StreamReading(log, of.stream, keysOf(of, wanted))
  let left = linesMax
  for await (const told of reading.from(cursor, isFollower, signal)) {
    if (signal.aborted) return
    if ('hole' in told) {
      const { partition, hole: { from, to } } = told
      cursor.move(partition, to, 0)
      yield format.notice(`${cursor}`, 'hole', { partition, from: `${from}`, to: `${to}` })
      continue
    }
    const lines = linesOf()
    for (const piece of piecesOf(lines)) {
      yield piece
      if (signal.aborted) return
    }
    if (left <= 0) return

    /** They move the cursor over the block, also where no line comes of it, but not past the last line of all. */
    function * linesOf (): Generator<string> {
      const { partition, offset, items } = told as Exclude<typeof told, { hole: unknown }>
      const place = cursor.place(partition)
      const start = offset === place.offset ? place.index : 0
      for (let index = start; index < items.length && left > 0; index++) {
        const isLast = index === items.length - 1
        cursor.move(partition, isLast ? offset + 1n : offset, isLast ? 0 : index + 1)
        const item = items[index]!
        if (!isWanted(item)) continue
        left--
        yield format.record(`${cursor}`, of.view(item))
      }
    }
  }
}
