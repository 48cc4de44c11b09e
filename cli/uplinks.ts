import { createInterface } from 'node:readline'
import type { Command } from 'commander'
import { addGatewayOptions, ask, findApiKey, gatewayUrl } from './gateway.js'
import type { GatewayOptions } from './gateway.js'
import { payloadText } from './payload-text.js'
import type { JsonPayload } from '../schemas/payload.js'
import { complain, print, printJson } from './print.js'
import { appOption, type AppOptions } from './user-id.js'

interface UplinksOptions extends GatewayOptions, AppOptions {
  readonly follow?: boolean
  readonly after?: string
  readonly service?: string
  readonly limit?: string
  readonly json?: boolean
}

interface Line {
  readonly cursor: string
  readonly app?: string
  readonly userId: string
  readonly userSeq: number
  readonly deviceId: string
  readonly service: string
  readonly payload: JsonPayload
  readonly receivedAtMs: number
  /** Empty for none; a gateway before rooms tells of none. */
  readonly roomId?: string
}

interface HoleLine { readonly hole: { readonly partition: number, readonly from: string, readonly to: string } }

export function addUplinks (program: Command): void {
  const command = program.command('uplinks')
    .description('print accepted uplinks')
    .option('--follow', 'go on with new ones as they come')
    .option('--after <cursor>', 'only those behind this cursor; now: only new ones')
    .option('--service <name>', 'only those for this service')
    .option('--limit <count>', 'stop after so many')
    .addOption(appOption('of the users of this app, one of LEDGERLINE_APPS; by default of that of no name'))
    .option('--json', 'print NDJSON, each line with its cursor')
  addGatewayOptions(command).action(printUplinks)
}

async function printUplinks (options: UplinksOptions): Promise<void> {
  const query = new URLSearchParams()
  if (options.follow) query.set('follow', 'true')
  if (options.after !== undefined) query.set('after', options.after)
  if (options.service !== undefined) query.set('service', options.service)
  if (options.limit !== undefined) query.set('limit', options.limit)
  if (options.app !== undefined) query.set('app', options.app)
  const stop = new AbortController()
  process.once('SIGINT', () => stop.abort())
  process.once('SIGTERM', () => stop.abort())
  const apiKey = await findApiKey(options)
  try {
    const response = await ask(gatewayUrl(options), `/v1/uplinks?${query}`, { apiKey, signal: stop.signal })
    if (response.headers['ledgerline-gap']) {
      complain('some uplinks behind this cursor are gone: retention has deleted them')
    }
    for await (const line of createInterface({ input: response })) {
      if (line === '') continue
      const told = JSON.parse(line) as Line | HoleLine
      if (options.json) printJson(line)
      else if ('hole' in told) tellOfHole(told)
      else print(told, false, describe)
    }
    // A reader of lines takes a connection that broke for the end.
    if (!response.complete && !stop.signal.aborted) throw new Error('the gateway broke off')
  } catch (err) {
    if (!stop.signal.aborted) throw err
  }
}

function tellOfHole ({ hole: { partition, from, to } }: HoleLine): void {
  const where = `${partition}@${from} to ${partition}@${BigInt(to) - 1n}`
  complain(`the uplinks in ${where} are gone: retention has deleted them`)
}

function describe ({ userId, userSeq, deviceId, service, payload, receivedAtMs, roomId = '' }: Line): string {
  const time = new Date(receivedAtMs).toISOString()
  const where = `${service === '' ? '' : ` [${service}]`}${roomId === '' ? '' : ` in ${roomId}`}`
  return `${time} ${userId}/${deviceId} #${userSeq}${where} ${payloadText(payload)}\n`
}
