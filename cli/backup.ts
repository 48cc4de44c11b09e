import { randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { mkdir, readdir, rename, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import type { Command } from 'commander'
import type { BackupEvent } from '../gateway/backups.js'
import { settings } from '../gateway/config.js'
import { readEnvironment } from '../gateway/environment.js'
import { type Environment, readSetting } from '../gateway/setting.js'
import type { BackedUp, BackupTold } from '../ledger/embedded/backup.js'
import { backupToken } from '../schemas/backup-token.js'
import { CommandFailed } from './failure.js'
import {
  addGatewayOptions, ask, dataOption, findApiKey, gatewayUrl, type GatewayOptions, reasonOption, type ReasonOptions,
  withReason,
} from './gateway.js'
import { print } from './print.js'
import { addProgressOption, startProgress, type Progress } from './progress.js'
import { ownCommand, quoted } from './self.js'

interface BackupOptions extends GatewayOptions, ReasonOptions {
  readonly secrets: boolean
  readonly json?: boolean
  readonly progress: boolean
}

interface RestoreOptions {
  readonly data?: string
  readonly json?: boolean
  readonly progress: boolean
}

interface Copied extends BackedUp { readonly directory: string }

const bytesOfMiB = 1_048_576

export function addBackup (program: Command): void {
  const command = program.command('backup')
    .description('copy the data directory as it is now, while the gateway runs')
    .argument('<dir>', 'target on the machine of the gateway: a directory that is empty or does not exist')
    .option('--no-secrets', 'leave jwt-secret and api-key out')
    .addOption(reasonOption())
    .option('--json', 'print what was copied as JSON')
  addProgressOption(addGatewayOptions(command)).action(backup)
    .addHelpText('after', '\nAsks the gateway of --url or LEDGERLINE_URL; where there is none, copies --data itself if no ' +
      'gateway has it open.')
}

export function addRestore (program: Command): void {
  const command = program.command('restore')
    .description('make a data directory from a backup, which stays as it is')
    .argument('<backup>', 'directory that "backup" has made')
    .addOption(dataOption())
    .option('--json', 'print what was copied as JSON')
  addProgressOption(command).action(restore)
}

async function backup (directory: string, options: BackupOptions): Promise<void> {
  const env = readEnvironment()
  const copied = await fill(directory, async draft => {
    const bar = new Bar('backup', options.progress)
    try {
      return await copyRunning(draft, options, env, bar) ?? await askGateway(draft, options, env, bar)
    } finally {
      bar.end()
    }
  })
  print({ ...copied, directory }, options.json, describeBackup)
}

async function restore (directory: string, options: RestoreOptions): Promise<void> {
  const target = readSetting(settings.dataDir, readEnvironment(), { [settings.dataDir.variable]: options.data })!
  const { restore: copy } = await import('../ledger/embedded/backup.js')
  const copied = await fill(target, async draft => {
    const bar = new Bar('restore', options.progress)
    try {
      return await copy(directory, draft, bar)
    } finally {
      bar.end()
    }
  })
  print({ ...copied, directory: target }, options.json, describeRestored)
}

/**
 * Fills a directory that is to be there whole or not at all: under another name, then durably renamed.
 *
 * @throws CommandFailed with exit code 2 where something is in its place
 */
async function fill (directory: string, copy: (draft: string) => Promise<BackedUp>): Promise<BackedUp> {
  const path = resolve(directory)
  await checkFree(path)
  const draft = `${path}.draft-${randomBytes(4).toString('hex')}`
  const removeDraft = () => { rmSync(draft, { recursive: true, force: true }) }
  const interrupted = () => {
    removeDraft()
    process.exit(1)
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, interrupted)
  try {
    await mkdir(dirname(path), { recursive: true })
    await mkdir(draft, { mode: 0o700 })
    const copied = await copy(draft)
    await rename(draft, path)
    const { flushDirectory } = await import('../ledger/embedded/backup.js')
    flushDirectory(dirname(path))
    return copied
  } catch (err) {
    removeDraft()
    throw inWords(err)
  } finally {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, interrupted)
  }
}

async function checkFree (path: string): Promise<void> {
  try {
    const [found] = await readdir(path)
    if (found === undefined) return
    throw new CommandFailed(`${path}: got a directory with ${found} in it, want one that is not there, or empty`,
      { exitCode: 2 })
  } catch (err) {
    const { code } = err as NodeJS.ErrnoException
    if (code === 'ENOENT') return
    if (code === 'ENOTDIR') {
      throw new CommandFailed(`${path}: it, or what it would be in, is no directory`, { exitCode: 2, cause: err })
    }
    throw inWords(err)
  }
}

function inWords (err: unknown): unknown {
  if (err instanceof CommandFailed || !(err instanceof Error)) return err
  const { code, syscall, path } = err as NodeJS.ErrnoException
  if (code === undefined) return err
  if (syscall === 'mkdir') return new CommandFailed(`${path}: can not be made (${code})`, { exitCode: 2, cause: err })
  return new CommandFailed(err.message, { exitCode: code === 'not-ours' || code === 'absent' ? 2 : 1, cause: err })
}

/** @returns undefined where it is for a gateway: one is named, or has the directory open, or it is not here */
async function copyRunning (
  draft: string, options: BackupOptions, env: Environment, told: BackupTold
): Promise<BackedUp | undefined> {
  if (options.url !== undefined || env['LEDGERLINE_URL']) return undefined
  const directory = readSetting(settings.dataDir, env, { [settings.dataDir.variable]: options.data })!
  // Loaded here alone: who asks a gateway needs no store.
  const { backUpStopped } = await import('../ledger/embedded/backup.js')
  try {
    return await backUpStopped(directory, draft, { withSecrets: options.secrets, told })
  } catch (err) {
    const { code } = err as NodeJS.ErrnoException
    if (code === 'in-use' || code === 'absent') return undefined
    throw err
  }
}

async function askGateway (
  draft: string, options: BackupOptions, env: Environment, told: BackupTold
): Promise<BackedUp> {
  const token = randomBytes(24).toString('base64url')
  await writeFile(join(draft, backupToken), token, { mode: 0o600 })
  const apiKey = await findApiKey(options, env)
  const body = { directory: draft, token, withSecrets: options.secrets }
  const path = withReason('/v1/backups', options)
  const response = await ask(gatewayUrl(options, env), path, { method: 'POST', apiKey, body })
  for await (const line of createInterface({ input: response })) {
    if (line === '') continue
    const event = JSON.parse(line) as BackupEvent
    if (event.type === 'started') told.started(event.bytesMax)
    else if (event.type === 'progress') told.progress(event.bytes)
    else if (event.type === 'failed') {
      throw new CommandFailed(`the gateway made no backup: ${event.message} (${event.code})`)
    } else {
      return { bytes: event.bytes, secrets: event.secrets }
    }
  }
  throw new CommandFailed('the gateway broke off, and there is no backup')
}

/** In MiB. */
class Bar implements BackupTold {
  #progress: Progress | undefined
  #bytes = 0

  constructor (private readonly label: string, private readonly isShown: boolean) {}

  started (bytesMax: number): void {
    const { label, isShown: progress } = this
    this.#progress = startProgress({ label, total: bytesMax / bytesOfMiB, unit: 'MiB', progress })
  }

  progress (bytes: number): void {
    this.#progress?.add((bytes - this.#bytes) / bytesOfMiB)
    this.#bytes = bytes
  }

  end (): void { this.#progress?.end() }
}

function describeBackup ({ directory, bytes, secrets }: Copied): string {
  const what = secrets.length > 0 ? `, with ${secrets.join(' and ')}: keep it as safe as those` : ', without secrets'
  return `${directory}: ${size(bytes)}${what}\n` +
    `To make a data directory of it: ${ownCommand()} restore ${quoted(directory)} --data DIR\n`
}

function describeRestored ({ directory, bytes, secrets }: Copied): string {
  const without = '; there are no secrets in it, so give those of before, or clients need new tokens'
  return `${directory}: ${size(bytes)}${secrets.length > 0 ? '' : without}\nTo start it: ${ownCommand()} start --data ${quoted(directory)}\n`
}

function size (bytes: number): string { return `${(bytes / bytesOfMiB).toFixed(1)} MiB` }
