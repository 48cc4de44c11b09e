import type { Command } from 'commander'
import { type Inquiry, inquire } from '../evidence/inquiry.js'
import type { Step, Trace } from '../evidence/trace.js'
import { GatewayError } from '../schemas/errors.js'
import { CommandFailed } from './failure.js'
import { addLogOptions, type LogOptions, openLogReader } from './log.js'
import { momentOption } from './moment.js'
import { print } from './print.js'

interface TraceOptions extends LogOptions {
  readonly message?: string
  readonly uplink?: string
  readonly connection?: string
  readonly since?: string
  readonly until?: string
  readonly json?: boolean
}

export function addTrace (program: Command): void {
  const command = program.command('trace')
    .description('tell what became of a message or a connection of USER')
    .argument('<user>', 'user id')
    .option('--message <id>', 'a downlink, by its message id')
    .option('--uplink <session:seq>', 'an uplink, by its session id and seq')
    .option('--connection <id>', 'a connection: who it was, what went over it, how it ended')
    .option('--since <moment>', 'show no step before it: 2h ago, 2026-11-20T10:00, 3@1021.4')
    .option('--until <moment>', 'as it was known then')
    .option('--json', 'print the steps and the verdict as JSON')
  addLogOptions(command).action(trace)
}

async function trace (userId: string, options: TraceOptions): Promise<void> {
  const inquiry = inquiryOf(options)
  const { since, until, json } = options
  const range = {
    since: since === undefined ? undefined : momentOption('--since', since),
    until: until === undefined ? undefined : momentOption('--until', until),
  }
  const log = await openLogReader(options)
  try {
    const found = await inquire(log, userId, inquiry, range)
    print(found, json, describe)
  } catch (err) {
    const usage = err instanceof GatewayError && err.code === 'bad-request'
    throw usage ? new CommandFailed(err.message, { exitCode: 2, cause: err }) : err
  } finally {
    await log.close()
  }
}

function inquiryOf ({ message, uplink, connection }: TraceOptions): Inquiry {
  const named = [message, uplink, connection].filter(option => option !== undefined).length
  const at = uplink?.lastIndexOf(':') ?? -1
  if (named === 1 && message !== undefined) return { messageId: message }
  if (named === 1 && connection !== undefined) return { connectionId: connection }
  if (named === 1 && uplink !== undefined && at > 0 && /^[1-9]\d{0,15}$/.test(uplink.slice(at + 1))) {
    return { sessionId: uplink.slice(0, at), seq: Number(uplink.slice(at + 1)) }
  }
  throw new CommandFailed('want one of --message ID, --uplink SESSION:SEQ, --connection ID', { exitCode: 2 })
}

function describe ({ steps, verdict }: Trace): string {
  const { code, cause, text } = verdict
  const lines = [...steps.map(describeStep), ...(steps.length > 0 ? [''] : [])]
  return [...lines, text, `(${cause === '' ? code : `${code}, ${cause}`})`, ''].join('\n')
}

function describeStep ({ position, atMs, afterMs, stage, stageMs, nodeId, connectionId, text }: Step): string {
  const where = connectionId === '' ? '' : `  ${connectionId}@${nodeId}`
  const took = stage === '' ? '' : `  [${stage.replace('-', ' to ')}: ${stageMs} ms]`
  const since = `+${afterMs} ms`.padStart(12)
  return `${new Date(atMs).toISOString()}  ${since}  ${position.padEnd(12)}  ${text}${where}${took}`
}
