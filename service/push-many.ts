import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { type GatewayApi, ServiceError, told } from './http.js'
import type { Pushed } from './service.js'

type UserIds = Iterable<string> | AsyncIterable<string>

/** What became of a user, or how far it is. The last one has totals, and why it broke off, if it did. */
interface Line extends Partial<Pushed> {
  readonly totals?: object
  readonly error?: { readonly code: string, readonly message: string }
}

/** @throws ServiceError where the gateway refuses, or breaks off; what `userIds` throws */
export async function * pushMany (api: GatewayApi, message: object, userIds: UserIds): AsyncGenerator<Pushed> {
  let failure: { readonly cause: unknown } | undefined
  const watched = itemsOf(userIds, cause => { failure = { cause } })
  const body = Readable.from(linesFor(message, watched))
  let isWhole = false
  try {
    for await (const line of answered(api, body)) {
      if (line.error) throw told(line.error.code, line.error.message)
      isWhole ||= line.totals !== undefined
      if (line.userId !== undefined) yield line as Pushed
    }
  } catch (err) {
    throw failure ? failure.cause : err // without its source the request breaks off as well
  } finally {
    body.destroy()
  }
  if (failure) throw failure.cause
  if (!isWhole) throw brokenOff()
}

function brokenOff (options?: ErrorOptions): ServiceError {
  return new ServiceError('unreachable', 'the answer broke off', 0, 0, options)
}

async function * answered (api: GatewayApi, body: Readable): AsyncGenerator<Line> {
  const headers = { 'content-type': 'application/x-ndjson' }
  const response = await api.open('POST', '/v1/downlinks', { headers, body })
  response.on('error', () => {}) // its lines end, or throw
  const lines = createInterface({ input: response })
  lines.on('error', () => {})
  try {
    for await (const text of lines) {
      const line = parsed(text)
      if (line) yield line
    }
  } catch (cause) {
    throw brokenOff({ cause })
  } finally {
    response.destroy()
  }
}

/** Undefined for what is no line: empty, or cut where the answer broke off. */
function parsed (text: string): Line | undefined {
  try {
    return JSON.parse(text) as Line
  } catch {
    return undefined
  }
}

async function * linesFor (message: object, userIds: AsyncIterable<string>): AsyncGenerator<string> {
  yield `${JSON.stringify(message)}\n`
  for await (const userId of userIds) yield `${JSON.stringify({ userId })}\n`
}

/** @param failed told of what the items themselves throw, but of nothing that ends who takes them */
async function * itemsOf<T> (
  items: Iterable<T> | AsyncIterable<T>, failed: (cause: unknown) => void
): AsyncGenerator<T> {
  const iterator = Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]()
  let isOver = false
  try {
    for (;;) {
      const { done, value } = await nextOf(iterator, failed)
      isOver = done === true
      if (isOver) return
      yield value
    }
  } finally {
    if (!isOver) await iterator.return?.()
  }
}

async function nextOf<T> (
  iterator: Iterator<T> | AsyncIterator<T>, failed: (cause: unknown) => void
): Promise<IteratorResult<T>> {
  try {
    return await iterator.next()
  } catch (cause) {
    failed(cause)
    throw cause
  }
}
