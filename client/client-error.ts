/** Why a `send`, a loop over downlinks or a client ended. Callers branch on `code`, never on the text. */
export class ClientError extends Error {
  override readonly name = 'ClientError'
  /** One of docs/errors.md, or a newer one that the server sent. */
  readonly code: string

  constructor (code: string, message: string) {
    super(message)
    this.code = code
  }
}
