import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { pino } from 'pino'
import type { Logger } from 'pino'
import { type Config, readConfig, settings } from '../gateway/config.js'
import { readEnvironment } from '../gateway/environment.js'
import { secretPaths } from '../gateway/secrets.js'
import type { Environment } from '../gateway/setting.js'
import { collectWhileIdle } from '../gateway/idle-memory.js'
import type { RunningNode } from '../gateway/main.js'
import { shownUser } from '../schemas/apps.js'
import { printable } from '../schemas/printable.js'
import { ownCommand, quoted } from './self.js'
import { addSettings } from './setting-options.js'
import { startFailure } from './start-failure.js'

/** What a node may take to stop besides its drain and its grace. */
const stopMs = 30_000

export function addStart (program: Command): void {
  const command = program.command('start').description('run a node')
  const given = addSettings(command)
  command.action(async (options: Record<string, string>) => { await start(given(options)) })
}

async function start (options: Environment): Promise<void> {
  const config = readConfig(readEnvironment(), options)
  const log = pino({
    hooks: { streamWrite: line => `${printable(line.slice(0, -1))}\n` }, // terminals get it, too
    formatters: { log: withUserShown },
  })
  const stopped = stopSignal()
  process.once('uncaughtException', err => {
    log.fatal({ err }, 'crashed')
    process.exit(1)
  })
  const node = await startNode(config, log)
  collectWhileIdle()
  const { http, tcp, api, metrics, nodeId } = node
  log.info({ http, tcp, ...api === http ? {} : { api }, ...metrics === '' ? {} : { metrics }, nodeId }, 'ready')
  if (process.stderr.isTTY) process.stderr.write(hint(node, config))
  const signal = await stopped
  log.info({ signal }, 'stopping')
  stopInTime(config, log)
  await node.stop()
  log.info('stopped')
  process.exit(0)
}

/** Users are logged by their keys. */
function withUserShown (fields: Record<string, unknown>): Record<string, unknown> {
  const { userId } = fields
  return typeof userId === 'string' ? { ...fields, ...shownUser(userId) } : fields
}

/** Loaded here alone: no other command needs a store, actors and servers. */
async function startNode (config: Config, log: Logger): Promise<RunningNode> {
  const main = await import('../gateway/main.js')
  try {
    return await main.startNode(config, log)
  } catch (err) {
    const failure = startFailure(err, config)
    // In words on stderr, by whoever catches it. The log has it for machines, with a stack only where it is our fault.
    if (failure === undefined) log.fatal({ err }, 'start failed')
    else if (!process.stdout.isTTY) log.fatal({ reason: failure.message }, 'start failed')
    throw failure ?? err
  }
}

/** The last resort: a disk that does not answer must not keep the process. What it did not store, the ledger has. */
function stopInTime ({ drainMs, stopGraceMs }: Config, log: Logger): void {
  const withinMs = drainMs + stopGraceMs + stopMs
  setTimeout(() => {
    log.fatal({ withinMs }, 'not stopped in time')
    process.exit(1)
  }, withinMs).unref()
}

/** Resolves at the first signal to stop; the second one ends the process there and then. */
async function stopSignal (): Promise<NodeJS.Signals> {
  return await new Promise(resolve => {
    let count = 0
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, () => {
        if (++count > 1) process.exit(1)
        resolve(signal)
      })
    }
  })
}

function hint ({ http, tcp, api }: RunningNode, config: Config): string {
  const { dataDir, jwksUrl, jwtIssuers, roles } = config
  const self = ownCommand()
  const where = (url: string) => [
    url === 'http://127.0.0.1:8080' ? '' : ` --url ${url}`,
    dataDir === settings.dataDir.parse(settings.dataDir.fallback!) ? '' : ` --data ${quoted(dataDir)}`,
  ].join('')
  return `
  Ledgerline listens on ${http} (HTTP, WebSocket) and ${tcp} (TCP)\
${api === http ? '' : `, and on ${api} for all that wants an API key`}.
${roles.includes('console') ? `  Console: ${api}/console\n` : ''}\
  API key: ${firstKey(config)}

  Try in other terminals:
${jwksUrl === undefined && jwtIssuers === undefined ? `    ${self} connect ann${where(http)}\n` : ''}\
    ${self} push ann "hello"${where(api)}
    ${self} uplinks --follow${where(api)}

  Ctrl-C stops it.

`
}

/** Whoever can read the terminal of the gateway can read its files, too: a key that it has drawn is shown. */
function firstKey ({ apiKeys, apiKeysFile, dataDir }: Config): string {
  if (apiKeysFile !== undefined) {
    return `one of ${apiKeysFile}; to make one: ${ownCommand()} keys create --name me --scopes operate,read`
  }
  if (apiKeys.length > 0) return 'one of LEDGERLINE_API_KEYS'
  const path = secretPaths(dataDir).apiKey
  return `${readFileSync(path, 'utf8').trim()} (from ${path})`
}
