import { json as readJson } from 'node:stream/consumers'
import type { Command } from 'commander'
import { parseDurationMs } from './duration.js'
import { CommandFailed } from './failure.js'
import { addGatewayOptions, ask, findApiKey, gatewayUrl } from './gateway.js'
import type { GatewayOptions } from './gateway.js'
import { print } from './print.js'
import { appOption, type AppOptions, pathOf } from './user-id.js'

interface PushOptions extends GatewayOptions, AppOptions {
  readonly service?: string
  readonly ttl?: number
  readonly signal?: boolean
  readonly messageId?: string
  readonly json?: boolean
}

interface Pushed {
  readonly messageId: string
  readonly users: ReadonlyArray<{ userId: string, status: string, position?: string, code?: string }>
}

export function addPush (program: Command): void {
  const command = program.command('push')
    .description('send TEXT to all devices of USER')
    .argument('<user>', 'user id')
    .argument('<text>', 'payload')
    .option('--service <name>', 'service that it comes from')
    .option('--ttl <duration>', 'how long it is kept for delivery, default 7d', parseDurationMs)
    .option('--signal', 'at most once, only to open connections, never stored')
    .option('--message-id <id>', 'idempotency key: the same one twice is delivered once')
    .addOption(appOption())
    .option('--json', 'print the answer as JSON')
  addGatewayOptions(command).action(push)
}

async function push (userId: string, payload: string, options: PushOptions): Promise<void> {
  const { service, ttl: ttlMs, signal, messageId } = options
  const delivery = signal ? 'signal' : undefined
  const body = { to: { userIds: [userId] }, payload, service, ttlMs, messageId, delivery }
  const apiKey = await findApiKey(options)
  const response = await ask(gatewayUrl(options), pathOf(options, '/v1/downlinks'), { method: 'POST', apiKey, body })
  const answer = await readJson(response) as Pushed
  print(answer, options.json, ({ users, messageId }) => users.map(user => `${describe(user, messageId)}\n`).join(''))
  const rejected = answer.users.find(({ status }) => status === 'rejected')
  if (rejected) throw new CommandFailed(`rejected: ${rejected.code}`)
  if (answer.users.some(({ status }) => status === 'conflict')) throw new CommandFailed('conflict: take another message id')
}

function describe ({ userId, status, position, code }: Pushed['users'][number], messageId: string): string {
  switch (status) {
    case 'queued': return `queued for ${userId} at ${position ?? 'the ledger'}, message ${messageId}`
    case 'duplicate': return `${userId} has had message ${messageId} before, and gets it once`
    case 'conflict': return `${userId} has had another message under the id ${messageId}, and does not get this one`
    case 'sent': return `sent to ${userId}, message ${messageId}`
    case 'offline': return `${userId} is offline, and a signal is not kept`
    default: return `${status} for ${userId}${code === undefined ? '' : ` (${code})`}, message ${messageId}`
  }
}
