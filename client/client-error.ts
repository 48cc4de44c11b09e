import type { ClientErrorCode, OrNewer } from './end-codes.js'

/** Why a `send`, a loop over downlinks or a client ended. Callers branch on `code`, never on the text. */
export class ClientError extends Error {
  override readonly name = 'ClientError'
  /** One of docs/errors.md, or a newer one that the server sent. */
  readonly code: OrNewer<ClientErrorCode>

  constructor (code: OrNewer<ClientErrorCode>, message: string) {
    super(message)
    this.code = code
  }
}

/** For `getToken` to throw: there is no token until a person acts, and the client ends, with `no-token`. */
export class GiveUp extends Error {
  override readonly name = 'GiveUp'
}

/** For `getToken` to throw: there is no token for so long. Any error with a `retryAfterMs` says the same. */
export class TryLater extends Error {
  override readonly name = 'TryLater'
  readonly retryAfterMs: number

  /** @param retryAfterMs 10 minutes at most */
  constructor (message: string, retryAfterMs: number) {
    super(message)
    this.retryAfterMs = retryAfterMs
  }
}

/** What `thrown` says, which an application may have made of anything. */
export function reasonOf (thrown: unknown): string {
  try {
    return String((thrown as Error)?.message ?? thrown)
  } catch {
    return 'unknown' // an object without a prototype
  }
}

/** The application may let it go: a rejection that nobody looks at must not end its process. */
export function quiet<T> (promise: Promise<T>): Promise<T> {
  promise.catch(() => {})
  return promise
}
