import { json as readJson } from 'node:stream/consumers'
import type { Command } from 'commander'
import type { Trace } from '../evidence/trace.js'
import { CommandFailed } from './failure.js'
import { addGatewayOptions, ask, findApiKey, gatewayUrl } from './gateway.js'
import type { GatewayOptions } from './gateway.js'

interface TraceOptions extends GatewayOptions {
  readonly message?: string
  readonly uplink?: string
  readonly json?: boolean
}

export function addTrace (program: Command): void {
  const command = program.command('trace')
    .description('tell what became of a message of USER')
    .argument('<user>', 'user id')
    .option('--message <id>', 'a downlink, by its message id')
    .option('--uplink <session:seq>', 'an uplink, by its session id and seq')
    .option('--json', 'print the steps and the verdict as JSON')
  addGatewayOptions(command).action(trace)
}

async function trace (userId: string, options: TraceOptions): Promise<void> {
  const query = new URLSearchParams(queryOf(options))
  const apiKey = await findApiKey(options)
  const path = `/v1/users/${encodeURIComponent(userId)}/trace?${query.toString()}`
  const found = await readJson(await ask(gatewayUrl(options), path, { apiKey })) as Trace
  process.stdout.write(options.json ? `${JSON.stringify(found)}\n` : describe(found))
}

function queryOf ({ message, uplink }: TraceOptions): Record<string, string> {
  const at = uplink?.lastIndexOf(':') ?? -1
  if (message !== undefined && uplink === undefined) return { messageId: message }
  if (message === undefined && uplink !== undefined && at > 0 && /^[1-9]\d{0,15}$/.test(uplink.slice(at + 1))) {
    return { sessionId: uplink.slice(0, at), seq: uplink.slice(at + 1) }
  }
  throw new CommandFailed('want --message ID, or --uplink SESSION:SEQ', { exitCode: 2 })
}

function describe ({ steps, verdict }: Trace): string {
  const lines = steps.map(({ position, atMs, afterMs, nodeId, connectionId, text }) => {
    const time = new Date(atMs).toISOString()
    const where = connectionId === '' ? '' : `  ${connectionId}@${nodeId}`
    return `${time}  ${`+${afterMs} ms`.padStart(12)}  ${position.padEnd(14)}  ${text}${where}`
  })
  return [...lines, ...(lines.length > 0 ? [''] : []), verdict.text, ''].join('\n')
}
