import type { IncomingMessage } from 'node:http'
import { json as readJson } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { GatewayError } from '../schemas/errors.js'
import type { Stream } from '../schemas/streams.js'
import { blocksOf } from './frames.js'
import type { Block, LogReader, ReadRange } from './log.js'
import type { RejectedAt } from './rejected.js'

export interface RemoteLogOptions {
  /**
   * GET of a path of the gateway; the body of its answer is still to be read.
   *
   * @throws where nobody answers, or what was asked is refused
   */
  get (path: string, signal: AbortSignal): Promise<IncomingMessage>
  /** A block is skipped: it can not be decoded. Must not throw. */
  readonly onDamage?: (damage: RejectedAt) => void
}

export interface RemoteLog extends LogReader {
  close (): Promise<void>
}

interface StreamAnswer {
  readonly partitions: ReadonlyArray<{ readonly first: string, readonly next: string, readonly offset?: string }>
}

/** Times that one read goes on after its connection was cut, without a single block in between. */
const attemptsMax = 5
const pauseMs = 200
/** Between two questions for what has arrived. */
const pollMs = 500

/**
 * The streams of a running gateway, over its HTTP side. Reads go on where they were when their connection is cut.
 *
 * @throws what `get` throws
 */
export async function openRemoteLog ({ get, onDamage }: RemoteLogOptions): Promise<RemoteLog> {
  const closing = new AbortController()
  const { streams } = await readJson(await get('/v1/log', closing.signal)) as {
    streams: ReadonlyArray<{ stream: string, partitions: number }>
  }
  const partitions = new Map(streams.map(({ stream, partitions }) => [stream, partitions]))

  async function ask ({ name }: Stream<any>, partition: number, query = ''): Promise<StreamAnswer['partitions'][number]> {
    const answer = await readJson(await get(`/v1/log/${name}${query}`, closing.signal)) as StreamAnswer
    const found = answer.partitions[partition]
    if (found) return found
    throw new RangeError(`stream ${name}: got partition ${partition}, want 0 to ${answer.partitions.length - 1}`)
  }

  async function * read<T> (stream: Stream<T>, partition: number, range: ReadRange): AsyncGenerator<Block<T>> {
    const { from, signal } = range
    const ending = signal ? AbortSignal.any([signal, closing.signal]) : closing.signal
    let at = from
    let to = range.to
    let failures = 0
    for (let started = false; !ending.aborted && (to === undefined || at < to);) {
      try {
        const response = await get(blocksPath(stream, partition, at, to, range.key), ending)
        started = true
        if (!signal) to ??= BigInt(response.headers['ledgerline-to'] as string)
        for await (const { offset, body } of blocksOf(response)) {
          failures = 0
          if (body.length === 0) {
            if (offset > at) range.passed?.({ from: at, to: offset })
            at = offset
            continue
          }
          at = offset + 1n
          const items = decoded(stream, partition, offset, body)
          if (items !== undefined) yield { partition, offset, items }
        }
        if (!signal) return
        await sleep(pollMs, undefined, { signal })
      } catch (cause) {
        if (ending.aborted) return
        if (!started) throw cause
        if (++failures > attemptsMax) {
          throw new GatewayError('ledger-unavailable', `the gateway broke off ${failures} times at ` +
            `${partition}@${at} of ${stream.name}: ${(cause as Error).message}`, { cause })
        }
        await sleep(pauseMs * failures, undefined, { signal: ending }).catch(() => {})
      }
    }
  }

  function decoded<T> (stream: Stream<T>, partition: number, offset: bigint, body: Uint8Array): T[] | undefined {
    try {
      return stream.decodeBlock(body)
    } catch (err) {
      onDamage?.({ stream: stream.name, partition, offset, reason: (err as Error).message })
      return undefined
    }
  }

  return {
    partitions ({ name }) {
      const known = partitions.get(name)
      if (known === undefined) throw new RangeError(`stream ${name}: the gateway does not have it`)
      return known
    },
    read,
    async bounds (stream, partition) {
      const { first, next } = await ask(stream, partition)
      return { first: BigInt(first), next: BigInt(next) }
    },
    async offsetAt (stream, partition, atMs) {
      return BigInt((await ask(stream, partition, `?atMs=${Math.max(0, Math.ceil(atMs))}`)).offset!)
    },
    async close () { closing.abort() },
  }
}

function blocksPath (
  { name }: Stream<any>, partition: number, from: bigint, to: bigint | undefined, key: string | undefined
): string {
  const query = new URLSearchParams({ from: `${from}` })
  if (to !== undefined) query.set('to', `${to}`)
  if (key !== undefined) query.set('key', key)
  return `/v1/log/${name}/${partition}?${query}`
}
