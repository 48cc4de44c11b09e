/** An append failed because one of its items can not be encoded. It fails however often it is tried. */
export class EncodeError extends Error {
  override readonly name = 'EncodeError'

  /** @param cause what the codec of the stream threw */
  constructor (cause: unknown) {
    super(`it can not be encoded: ${(cause as Error).message}`, { cause })
  }
}
