import { Readable } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import type { Block, EventLog, Hole, ReadRange } from '../../ledger/log.js'
import { GatewayError } from '../../schemas/errors.js'
import { payloadToJson } from '../../schemas/payload.js'
import { appOf, shownUser } from '../../schemas/apps.js'
import type { UplinkAccepted } from '../../schemas/records.js'
import type { Stream } from '../../schemas/streams.js'
import { errorAnswers } from './errors.js'
import { merge } from './merge.js'
import { admitReaders, holeDescription, holeLine, ndjsonLine, ndjsonType, piecesOf } from './readers.js'
import { serviceSchema } from './shapes.js'
import { UplinkCursor } from './uplink-cursor.js'

export interface UplinksOptions {
  readonly log: Pick<EventLog, 'partitions' | 'read' | 'bounds'>
  /** `uplinks` of schemas/streams. */
  readonly stream: Stream<UplinkAccepted>
}

interface UplinksQuery {
  readonly after?: string
  readonly service?: string
  readonly follow: 'true' | 'false'
  readonly limit?: string
}

/** More requests at the same time are refused with `overloaded`. */
const readersMax = 64
/** What one partition has of a turn, as much as one fetch of Kafka: payloads, and of each uplink so much besides. */
const turnBytes = 4 << 20
const itemBytes = 256

const summary = 'Accepted uplinks, one JSON object a line'
const description = 'In order for each user. `cursor` names the place behind its line: give it as `after` to go on ' +
  'there, or `now` for those that are accepted from now on. With `follow` the answer has no end but `limit`, and an ' +
  `empty line wherever it was silent for 15 s. ${holeDescription} It has a cursor, too. A header ` +
  '`ledgerline-gap: true` says so of what stood directly behind the cursor.'

const querySchema = {
  type: 'object',
  properties: {
    after: { type: 'string', maxLength: 8192, pattern: '^[\\w-]*$', description: 'cursor of the last line taken, or `now`; absent: from the beginning' },
    service: { ...serviceSchema, description: 'only uplinks for this service; absent: for all' },
    follow: { type: 'string', enum: ['true', 'false'], default: 'false' },
    limit: { type: 'string', pattern: '^[1-9]\\d{0,8}$', description: 'lines after which the answer ends', examples: ['100'] },
  },
}

/** `GET /v1/uplinks`: what business services consume. */
export async function uplinksRoutes (app: FastifyInstance, source: UplinksOptions): Promise<void> {
  const begin = admitReaders(app, readersMax)

  app.get<{ Querystring: UplinksQuery }>('/v1/uplinks', {
    exposeHeadRoute: false,
    schema: {
      summary,
      description,
      tags: ['messages'],
      querystring: querySchema,
      response: {
        200: { description: summary, content: { [ndjsonType]: { schema: { type: 'string' } } } },
        ...errorAnswers('bad-request', 'unauthorized', 'overloaded'),
      },
    },
  }, async (request, reply) => {
    const signal = begin(reply)
    const { after, service, follow, limit } = request.query
    const cursor = await cursorAfter(source, after)
    if (after !== undefined && after !== 'now' && await hasGap(source, cursor)) reply.header('ledgerline-gap', 'true')
    const isFollower = follow === 'true'
    // A follower whose machine vanished sends no FIN, and nothing else would tell.
    if (isFollower) request.raw.socket.setKeepAlive(true, 30_000)
    const linesMax = limit === undefined ? Infinity : Number(limit)
    const lines = uplinkLines(source, cursor, { app: request.app, service, isFollower, linesMax, signal })
    return await reply.type(ndjsonType).send(Readable.from(lines))
  })
}

/** @throws GatewayError `bad-request` for what is no cursor of ours */
async function cursorAfter (source: UplinksOptions, after: string | undefined): Promise<UplinkCursor> {
  if (after === undefined || after === '') return await cursorAt(source, 'first')
  if (after === 'now') return await cursorAt(source, 'next')
  try {
    return UplinkCursor.parse(after, source.log.partitions(source.stream))
  } catch (cause) {
    throw new GatewayError('bad-request', `querystring/after: got ${JSON.stringify(after.slice(0, 100))}, want now, or a cursor that this gateway gave out`, { cause })
  }
}

/** Before all that there is, or behind it. */
async function cursorAt ({ log, stream }: UplinksOptions, end: 'first' | 'next'): Promise<UplinkCursor> {
  const cursor = UplinkCursor.start(log.partitions(stream))
  for (const [partition, bounds] of (await boundsOf(log, stream)).entries()) cursor.move(partition, bounds[end], 0)
  return cursor
}

/**
 * Whether something between the cursor and the first line still kept is gone.
 *
 * @throws GatewayError `bad-request` when the cursor is ahead of the stream, hence of another one
 */
