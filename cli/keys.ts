import { type Command, InvalidArgumentError, Option } from 'commander'
import { appsIn } from '../gateway/apps.js'
import { settings } from '../gateway/config.js'
import { readEnvironment } from '../gateway/environment.js'
import { KeyFileUnusable } from '../gateway/keys/changed-file.js'
import { idIn, isKeyName, keyNameWanted } from '../gateway/keys/key-file.js'
import { createKey, listKeys, revokeKey } from '../gateway/keys/stored-keys.js'
import { type Scope, scopes } from '../gateway/keys/scopes.js'
import { readSetting } from '../gateway/setting.js'
import { columns } from './columns.js'
import { parseDurationMs } from './duration.js'
import { CommandFailed } from './failure.js'
import { complain, print, printJson } from './print.js'
import { appOption, type AppOptions } from './user-id.js'

interface FileOptions extends AppOptions {
  readonly file?: string
  readonly json?: boolean
}

interface CreateOptions extends FileOptions {
  readonly name: string
  readonly scopes: readonly Scope[]
  readonly expires?: string
  readonly requestsPerSecond?: number
  readonly recipientsPerSecond?: number
}

export function addKeys (program: Command): void {
  const keys = program.command('keys').description('make, list and revoke API keys, in the file that gateways read')

  withFile(keys.command('create'))
    .description('make a key, and print it: it is shown this once')
    .requiredOption('--name <name>', 'whose it is', parseName)
    .requiredOption('--scopes <list>', `what it is good for, comma-separated: ${scopes.join(', ')}`, parseScopes)
    .option('--expires <when>', 'until when: a duration such as 90d, or a time such as 2027-01-31T00:00:00Z', parseExpiry)
    .option('--requests-per-second <n>', 'requests that each node takes with it, default no bound', parsePerSecond)
    .option('--recipients-per-second <n>', 'users that its pushes may name on each node, default no bound', parsePerSecond)
    .action(create)

  withFile(keys.command('list'))
    .description('list the keys, without their secrets')
    .action(list)

  withFile(keys.command('revoke'))
    .description('revoke a key: gateways refuse it within a second')
    .argument('<id>', 'its id, or the key')
    .action(revoke)
}

function withFile (command: Command): Command {
  return command
    .addOption(new Option('--file <path>', 'file of keys (LEDGERLINE_API_KEYS_FILE)').conflicts('app'))
    .addOption(appOption('the file of this app, as LEDGERLINE_APPS has it'))
    .option('--json', 'print JSON')
}

async function create (options: CreateOptions): Promise<void> {
  const path = fileOf(options)
  const { name, scopes, expires: expiresAt, requestsPerSecond, recipientsPerSecond, json } = options
  const wanted = {
    name,
    scopes,
    ...requestsPerSecond === undefined ? {} : { requestsPerSecond },
    ...recipientsPerSecond === undefined ? {} : { recipientsPerSecond },
    ...expiresAt === undefined ? {} : { expiresAt },
  }
  const created = await inFile(() => createKey(path, wanted))
  if (json) printJson(created)
  else {
    process.stdout.write(`${created.key}\n`)
    complain(`key ${created.id} for ${name}: ${scopes.join(', ')}. It is in ${path} by its digest alone, so keep it now.`)
  }
}

async function list (options: FileOptions): Promise<void> {
  const keys = await inFile(() => listKeys(fileOf(options)))
  print(keys, options.json, listed => listed.length === 0
    ? 'there are no keys\n'
    : columns([
      ['id', 'name', 'scopes', 'state', 'requests/s', 'recipients/s', 'created', 'expires'],
      ...listed.map(key => [
        key.id, key.name, key.scopes.join(','), key.state, String(key.requestsPerSecond ?? '-'),
        String(key.recipientsPerSecond ?? '-'), key.createdAt, key.expiresAt ?? '-',
      ]),
    ]))
}

async function revoke (given: string, options: FileOptions): Promise<void> {
  const keyId = idIn(given) ?? given
  const path = fileOf(options)
  const revoked = await inFile(() => revokeKey(path, keyId))
  if (!revoked) throw new CommandFailed(`no key of ${path} has the id ${keyId}`)
  print(revoked, options.json, ({ id, name, revokedAt }) => `key ${id} for ${name} is revoked since ${revokedAt}\n`)
}

/** @throws CommandFailed where the file can't be read or written */
async function inFile<T> (work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (err) {
    if (err instanceof KeyFileUnusable) throw new CommandFailed(err.message, { cause: err })
    throw err
  }
}

/** @throws CommandFailed with exit code 2 where nothing names it */
function fileOf ({ file, app }: FileOptions): string {
  if (app !== undefined) return fileOfApp(app)
  const { variable } = settings.apiKeysFile
  const path = readSetting(settings.apiKeysFile, readEnvironment(), { [variable]: file })
  if (path !== undefined) return path
  throw new CommandFailed(`which file? give --file or ${variable}`, { exitCode: 2 })
}

function fileOfApp (name: string): string {
  const { variable } = settings.apps
  const app = appsIn(readSetting(settings.apps, readEnvironment()), [], true).find(app => app.name === name)
  if (app?.apiKeysFile !== undefined) return app.apiKeysFile
  throw new CommandFailed(`--app ${name}: ${variable} has ${app ? 'no apiKeysFile of it' : 'no such app'}`, { exitCode: 2 })
}

function parseName (text: string): string {
  if (isKeyName(text)) return text
  throw new InvalidArgumentError(`${sentence(keyNameWanted)}.`)
}

function parseScopes (text: string): readonly Scope[] {
  const given = text.split(',').map(item => item.trim()).filter(item => item !== '')
  const known = scopes.filter(scope => given.includes(scope))
  if (known.length > 0 && given.every(item => scopes.some(scope => scope === item))) return known
  throw new InvalidArgumentError(`Want some of ${scopes.join(', ')}, with commas between them.`)
}

function parsePerSecond (text: string): number {
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('Want a number from 1 to 999,999.')
}

function parseExpiry (text: string): string {
  const atMs = /^\d+[a-z]+$/.test(text)
    ? Date.now() + parseDurationMs(text)
    : /^\d{4}-\d\d-\d\dT.*(Z|[+-]\d\d:\d\d)$/.test(text) ? Date.parse(text) : NaN
  if (atMs > Date.now() && atMs < Date.UTC(10_000, 0)) return new Date(atMs).toISOString()
  throw new InvalidArgumentError('Want a duration such as 90d, or a time to come, such as 2027-01-31T00:00:00Z.')
}

function sentence (text: string): string { return text.charAt(0).toUpperCase() + text.slice(1) }
