import { Readable } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import type { RoomPost } from '../../actors/room-links.js'
import { type LogReader, parsePosition } from '../../ledger/log.js'
import { GatewayError } from '../../schemas/errors.js'
import { payloadToJson } from '../../schemas/payload.js'
import { partitionOf } from '../../schemas/partitioning.js'
import type { Posted } from '../../schemas/records.js'
import { posts } from '../../schemas/streams.js'
import { keyOf } from './auth.js'
import { errorAnswers } from './errors.js'
import { Places } from './places.js'
import { admitReaders, holeDescription, holeLine, ndjsonLine, ndjsonType, piecesOf } from './readers.js'
import { roomParamsSchema, type RoomsOptions } from './rooms.js'

export interface RoomPostsOptions {
  /** How long one answer may read. */
  readonly postsReadMs?: number
}

interface Query { readonly after: string, readonly from: string, readonly limit?: string }

/** More requests at the same time that read the stream are refused with `overloaded`. */
const readersMax = 16
/** And more at all: each may hold what a room keeps until its client has taken it. */
const requestsMax = 64

/**
 * How long one answer reads of the stream, without the time that its reader takes. A partition has the posts of many
 * rooms, and a log without an index by room reads them all.
 */
const readMsDefault = 5_000

/** Blocks that are read in one go, in which none of the room may come up. */
const sliceBlocks = 4_096n

const summary = 'Posts of a room, one JSON object a line'

const querySchema = {
  type: 'object',
  properties: {
    after: {
      type: 'string',
      pattern: '^(0|[1-9]\\d{0,14})$',
      default: '0',
      description: 'roomSeq of the last post taken',
      examples: ['0'],
    },
    from: {
      type: 'string',
      pattern: '^(\\d{1,9}@\\d{1,15})?$',
      default: '',
      description: '`next` of the answer before; absent for the beginning of the stream',
    },
    limit: {
      type: 'string',
      pattern: '^[1-9]\\d{0,8}$',
      description: 'lines after which the answer ends',
      examples: ['100'],
    },
  },
}

/**
 * What a room has had, as far as the stream `posts` goes back. Its last posts come from the room itself, which keeps
 * them for who joins: nothing is read for those, however many posts of others stand in the partition.
 */
export async function roomPostsRoute (
  app: FastifyInstance,
  { logReader, rooms, postsReadMs = readMsDefault }:
  RoomPostsOptions & Pick<RoomsOptions, 'rooms'> & { readonly logReader: LogReader }
): Promise<void> {
  const begin = admitReaders(app, requestsMax)
  const places = new Places(readersMax)

  app.get<{ Params: { roomId: string }, Querystring: Query }>('/v1/rooms/:roomId/posts', {
    exposeHeadRoute: false,
    schema: {
      summary,
      description: 'In order. What the room still keeps for who joins (`keptAfter` of `GET /v1/rooms/:roomId`) costs ' +
        'no reading; what is older is read from the stream posts, in a cluster past all that stands in its partition. ' +
        `${holeDescription} It reads for 5 s at most: a last line \`{ next }\` says that there may be more, and is ` +
        'given as `from` for that.',
      tags: ['rooms'],
      params: roomParamsSchema,
      querystring: querySchema,
      response: {
        200: { description: summary, content: { [ndjsonType]: { schema: { type: 'string' } } } },
        ...errorAnswers('bad-request', 'unauthorized', 'overloaded', 'ledger-unavailable'),
      },
    },
  }, async (request, reply) => {
    const { params, query: { after, from, limit } } = request
    const key = keyOf(request, params.roomId)
    const max = limit === undefined ? Infinity : Number(limit)
    const signal = begin(reply)
    reply.type(ndjsonType)
    // Where its owner does not answer, the stream does.
    const kept = from === '' ? await rooms.keptPosts(key, Number(after), max).catch(() => undefined) : undefined
    if (kept) return await reply.send(Readable.from(piecesOf(linesOf(kept))))
    const partition = partitionOf(key, logReader.partitions(posts))
    const { first, next } = await logReader.bounds(posts, partition)
    if (!signal.aborted) signal.addEventListener('abort', places.take(request.caller!.app), { once: true })
    const wanted: Wanted = {
      key,
      partition,
      from: placeOf(from, partition, next),
      first,
      to: next,
      after: Number(after),
      max,
      readMs: postsReadMs,
    }
    return await reply.send(Readable.from(piecesFor(logReader, wanted, signal)))
  })
}

/** @throws GatewayError `bad-request` for a place of another room, or of another stream */
function placeOf (from: string, partition: number, next: bigint): bigint {
  if (from === '') return 0n
  const place = parsePosition(from)
  if (place.partition === partition && place.offset <= next) return place.offset
  throw new GatewayError('bad-request', 'querystring/from: want what `next` said for this room')
}

interface Wanted {
  readonly key: string
  readonly partition: number
  readonly from: bigint
  /** What the stream had, as they were asked for. */
  readonly first: bigint
  readonly to: bigint
  readonly after: number
  readonly max: number
  readonly readMs: number
}

/** The signal ends it also where the log finds nothing of the room for long, so that nobody is read for who is gone. */
async function * piecesFor (log: LogReader, wanted: Wanted, signal: AbortSignal): AsyncGenerator<string> {
  const { key, partition, from, first, to, after, max, readMs } = wanted
  yield '' // sends the headers
  if (from < first) yield holeLine(partition, { from, to: first })
  const holes: string[] = []
  const passed = (hole: Parameters<typeof holeLine>[1]) => { holes.push(holeLine(partition, hole)) }
  const time = new ReadTime(readMs)
  let last = after
  let left = max
  let place = from < first ? first : from
  while (place < to && !signal.aborted) {
    const end = place + sliceBlocks < to ? place + sliceBlocks : to
    let isWhole = true
    time.start()
    for await (const { offset, items } of log.read(posts, partition, { from: place, to: end, key, passed, signal })) {
      time.stop()
      yield * holes.splice(0)
      const lines: string[] = []
      for (const post of items) {
        // A takeover may repeat records.
        if (posts.key(post) !== key || post.roomSeq <= last || left <= 0) continue
        last = post.roomSeq
        left--
        lines.push(lineOf(post))
      }
      yield * piecesOf(lines)
      if (left <= 0 || signal.aborted) return
      place = offset + 1n
      isWhole = !time.isOver
      if (!isWhole) break
      time.start()
    }
    time.stop()
    yield * holes.splice(0)
    if (isWhole) place = end
    if (time.isOver && place < to) {
      yield ndjsonLine({ next: `${partition}@${place}` })
      return
    }
  }
}

/** How long was read so far, without what the reader took meanwhile. */
class ReadTime {
  #ms = 0
  #startMs = 0

  constructor (readonly maxMs: number) {}

  get isOver (): boolean { return this.#ms >= this.maxMs }
  start (): void { this.#startMs = performance.now() }

  stop (): void {
    this.#ms += performance.now() - this.#startMs
    this.#startMs = performance.now()
  }
}

/** One after the other, as they are written. */
function * linesOf (posts: readonly RoomPost[]): Generator<string> {
  for (const post of posts) yield lineOf(post)
}

function lineOf ({ roomSeq, messageId, from, service, payload, postedAtMs }: Omit<Posted, 'roomId'>): string {
  return ndjsonLine({ roomSeq, messageId, from: from || null, service, payload: payloadToJson(payload), postedAtMs })
}