async function hasGap ({ log, stream }: UplinksOptions, cursor: UplinkCursor): Promise<boolean> {
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

/** Of all partitions, asked for together: one after the other they could take a multiple of what one may. */
async function boundsOf (log: UplinksOptions['log'], stream: Stream<UplinkAccepted>) {
  const partitions = Array.from({ length: log.partitions(stream) }, (_, partition) => partition)
  return await Promise.all(partitions.map(partition => log.bounds(stream, partition)))
}

/** What a reader is told of one partition, in order: a block of it, or that some are gone. */
type Told = Block<UplinkAccepted> | { readonly partition: number, readonly hole: Hole }

/** Which uplinks are told: of one app, and with `service` for that alone. */
interface Wanted { readonly app: string, readonly service: string | undefined }

/** Lines in pieces, so that a fast reader costs few writes, and a slow one holds no more than one of them. */
async function * uplinkLines (
  source: UplinksOptions,
  cursor: UplinkCursor,
  { app, service, isFollower, linesMax, signal }: Wanted & {
    isFollower: boolean, linesMax: number, signal: AbortSignal
  }
): AsyncGenerator<string> {
  yield '' // sends the headers: a follower learns that it is connected before the first uplink
  let left = linesMax
  for await (const told of toldOf(source, cursor, isFollower ? signal : undefined)) {
    if (signal.aborted) return
    if ('hole' in told) {
      cursor.move(told.partition, told.hole.to, 0)
      yield holeLine(told.partition, told.hole, { cursor: `${cursor}` })
      continue
    }
    const lines = linesOf(told, cursor, { app, service }, left)
    for (const piece of piecesOf(lines.text)) {
      yield piece
      if (signal.aborted) return
    }
    left -= lines.count
    if (left <= 0) return
  }
}

/** What there is, then with `following` what arrives, of each partition as it comes. */
async function * toldOf (
  source: UplinksOptions, cursor: UplinkCursor, following: AbortSignal | undefined
): AsyncGenerator<Told> {
  const { log, stream } = source
  const ends = (await boundsOf(log, stream)).map(({ next }) => next)
  yield * storedTold(source, cursor, ends)
  if (following === undefined) return
  yield * merge(ends.map((from, partition) => withHoles(log, stream, partition, { from, signal: following })))
}

/**
 * One partition after the other, in turns: a read that waits for its next turn would hold its last block, and blocks of
 * an older version may be a hundred times as large as those of this one. So a reader holds one at a time.
 */
async function * storedTold (
  { log, stream }: UplinksOptions, cursor: UplinkCursor, ends: readonly bigint[]
): AsyncGenerator<Told> {
  for (let left = [...ends.keys()]; left.length > 0;) {
    const more: number[] = []
    for (const partition of left) {
      let bytes = 0
      const range = { from: cursor.place(partition).offset, to: ends[partition]! }
      for await (const told of withHoles(log, stream, partition, range)) {
        yield told
        if ('items' in told) bytes += bytesOf(told.items)
        if (bytes < turnBytes) continue
        more.push(partition)
        break
      }
    }
    left = more
  }
}

function bytesOf (items: readonly UplinkAccepted[]): number {
  let bytes = 0
  for (const { payload } of items) bytes += payload.length + itemBytes
  return bytes
}

async function * withHoles (
  log: UplinksOptions['log'], stream: Stream<UplinkAccepted>, partition: number, range: ReadRange
): AsyncGenerator<Told> {
  const holes: Hole[] = []
  for await (const block of log.read(stream, partition, { ...range, passed: hole => { holes.push(hole) } })) {
    for (const hole of holes.splice(0)) yield { partition, hole }
    yield block
  }
  for (const hole of holes) yield { partition, hole }
}

/**
 * Lines that are made as they are taken. They move `cursor` over the block, also where no line comes of it, but not
 * past the last line of `max`; `count` says how many it were.
 */
function linesOf (
  { partition, offset, items }: Block<UplinkAccepted>, cursor: UplinkCursor, { app, service }: Wanted, max: number
): { readonly text: Iterable<string>, readonly count: number } {
  const place = cursor.place(partition)
  const lines = { text: text(), count: 0 }
  function * text (): Generator<string> {
    const start = offset === place.offset ? place.index : 0
    for (let index = start; index < items.length && lines.count < max; index++) {
      const isLast = index === items.length - 1
      cursor.move(partition, isLast ? offset + 1n : offset, isLast ? 0 : index + 1)
      const uplink = items[index]!
      if (appOf(uplink.userId) !== app || (service !== undefined && uplink.service !== service)) continue
      lines.count++
      yield lineOf(uplink, cursor)
    }
  }
  return lines
}

function lineOf (uplink: UplinkAccepted, cursor: UplinkCursor): string {
  const { userId, userSeq, deviceId, platform, sessionId, seq, service, priority, receivedAtMs } = uplink
  const payload = payloadToJson(uplink.payload)
  const who = { ...shownUser(userId), userSeq, deviceId, platform, sessionId }
  const where = { connectionId: uplink.connectionId, roomId: uplink.roomId }
  return ndjsonLine({ cursor: `${cursor}`, ...who, seq, service, payload, priority, receivedAtMs, ...where })
}
