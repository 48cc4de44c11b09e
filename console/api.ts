import type { KeySource } from '../gateway/keys/api-keys.js'

/** What the gateway answered that was no success. */
export class ApiError extends Error {
  override readonly name = 'ApiError'

  constructor (readonly status: number, readonly code: string, message: string) { super(message) }

  /** Whoever asks again may be answered: nobody was there, or the gateway was busy or not ready. */
  get mayPass (): boolean { return this.status === 0 || this.status === 429 || this.status === 503 }
}

/** Called when the gateway says that nobody is signed in any more. */
let signedOut = () => {}

export function onSignedOut (listener: () => void): void { signedOut = listener }

/** By how much the gateway's time of day is ahead of the browser's, as far as its last answer told. */
let aheadMs = 0

/** Answers tell whole seconds, and come later than they were made: what is less may be none. */
const aheadMsMin = 2_000

/** The gateway's time of day, for ages of what it tells: the browser's may be any. */
export function gatewayNowMs (): number { return Date.now() + aheadMs }

function hearTime ({ headers }: Response): void {
  const toldMs = Date.parse(headers.get('date') ?? '')
  if (Number.isNaN(toldMs)) return
  const heardMs = toldMs - Date.now()
  aheadMs = Math.abs(heardMs) < aheadMsMin ? 0 : heardMs
}

/**
 * Asks the gateway that these pages come from. The cookie of the session stands for an API key.
 *
 * @throws ApiError with the code of docs/errors.md; `unreachable` where there was no answer
 */
export async function ask<T> (method: string, path: string, body?: unknown): Promise<T> {
  const init: RequestInit = { method }
  if (body !== undefined) {
    init.headers = { 'content-type': 'application/json' }
    init.body = JSON.stringify(body)
  }
  let response: Response
  try {
    response = await fetch(path, init)
  } catch {
    throw new ApiError(0, 'unreachable', 'the gateway does not answer')
  }
  hearTime(response)
  if (!response.ok) throw await errorOf(response, path)
  const isJson = response.headers.get('content-type')?.startsWith('application/json') ?? false
  return (isJson ? await response.json() : undefined) as T
}

/**
 * The first lines of an answer that has one JSON object a line, in their order. The rest is not read.
 *
 * @throws ApiError as `ask`
 */
export async function askLines<T> (address: string, linesMax: number, signal: AbortSignal): Promise<T[]> {
  const enough = new AbortController()
  const lines: T[] = []
  const take = (line: T) => {
    if (lines.push(line) >= linesMax) enough.abort()
  }
  await followLines<T>('GET', address, undefined, take, AbortSignal.any([signal, enough.signal]))
    .catch((err: unknown) => { if (!enough.signal.aborted) throw err })
  return lines.slice(0, linesMax)
}

/**
 * Hands each line of an answer on as it comes, until its end.
 *
 * @throws ApiError as `ask`; where `signal` ends it, what that says
 */
export async function followLines<T> (
  method: string, address: string, body: object | undefined, take: (line: T) => void, signal: AbortSignal
): Promise<void> {
  const json = body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
  const response = await fetch(address, { method, signal, ...json }).catch((err: Error) => {
    throw signal.aborted ? err : new ApiError(0, 'unreachable', 'the gateway does not answer')
  })
  if (!response.ok) throw await errorOf(response, address)
  let rest = ''
  for await (const text of textOf(response)) {
    const parts = (rest + text).split('\n')
    rest = parts.pop()!
    for (const part of parts) if (part !== '') take(JSON.parse(part) as T)
  }
}

/** Piece by piece; readable streams can't be iterated in every browser. */
async function * textOf ({ body }: Response): AsyncGenerator<string> {
  const reader = body!.pipeThrough(new TextDecoderStream()).getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    yield value
  }
}

async function errorOf (response: Response, address: string): Promise<ApiError> {
  const isJson = response.headers.get('content-type')?.startsWith('application/json') ?? false
  const answer: unknown = isJson ? await response.json() : undefined
  const { code = 'internal', message = response.statusText } = (answer ?? {}) as { code?: string, message?: string }
  if (response.status === 401 && address !== '/console/session') signedOut()
  return new ApiError(response.status, code, message)
}

/** `/v1/...` with ids made safe for a path. */
export function path (strings: TemplateStringsArray, ...ids: string[]): string {
  return strings.reduce((text, part, i) => text + encodeURIComponent(ids[i - 1]!) + part)
}

export interface Session {
  readonly nodeId: string
  readonly version: string
  readonly key: { readonly id: string, readonly name: string, readonly scopes: readonly string[], readonly from: KeySource | 'file' }
  readonly expiresAtMs: number
}
