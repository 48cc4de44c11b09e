import type { ServerResponse } from 'node:http'
import type { FastifyInstance } from 'fastify'
import { FrameBuffer } from '../../ledger/frames.js'
import type { FramesRange, Hole, LogReader, StoredBlocks } from '../../ledger/log.js'
import { GatewayError } from '../../schemas/errors.js'
import type { Stream } from '../../schemas/streams.js'
import { turnstile } from '../turnstile.js'
import { errorAnswers } from './errors.js'
import { admitReaders } from './readers.js'
import { idSchema, textSchema } from './shapes.js'

export interface LogOptions {
  readonly logReader: LogReader & Partial<StoredBlocks>
  /** All that can be asked for. */
  readonly streams: ReadonlyArray<Stream<any>>
}

interface BlocksQuery {
  readonly from: string
  readonly to?: string
  readonly key?: string
}

/** More requests for blocks at the same time are refused with `overloaded`. */
const readersMax = 8
/** A reader that takes nothing for so long is given up. */
const stalledMs = 120_000
const pieceBytes = 1 << 17

const offsetSchema = { type: 'string', pattern: '^\\d{1,19}$', examples: ['1021'] }
const streamSchema = { ...textSchema(128, 1), examples: ['ledger'] }

const summary = 'Blocks of one partition, as they are stored'
const description = 'Each block is `length:uint32 offset:uint64 body`, big-endian; `length` counts the body, which is ' +
  'Avro single-object encoding of an array of the stream\'s records. A block without a body is none: it says that what ' +
  'was to be read before its offset is deleted by retention. The header `ledgerline-to` tells where the answer ' +
  'ends. An answer that is cut goes on with the offset behind its last whole block.'

const partitionsSchema = {
  type: 'object',
  required: ['stream', 'partitions'],
  properties: {
    stream: { type: 'string' },
    partitions: {
      type: 'array',
      description: 'by number',
      items: {
        type: 'object',
        required: ['first', 'next'],
        properties: {
          first: { ...offsetSchema, description: 'the first block that is still kept' },
          next: { ...offsetSchema, description: 'what the next block gets' },
          offset: { ...offsetSchema, description: 'of the first block at or after `atMs`' },
        },
      },
    },
  },
}

