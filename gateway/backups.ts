import { readdir, readFile, rm } from 'node:fs/promises'
import { isAbsolute, join } from 'node:path'
import { backupToken } from '../schemas/backup-token.js'
import { GatewayError } from '../schemas/errors.js'
import type { BackedUp, BackupTold } from '../ledger/embedded/backup.js'
import { EventQueue } from './event-queue.js'

/** A line of the answer to `POST /v1/backups`. */
export type BackupEvent =
  | { readonly type: 'started', readonly bytesMax: number }
  | { readonly type: 'progress', readonly bytes: number }
  | { readonly type: 'done', readonly bytes: number, readonly seconds: number, readonly secrets: readonly string[] }
  | { readonly type: 'failed', readonly code: string, readonly message: string }

export interface BackupCommand {
  /** Absolute, on the machine of the gateway; has nothing in it but the token. */
  readonly directory: string
  /** What the file in it holds. Whoever put it there may write there; an API key alone does not say so. */
  readonly token: string
  readonly withSecrets: boolean
}

/** Copies the data directory into `directory`; undefined where there is none: the state is in Kafka and Redis. */
export type BackUp = (directory: string, options: { withSecrets: boolean, told: BackupTold }) => Promise<BackedUp>

/** Backups that operators ask for, one at a time. */
export class Backups {
  #running: Promise<unknown> | undefined

  constructor (
    private readonly backUp: BackUp | undefined,
    private readonly failed: (what: string, err: Error, fields: object) => void
  ) {}

  /**
   * @throws GatewayError `bad-request` where the directory is not what is wanted, or there is nothing to be copied;
   *   `not-ready` while another one runs
   */
  async start ({ directory, token, withSecrets }: BackupCommand): Promise<AsyncIterable<BackupEvent>> {
    const { backUp } = this
    if (backUp === undefined) {
      throw new GatewayError('bad-request', 'this node keeps nothing itself: back up Kafka and Redis')
    }
    if (this.#running) throw new GatewayError('not-ready', 'another backup is running')
    const events = new EventQueue<BackupEvent>()
    // Before the first wait: two that come together must not both find that none runs.
    const checked = checkToken(directory, token)
    const copied = checked.then(() => backUp(directory, {
      withSecrets,
      told: {
        started: bytesMax => { events.put({ type: 'started', bytesMax }) },
        progress: bytes => { events.put({ type: 'progress', bytes }) },
      },
    }))
    const startedMs = performance.now()
    this.#running = copied.then(
      ({ bytes, secrets }) => {
        events.put({ type: 'done', bytes, seconds: (performance.now() - startedMs) / 1_000, secrets })
      },
      (err: NodeJS.ErrnoException) => {
        if (!(err instanceof GatewayError)) this.failed('a backup failed', err, { directory })
        events.put({ type: 'failed', code: err.code ?? 'internal', message: err.message })
      }).finally(() => {
      this.#running = undefined
      events.end()
    })
    await checked // what is wrong with the request is its answer, and no line of it
    return events
  }

  /** Resolves when none runs: the store must not close before. */
  async idle (): Promise<void> { await this.#running }
}

/** Takes the token away, and leaves an empty directory. */
async function checkToken (directory: string, token: string): Promise<void> {
  if (!isAbsolute(directory)) throw wrong(`got ${JSON.stringify(directory)}, want an absolute path`)
  const path = join(directory, backupToken)
  let found: string
  try {
    found = await readFile(path, 'utf8')
  } catch (err) {
    throw wrong(`the gateway finds no ${backupToken} in ${directory} that it can read (${codeOf(err)}): ` +
      'run the command on its machine, and as its user')
  }
  if (found !== token) throw wrong(`${path} holds another token`)
  const others = (await readdir(directory)).filter(name => name !== backupToken)
  if (others.length > 0) throw wrong(`got a directory with ${others[0]} in it, want one with nothing but the token`)
  try {
    await rm(path)
  } catch (err) {
    throw wrong(`the gateway may not write into ${directory} (${codeOf(err)}): run the command as its user`)
  }
}

function codeOf (err: unknown): string | undefined { return (err as NodeJS.ErrnoException).code }

function wrong (what: string): GatewayError { return new GatewayError('bad-request', `body/directory: ${what}`) }
