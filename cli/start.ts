import type { Command } from 'commander'
import { pino } from 'pino'
import type { Logger } from 'pino'
import type { Config } from '../gateway/config.js'
import { readConfig } from '../gateway/read-config.js'
import { readEnvironment } from '../gateway/environment.js'
import type { Environment } from '../gateway/setting.js'
import { collectWhileIdle } from '../gateway/idle-memory.js'
import type { RunningNode } from '../gateway/main.js'
import { shownUser } from '../schemas/apps.js'
import { printable } from '../schemas/printable.js'
import { addSettings } from './setting-options.js'
import { startFailure } from './start-failure.js'
import { startHint } from './start-hint.js'

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
  outliveHangup(log)
  process.once('uncaughtException', err => {
    log.fatal({ err }, 'crashed')
    process.exit(1)
  })
  const node = await startNode(config, log)
  collectWhileIdle()
  const { http, tcp, api, metrics, nodeId } = node
  log.info({ http, tcp, ...api === http ? {} : { api }, ...metrics === '' ? {} : { metrics }, nodeId }, 'ready')
  if (process.stderr.isTTY) process.stderr.write(startHint(node, config))
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

/**
 * SIGHUP has files read again, by whoever watches some (`watchFiles`), and must end no node that watches none. Where a
 * terminal goes, its node goes with it.
 */
function outliveHangup (log: Logger): void {
  if (process.stdin.isTTY) return
  process.on('SIGHUP', signal => { log.info({ signal }, 'files that are watched are read again') })
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
