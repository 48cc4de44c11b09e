/** A command cannot go on: one line on stderr, then the exit code. */
export class CommandFailed extends Error {
  override readonly name = 'CommandFailed'
  /** 1 failed, 2 wrong usage or configuration (protocol.md 6). */
  readonly exitCode: 1 | 2

  constructor (message: string, { exitCode = 1, cause }: { exitCode?: 1 | 2, cause?: unknown } = {}) {
    super(message, { cause })
    this.exitCode = exitCode
  }
}
