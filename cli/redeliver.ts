import { json as readJson, text as readText } from 'node:stream/consumers'
import { type Command, InvalidArgumentError } from 'commander'
import type { RedeliveryAnswer } from '../gateway/redelivery.js'
import type { RedeliveryCounts } from '../gateway/webhooks/running.js'
import { parseDurationMs } from './duration.js'
import { CommandFailed } from './failure.js'
import {
  addGatewayOptions, ask, findApiKey, gatewayUrl, type GatewayOptions, reasonOption, type ReasonOptions, withReason,
} from './gateway.js'
import { appOption, type AppOptions, parseUserId, pathOf } from './user-id.js'
import { print } from './print.js'

interface RedeliverOptions extends GatewayOptions, AppOptions, ReasonOptions {
  readonly device?: string
  readonly from?: number
  readonly to?: number
  readonly webhook?: string
  readonly ttl?: number
  readonly requestId?: string
  readonly json?: boolean
}

export function addRedeliver (program: Command): void {
  const command = program.command('redeliver')
    .description('send downlinks to a device of USER once more, under new seqs; or send a webhook what it did not take')
    .argument('[user]', 'user id', parseUserId)
    .option('--device <id>', 'the device that gets them')
    .option('--from <seq>', 'first seq that it had', parseSeq)
    .option('--to <seq>', 'last one, at most 1,000 in all', parseSeq)
    .option('--webhook <name>', 'send the undelivered records of this webhook, instead of downlinks of USER')
    .option('--ttl <duration>', 'how long they are kept, default 7d', parseDurationMs)
    .option('--request-id <id>', 'the same id again sends nothing a second time')
    .addOption(reasonOption())
    .addOption(appOption())
    .option('--json', 'print the answer as JSON')
  addGatewayOptions(command).action(redeliver)
}

async function redeliver (userId: string | undefined, options: RedeliverOptions, command: Command): Promise<void> {
  const { device: deviceId, from: fromSeq, to: toSeq, ttl: ttlMs, requestId, reason, json, webhook } = options
  const ofUser = [userId, deviceId, fromSeq, toSeq]
  if (webhook !== undefined) {
    if (ofUser.some(each => each !== undefined)) command.error('error: want --webhook, or USER, --device, --from and --to')
    return await redeliverWebhook(webhook, options)
  }
  if (userId === undefined || ofUser.some(each => each === undefined)) {
    command.error('error: want USER, --device, --from and --to, or --webhook')
  }
  const path = pathOf(options, `/v1/users/${encodeURIComponent(userId)}/redeliveries`)
  const body = { deviceId, fromSeq, toSeq, ttlMs, requestId, reason }
  const apiKey = await findApiKey(options)
  const answer = await readJson(await ask(gatewayUrl(options), path, { method: 'POST', apiKey, body })) as RedeliveryAnswer
  print(answer, json, describe)
}

/** Nothing comes until all of it is done, but empty lines. */
async function redeliverWebhook (name: string, options: RedeliverOptions): Promise<void> {
  const path = withReason(`/v1/webhooks/${encodeURIComponent(name)}/redeliveries`, options)
  const apiKey = await findApiKey(options)
  const lines = (await readText(await ask(gatewayUrl(options), path, { method: 'POST', apiKey }))).trim()
  const last = JSON.parse(lines || '{}') as Partial<RedeliveryCounts & { code: string, message: string }>
  if (last.sent === undefined) throw new CommandFailed(last.message ?? 'the gateway broke off: ask again for what is left')
  print(last as RedeliveryCounts, options.json, describeCounts)
}

function describeCounts ({ webhook, sent, undelivered }: RedeliveryCounts): string {
  return `${webhook}: ${sent} sent again, ${undelivered} of them undelivered again\n`
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
