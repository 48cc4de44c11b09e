import { Readable } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import type { Block, EventLog } from '../../ledger/log.js'
import { GatewayError } from '../../schemas/errors.js'
import { payloadToJson } from '../../schemas/payload.js'
import type { UplinkAccepted } from '../../schemas/records.js'
import type { Stream } from '../../schemas/streams.js'
import { errorAnswers } from './errors.js'
import { merge } from './merge.js'
import { admitReaders } from './readers.js'
import { textSchema } from './shapes.js'
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
}

/** More requests at the same time are refused with `overloaded`. */
const readersMax = 64

const summary = 'Accepted uplinks, one JSON object a line'
const description = 'In order for each user. `cursor` names the place behind its line: give it as `after` to go on ' +
  'there. With `follow` the answer has no end. A header `ledgerline-gap: true` says that lines after the cursor are ' +
  'gone, for they were older than the log keeps.'

const querySchema = {
  type: 'object',
  properties: {
    after: { type: 'string', maxLength: 8192, description: 'cursor of the last line taken; absent: from the beginning' },
    service: { ...textSchema(128), description: 'only uplinks for this service; absent: for all' },
    follow: { type: 'string', enum: ['true', 'false'], default: 'false' },
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
        200: { description: summary, content: { 'application/x-ndjson': { schema: { type: 'string' } } } },
        ...errorAnswers('bad-request', 'unauthorized', 'overloaded'),
      },
    },
  }, async (request, reply) => {
    const signal = begin(reply)
    const { after, service, follow } = request.query
    const cursor = cursorAfter(source, after)
    if (after !== undefined && await hasGap(source, cursor)) reply.header('ledgerline-gap', 'true')
    const isFollower = follow === 'true'
    // A follower whose machine vanished sends no FIN, and nothing else would tell.
    if (isFollower) request.raw.socket.setKeepAlive(true, 30_000)
    const lines = uplinkLines(source, cursor, { service, isFollower, signal })
    return await reply.type('application/x-ndjson').send(Readable.from(lines))
  })
}

/** @throws GatewayError `bad-request` for what is no cursor of ours */
function cursorAfter ({ log, stream }: UplinksOptions, after: string | undefined): UplinkCursor {
  if (after === undefined || after === '') return UplinkCursor.start(log.partitions(stream))
  try {
    return UplinkCursor.parse(after, log.partitions(stream))
  } catch (cause) {
    throw new GatewayError('bad-request', 'querystring/after must be a cursor that this gateway gave out', { cause })
  }
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
  { service, isFollower, signal }: { service: string | undefined, isFollower: boolean, signal: AbortSignal }
): AsyncGenerator<string> {
  yield '' // sends the headers: a follower learns that it is connected before the first uplink
  const blocks = Array.from({ length: log.partitions(stream) }, (_, partition) => {
    const from = cursor.place(partition).offset
    return log.read(stream, partition, isFollower ? { from, signal } : { from })
  })
  for await (const block of merge(blocks)) {
    if (signal.aborted) return
    const lines = linesOf(block, cursor, service)
    if (lines !== '') yield lines
  }
}

/** Moves `cursor` over the block, also where no line comes of it. */
function linesOf (block: Block<UplinkAccepted>, cursor: UplinkCursor, service: string | undefined): string {
  const { partition, offset, items } = block
  const place = cursor.place(partition)
  let lines = ''
  for (let index = offset === place.offset ? place.index : 0; index < items.length; index++) {
    const isLast = index === items.length - 1
    cursor.move(partition, isLast ? offset + 1n : offset, isLast ? 0 : index + 1)
    const uplink = items[index]!
    if (service === undefined || uplink.service === service) lines += lineOf(uplink, cursor)
  }
  return lines
}

function lineOf (uplink: UplinkAccepted, cursor: UplinkCursor): string {
  const { userId, userSeq, deviceId, platform, sessionId, seq, service, priority, receivedAtMs, connectionId } = uplink
  const payload = payloadToJson(uplink.payload)
  const line = { cursor: `${cursor}`, userId, userSeq, deviceId, platform, sessionId, seq, service, payload }
  return `${JSON.stringify({ ...line, priority, receivedAtMs, connectionId })}\n`
}
