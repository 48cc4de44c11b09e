import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { ConfigError } from '../gateway/setting.js'
import { addAudit } from './audit.js'
import { addBackup, addRestore } from './backup.js'
import { addConfig } from './config.js'
import { addConnect } from './connect.js'
import { addDoctor } from './doctor.js'
import { addDrain } from './drain.js'
import { CommandFailed } from './failure.js'
import { addPresence } from './presence.js'
import { addHistory } from './history.js'
import { addKeys } from './keys.js'
import { addLag } from './lag.js'
import { complain } from './print.js'
import { addPush } from './push.js'
import { addRebuild } from './rebuild.js'
import { addRedeliver } from './redeliver.js'
import { addReplay } from './replay.js'
import { addStart } from './start.js'
import { addState } from './state.js'
import { addToken } from './token.js'
import { addTopics } from './topics.js'
import { addTrace } from './trace.js'
import { addUplinks } from './uplinks.js'

export function buildProgram (): Command {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
  const program = new Command('ledgerline')
    .description('A durable gateway for long connections.')
    .version(version)
    .exitOverride() // before the commands, which take it over
    .showHelpAfterError('(--help says more)')
    .showSuggestionAfterError()
  addStart(program)
  addConfig(program)
  addToken(program)
  addKeys(program)
  addConnect(program)
  addPush(program)
  addUplinks(program)
  addTrace(program)
  addRebuild(program)
  addLag(program)
  addTopics(program)
  addHistory(program)
  addDoctor(program)
  addDrain(program)
  addState(program)
  addPresence(program)
  addReplay(program)
  addRedeliver(program)
  addAudit(program)
  addBackup(program)
  addRestore(program)
  return program
}

/** @returns the exit code (protocol.md 6): 0 stopped as asked, 1 failed, 2 wrong usage or configuration */
function exitCodeOf (err: unknown): number {
  if (err instanceof CommanderError) return err.exitCode === 0 ? 0 : 2 // it has spoken for itself
  const message = err instanceof Error ? err.message : String(err)
  for (const fault of err instanceof ConfigError ? err.faults : [message]) complain(fault)
  // Kafka, Redis or the registry is reached, and does not let us in as we are configured.
  if (err instanceof ConfigError || (err as NodeJS.ErrnoException | null)?.code === 'misconfigured') return 2
  return err instanceof CommandFailed ? err.exitCode : 1
}

// Whoever reads our output may leave when it has enough, `| head`.
process.stdout.on('error', (err: NodeJS.ErrnoException) => { process.exit(err.code === 'EPIPE' ? 0 : 1) })

/** @returns the exit code; undefined where it is for the command to say */
export async function runCommand (): Promise<number | undefined> {
  try {
    await buildProgram().parseAsync()
  } catch (err) {
    return exitCodeOf(err)
  }
}
