import { Readable } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import type { Block, EventLog } from '../../ledger/log.js'
import { GatewayError } from '../../schemas/errors.js'
import { payloadToJson } from '../../schemas/payload.js'
import type { UplinkAccepted } from '../../schemas/records.js'
import type { Stream } from '../../schemas/streams.js'
import { errorAnswers } from './errors.js'
import { merge } from './merge.js'
import { admitReaders, ndjsonLine, ndjsonType } from './readers.js'
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

const summary = 'Accepted uplinks, one JSON object a line'
const description = 'In order for each user. `cursor` names the place behind its line: give it as `after` to go on ' +
  'there, or `now` for those that are accepted from now on. With `follow` the answer has no end but `limit`, and an ' +
  'empty line wherever it was silent for 15 s. A header `ledgerline-gap: true` says that lines after the cursor are ' +
  'gone, for they were older than the log keeps.'

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
    const cursor = after === 'now' ? await cursorNow(source) : cursorAfter(source, after)
    if (after !== undefined && after !== 'now' && await hasGap(source, cursor)) reply.header('ledgerline-gap', 'true')
    const isFollower = follow === 'true'
    // A follower whose machine vanished sends no FIN, and nothing else would tell.
    if (isFollower) request.raw.socket.setKeepAlive(true, 30_000)
    const linesMax = limit === undefined ? Infinity : Number(limit)
    const lines = uplinkLines(source, cursor, { service, isFollower, linesMax, signal })
    return await reply.type(ndjsonType).send(Readable.from(lines))
  })
}

/** @throws GatewayError `bad-request` for what is no cursor of ours */
function cursorAfter ({ log, stream }: UplinksOptions, after: string | undefined): UplinkCursor {
  if (after === undefined || after === '') return UplinkCursor.start(log.partitions(stream))
  try {
    return UplinkCursor.parse(after, log.partitions(stream))
  } catch (cause) {
    throw new GatewayError('bad-request', `querystring/after: got ${JSON.stringify(after.slice(0, 100))}, want now, or a cursor that this gateway gave out`, { cause })
  }
}

/** Behind all that there is. */
async function cursorNow ({ log, stream }: UplinksOptions): Promise<UplinkCursor> {
  const cursor = UplinkCursor.start(log.partitions(stream))
  for (let partition = 0; partition < log.partitions(stream); partition++) {
    cursor.move(partition, (await log.bounds(stream, partition)).next, 0)
  }
  return cursor
}

/**
 * Whether something between the cursor and the first line still kept is gone.
 *
 * @throws GatewayError `bad-request` when the cursor is ahead of the stream, hence of another one
 */
async function hasGap ({ log, stream }: UplinksOptions, cursor: UplinkCursor): Promise<boolean> {
  let gap = false
  for (let partition = 0; partition < log.partitions(stream); partition++) {
    const { first, next } = await log.bounds(stream, partition)
    const { offset, index } = cursor.place(partition)
    if (offset > next || (offset === next && index > 0)) {
      throw new GatewayError('bad-request', 'querystring/after is ahead of the stream: it comes from another one')
    }
    gap ||= offset < first
  }
  return gap
}

/** The lines of each block as one chunk, so that a fast reader costs a write a block. */
async function * uplinkLines (
  { log, stream }: UplinksOptions,
  cursor: UplinkCursor,
  { service, isFollower, linesMax, signal }: {
    service: string | undefined, isFollower: boolean, linesMax: number, signal: AbortSignal
  }
): AsyncGenerator<string> {
  yield '' // sends the headers: a follower learns that it is connected before the first uplink
  const blocks = Array.from({ length: log.partitions(stream) }, (_, partition) => {
    const from = cursor.place(partition).offset
    return log.read(stream, partition, isFollower ? { from, signal } : { from })
  })
  let left = linesMax
  for await (const block of merge(blocks)) {
    if (signal.aborted) return
    const lines = linesOf(block, cursor, service, left)
    if (lines.length > 0) yield lines.join('')
    left -= lines.length
    if (left <= 0) return
  }
}

/** Moves `cursor` over the block, also where no line comes of it, but not past the last line of `max`. */
function linesOf (
  block: Block<UplinkAccepted>, cursor: UplinkCursor, service: string | undefined, max: number
): string[] {
  const { partition, offset, items } = block
  const place = cursor.place(partition)
  const lines: string[] = []
  for (let index = offset === place.offset ? place.index : 0; index < items.length && lines.length < max; index++) {
    const isLast = index === items.length - 1
    cursor.move(partition, isLast ? offset + 1n : offset, isLast ? 0 : index + 1)
    const uplink = items[index]!
    if (service === undefined || uplink.service === service) lines.push(lineOf(uplink, cursor))
  }
  return lines
}

function lineOf (uplink: UplinkAccepted, cursor: UplinkCursor): string {
  const { userId, userSeq, deviceId, platform, sessionId, seq, service, priority, receivedAtMs, connectionId } = uplink
  const payload = payloadToJson(uplink.payload)
  const line = { cursor: `${cursor}`, userId, userSeq, deviceId, platform, sessionId, seq, service, payload }
  return ndjsonLine({ ...line, priority, receivedAtMs, connectionId })
}
