import { json as readJson } from 'node:stream/consumers'
import { type Command, InvalidArgumentError } from 'commander'
import type { RedeliveryAnswer } from '../gateway/redelivery.js'
import { parseDurationMs } from './duration.js'
import { addGatewayOptions, ask, findApiKey, gatewayUrl, type GatewayOptions } from './gateway.js'
import { appOption, type AppOptions, parseUserId, pathOf } from './user-id.js'
import { print } from './print.js'

interface RedeliverOptions extends GatewayOptions, AppOptions {
  readonly device: string
  readonly from: number
  readonly to: number
  readonly ttl?: number
  readonly requestId?: string
  readonly reason?: string
  readonly json?: boolean
}

export function addRedeliver (program: Command): void {
  const command = program.command('redeliver')
    .description('send downlinks to a device of USER once more, under new seqs')
    .argument('<user>', 'user id', parseUserId)
    .requiredOption('--device <id>', 'the device that gets them')
    .requiredOption('--from <seq>', 'first seq that it had', parseSeq)
    .requiredOption('--to <seq>', 'last one, at most 1,000 in all', parseSeq)
    .option('--ttl <duration>', 'how long they are kept, default 7d', parseDurationMs)
    .option('--request-id <id>', 'the same id again delivers nothing a second time')
    .option('--reason <text>', 'why, for whoever looks back')
    .addOption(appOption())
    .option('--json', 'print the answer as JSON')
  addGatewayOptions(command).action(redeliver)
}

async function redeliver (userId: string, options: RedeliverOptions): Promise<void> {
  const { device: deviceId, from: fromSeq, to: toSeq, ttl: ttlMs, requestId, reason, json } = options
  const path = pathOf(options, `/v1/users/${encodeURIComponent(userId)}/redeliveries`)
  const body = { deviceId, fromSeq, toSeq, ttlMs, requestId, reason }
  const apiKey = await findApiKey(options)
  const answer = await readJson(await ask(gatewayUrl(options), path, { method: 'POST', apiKey, body })) as RedeliveryAnswer
  print(answer, json, describe)
}

function describe ({ requestId, redelivered, notFound }: RedeliveryAnswer): string {
  return [
    ...redelivered.map(({ messageId, seq, position }) => `#${seq}  ${messageId}  queued again at ${position}`),
    ...notFound.length > 0 ? [`no downlink is known under ${notFound.join(', ')}`] : [],
    `request ${requestId}`,
    '',
  ].join('\n')
}

function parseSeq (text: string): number {
  if (/^[1-9]\d{0,14}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('Want a seq, 1 or above.')
}
