/** What the gateway answered that was no success. */
export class ApiError extends Error {
  override readonly name = 'ApiError'

  constructor (readonly status: number, readonly code: string, message: string) { super(message) }
}

/** Called when the gateway says that nobody is signed in any more. */
let signedOut = () => {}

export function onSignedOut (listener: () => void): void { signedOut = listener }

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
  const isJson = response.headers.get('content-type')?.startsWith('application/json') ?? false
  const answer: unknown = isJson ? await response.json() : undefined
  if (response.ok) return answer as T
  const { code = 'internal', message = response.statusText } = (answer ?? {}) as { code?: string, message?: string }
  if (response.status === 401 && path !== '/console/session') signedOut()
  throw new ApiError(response.status, code, message)
}

/** `/v1/...` with ids made safe for a path. */
export function path (strings: TemplateStringsArray, ...ids: string[]): string {
  return strings.reduce((text, part, i) => text + encodeURIComponent(ids[i - 1]!) + part)
}

export interface Session {
  readonly nodeId: string
  readonly version: string
  readonly key: { readonly id: string, readonly name: string, readonly scopes: readonly string[] }
  readonly expiresAtMs: number
}
