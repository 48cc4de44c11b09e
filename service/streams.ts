import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { type GatewayApi, ServiceError } from './http.js'
import { recordOf, type StreamHole, type StreamName, type StreamRecords } from './records.js'

/** Which records of a stream are wanted; all where nothing is said. */
export interface StreamFilter {
  readonly users?: readonly string[]
  readonly room?: string
  readonly service?: string
}

export interface ReadOptions extends StreamFilter {
  /** `cursor` of the last record that was done, or `now`; absent: from the first that is kept. */
  readonly after?: string
  /** Goes on with new records; true by default. */
  readonly follow?: boolean
  /** Ends it without an error. */
  readonly signal?: AbortSignal
  /** Told where retention was faster. */
  readonly onHole?: (hole: StreamHole) => void
}

export type CursorRecord<Name extends StreamName> = StreamRecords[Name] & { readonly cursor: string }

type Line = Record<string, unknown> & { readonly cursor: string }

/**
 * Records of a stream, in order for each user, room or node. A connection that breaks is made again, behind the last
 * record that was taken.
 *
 * @throws ServiceError where the gateway refuses
 */
export async function * readStream<Name extends StreamName> (
  api: GatewayApi, stream: Name, { follow = true, after, signal, onHole, ...filter }: ReadOptions = {}
): AsyncGenerator<CursorRecord<Name>> {
  const query = queryOf({ ...filter, follow: `${follow}` })
  let cursor = after
  for await (const line of linesOf(api, stream, signal, () => {
    if (cursor !== undefined) query.set('after', cursor)
    return query
  }, follow)) {
    cursor = line.cursor
    if (Object.keys(line).length === 1) continue // where it began
    if ('hole' in line) onHole?.(line['hole'] as StreamHole)
    else yield recordOf(line) as unknown as CursorRecord<Name>
  }
}

export function queryOf ({ users = [], ...others }: StreamFilter & Record<string, unknown>): URLSearchParams {
  const query = new URLSearchParams(users.map(userId => ['users', userId]))
  for (const [name, value] of Object.entries(others)) if (value !== undefined) query.set(name, String(value))
  return query
}

/**
 * Lines of an answer, and of the next one where it breaks off.
 *
 * @param queryNow what to ask with at each attempt
 * @param isEndless an answer that ends is asked for again
 */
export async function * linesOf (
  api: GatewayApi, stream: string, signal: AbortSignal | undefined, queryNow: () => URLSearchParams, isEndless: boolean
): AsyncGenerator<Line> {
  const backoff = api.newBackoff()
  while (!signal?.aborted) {
    let waitMs: number
    try {
      const response = await api.open('GET', `/v1/streams/${stream}?${queryNow()}`, { signal })
      response.on('error', () => {}) // `complete` tells
      const lines = createInterface({ input: response })
      lines.on('error', () => {})
      try {
        for await (const text of lines) {
          if (text === '') continue
          yield JSON.parse(text) as Line
          backoff.reset()
        }
      } finally {
        response.destroy()
      }
      if (signal?.aborted || (response.complete && !isEndless)) return
      waitMs = api.waitMs(new ServiceError('unreachable', 'the answer broke off', 0), backoff)
    } catch (err) {
      if (signal?.aborted) return
      waitMs = api.waitMs(err, backoff)
    }
    await sleep(waitMs, undefined, signal && { signal }).catch(() => {})
  }
}