/** `GET /v1/log/...`: the streams, for who looks for evidence in another process (ledger/remote.ts). */
export async function logRoutes (app: FastifyInstance, { logReader, streams }: LogOptions): Promise<void> {
  const begin = admitReaders(app, readersMax)
  const turn = turnstile()

  function streamOf (name: string): Stream<any> {
    const stream = streams.find(stream => stream.name === name)
    if (stream) return stream
    throw new GatewayError('not-found', `no stream ${JSON.stringify(name)}; want ${streams.map(({ name }) => name).join(', ')}`)
  }

  app.get('/v1/log', {
    schema: {
      summary: 'The streams',
      tags: ['log'],
      response: {
        200: {
          type: 'object',
          required: ['streams'],
          properties: {
            streams: {
              type: 'array',
              items: {
                type: 'object',
                required: ['stream', 'partitions'],
                properties: { stream: { type: 'string' }, partitions: { type: 'integer' } },
              },
            },
          },
        },
        ...errorAnswers('unauthorized'),
      },
    },
  }, async () => ({
    streams: streams.map(stream => ({ stream: stream.name, partitions: logReader.partitions(stream) })),
  }))

  app.get<{ Params: { stream: string }, Querystring: { atMs?: string } }>('/v1/log/:stream', {
    schema: {
      summary: 'What is kept of a stream',
      tags: ['log'],
      params: { type: 'object', required: ['stream'], properties: { stream: streamSchema } },
      querystring: {
        type: 'object',
        additionalProperties: false,
        properties: { atMs: { type: 'string', pattern: '^\\d{1,15}$', description: 'ms since 1970' } },
      },
      response: {
        200: partitionsSchema,
        ...errorAnswers('bad-request', 'unauthorized', 'not-found', 'ledger-unavailable'),
      },
    },
  }, async ({ params, query: { atMs } }) => {
    const stream = streamOf(params.stream)
    const partitions = Array.from({ length: logReader.partitions(stream) }, async (_, partition) => {
      const { first, next } = await logReader.bounds(stream, partition)
      const offset = atMs === undefined ? undefined : await logReader.offsetAt(stream, partition, Number(atMs))
      return { first: `${first}`, next: `${next}`, ...offset === undefined ? {} : { offset: `${offset}` } }
    })
    return { stream: stream.name, partitions: await Promise.all(partitions) }
  })

  app.get<{ Params: { stream: string, partition: string }, Querystring: BlocksQuery }>('/v1/log/:stream/:partition', {
    exposeHeadRoute: false,
    schema: {
      summary,
      description,
      tags: ['log'],
      params: {
        type: 'object',
        required: ['stream', 'partition'],
        properties: { stream: streamSchema, partition: { type: 'string', pattern: '^\\d{1,4}$' } },
      },
      querystring: {
        type: 'object',
        additionalProperties: false,
        properties: {
          from: { ...offsetSchema, default: '0' },
          to: { ...offsetSchema, description: 'the first that is not wanted; absent: the end as it is now' },
          key: {
            ...idSchema,
            description: 'only blocks with records of this user or node, as far as that is cheaply known',
          },
        },
      },
      response: {
        200: {
          description: summary,
          content: { 'application/octet-stream': { schema: { type: 'string', format: 'binary' } } },
        },
        ...errorAnswers('bad-request', 'unauthorized', 'not-found', 'overloaded', 'ledger-unavailable'),
      },
    },
  }, async (request, reply) => {
    const stream = streamOf(request.params.stream)
    const partition = Number(request.params.partition)
    if (partition >= logReader.partitions(stream)) {
      throw new GatewayError('not-found',
        `stream ${stream.name} has no partition ${partition}; want 0 to ${logReader.partitions(stream) - 1}`)
    }
    const signal = begin(reply)
    const { next } = await logReader.bounds(stream, partition)
    const { from, to, key } = request.query
    const end = to === undefined || BigInt(to) > next ? next : BigInt(to)
    reply.raw.setTimeout(stalledMs, () => { reply.raw.destroy() })
    const range = { from: BigInt(from), to: end, key }
    const chunks = logReader.readFrames?.(stream, partition, range) ?? encoded(logReader, stream, partition, range)
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'application/octet-stream', 'ledgerline-to': `${end}` })
    reply.raw.flushHeaders() // it may take long to the first block
    await send(reply.raw, chunks, turn, signal).catch(err => {
      request.log.error({ err }, 'a read of the log broke off')
      reply.raw.destroy()
    })
  })
}

/** For a log whose blocks are not stored as the stream's own codec has them. */
async function * encoded (
  log: LogReader, stream: Stream<any>, partition: number, range: FramesRange
): AsyncGenerator<Buffer> {
  const frames = new FrameBuffer()
  let gone: bigint | undefined
  const passed = ({ to }: Hole) => { gone = to }
  try {
    for await (const { offset, items } of log.read(stream, partition, { ...range, passed })) {
      if (gone !== undefined && !frames.addHole(gone)) {
        yield frames.take()
        frames.addHole(gone)
      }
      gone = undefined
      const body = stream.encodeBlock(items)
      if (frames.add(offset, body)) continue
      yield frames.take()
      frames.add(offset, stream.encodeBlock(items)) // others may have encoded since
    }
    if (!frames.isEmpty) yield frames.take()
    if (gone !== undefined) {
      frames.addHole(gone)
      yield frames.take()
    }
  } finally {
    frames.release()
  }
}

/**
 * Piece by piece, each once the one before it is with the kernel and its turn has come.
 *
 * @param turn of all readers
 */
async function send (
  response: ServerResponse, chunks: AsyncIterable<Buffer>, turn: () => Promise<void>, signal: AbortSignal
): Promise<void> {
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length; at += pieceBytes) {
      const piece = chunk.subarray(at, at + pieceBytes)
      await new Promise(resolve => { response.write(piece, resolve) })
      if (signal.aborted) return
      await turn()
    }
  }
  response.end()
}
