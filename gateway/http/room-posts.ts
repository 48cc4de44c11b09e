import { Readable } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import type { RoomPost } from '../../actors/room-links.js'
import { clocksDifferMs } from '../../evidence/surroundings.js'
import { type LogReader, parsePosition } from '../../ledger/log.js'
import { GatewayError } from '../../schemas/errors.js'
import { payloadToJson } from '../../schemas/payload.js'
import { partitionOf } from '../../schemas/partitioning.js'
import type { Posted } from '../../schemas/records.js'
import { posts } from '../../schemas/streams.js'
import { keyOf } from './auth.js'
import { errorAnswers } from './errors.js'
import { oldPosts, type WantedPosts } from './old-posts.js'
import { Places } from './places.js'
import { admitReaders, holeDescription, ndjsonLine, ndjsonType, piecesOf } from './readers.js'
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
        'no reading; what is older is read from the stream posts, from about the time on at which it was posted, in a ' +
        'cluster past all of other rooms that stands in its partition from there on. ' +
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
    // Where its owner does not answer, the stream does; it is not asked a second time then.
    let isAway = false
    const kept = from !== ''
      ? undefined
      : await rooms.keptPosts(key, Number(after), max).catch(() => { isAway = true })
    if (kept) return await reply.send(Readable.from(piecesOf(linesOf(kept))))
    const partition = partitionOf(key, logReader.partitions(posts))
    const { first, next } = await logReader.bounds(posts, partition)
    if (!signal.aborted) signal.addEventListener('abort', places.take(request.caller!.app), { once: true })
    const about = isAway ? undefined : await rooms.timeOf(key, Number(after) + 1).catch(() => undefined)
    const sinceMs = from === '' && about ? about.postedAtMs : 0
    const wanted: WantedPosts = {
      key,
      partition,
      from: placeOf(from, partition, next),
      first,
      to: next,
      after: Number(after),
      upTo: about?.roomSeq ?? Infinity,
      near: sinceMs > 0 ? await logReader.offsetAt(posts, partition, sinceMs - clocksDifferMs) : 0n,
      max,
      readMs: postsReadMs,
      lineOf,
    }
    return await reply.send(Readable.from(oldPosts(logReader, wanted, signal)))
  })
}

/** @throws GatewayError `bad-request` for a place of another room, or of another stream */
function placeOf (from: string, partition: number, next: bigint): bigint {
  if (from === '') return 0n
  const place = parsePosition(from)
  if (place.partition === partition && place.offset <= next) return place.offset
  throw new GatewayError('bad-request', 'querystring/from: want what `next` said for this room')
}

/** One after the other, as they are written. */
function * linesOf (posts: readonly RoomPost[]): Generator<string> {
  for (const post of posts) yield lineOf(post)
}

function lineOf ({ roomSeq, messageId, from, service, payload, postedAtMs }: Omit<Posted, 'roomId'>): string {
  return ndjsonLine({ roomSeq, messageId, from: from || null, service, payload: payloadToJson(payload), postedAtMs })
}
