import { createInterface } from 'node:readline'
import { Argument, type Command } from 'commander'
import { rebuildable, type Rebuildable, type RebuildEvent } from '../gateway/rebuild.js'
import { CommandFailed } from './failure.js'
import { addGatewayOptions, ask, findApiKey, gatewayUrl, reasonOption, withReason } from './gateway.js'
import type { GatewayOptions, ReasonOptions } from './gateway.js'
import { addProgressOption, startProgress, type Progress } from './progress.js'
import { print, printJson } from './print.js'

interface RebuildOptions extends GatewayOptions, ReasonOptions {
  readonly json?: boolean
  readonly progress: boolean
}

type Done = Extract<RebuildEvent, { type: 'done' }>

interface Difference {
  readonly kind: string
  readonly partition: number
  readonly key: string
  readonly field?: string
  readonly live?: unknown
  readonly rebuilt?: unknown
}

const valueChars = 60

export function addRebuild (program: Command): void {
  const command = program.command('rebuild')
    .description('build a table again from its stream, compare it with the live one, and replace that')
    .addArgument(new Argument('<table>', 'which one').choices(rebuildable))
    .addOption(reasonOption())
    .option('--json', 'print NDJSON, as the gateway tells it')
  addProgressOption(addGatewayOptions(command)).action(rebuild)
}

async function rebuild (table: Rebuildable, options: RebuildOptions): Promise<void> {
  const apiKey = await findApiKey(options)
  const path = withReason('/v1/rebuilds', options)
  const response = await ask(gatewayUrl(options), path, { method: 'POST', apiKey, body: { table } })
  let progress: Progress | undefined
  let blocks = 0
  let last: RebuildEvent | undefined
  for await (const line of createInterface({ input: response })) {
    if (line === '') continue
    last = JSON.parse(line) as RebuildEvent
    if (options.json) printJson(line)
    if (last.type === 'started') {
      progress = startProgress({ label: `rebuild ${table}`, total: last.blocks, unit: 'blocks', ...options })
    } else if (last.type === 'progress' || last.type === 'comparing') {
      progress?.add(last.blocks - blocks)
      blocks = last.blocks
    }
  }
  progress?.end()
  if (last?.type === 'failed') throw new CommandFailed(`${table} is as it was: ${last.message} (${last.code})`)
  if (last?.type !== 'done') throw new CommandFailed(`the gateway broke off, and ${table} is as it was`)
  if (!options.json) print(last, false, describe)
}

function describe ({ table, seconds, entries, compared, differences }: Done): string {
  const { missing, extra, differing, unsettled = 0, ...counted } = compared
  const what = Object.entries(counted).map(([name, count]) => `${count.toLocaleString('en-US')} ${name}`).join(', ')
  const rate = Math.round(entries / seconds).toLocaleString('en-US')
  const lines = [
    `${table}: ${what} from ${entries.toLocaleString('en-US')} entries in ${seconds.toFixed(1)} s, ${rate} a second`,
    `the live one had ${missing} missing, ${extra} extra, ${differing} differing`,
    ...unsettled > 0 ? [`${unsettled} changed too fast to be compared`] : [],
    ...(differences as readonly Difference[]).map(describeDifference),
  ]
  return `${lines.join('\n')}\n`
}

function describeDifference ({ kind, partition, key, field, live, rebuilt }: Difference): string {
  const where = `  ${kind.padEnd(9)}  ${partition}/${key}${field === undefined ? '' : ` ${field}`}`
  if (field === undefined) return where
  return `${where}  ${[live, rebuilt].map(value => value === undefined ? '-' : shortened(value)).join(' -> ')}`
}

function shortened (value: unknown): string {
  const text = JSON.stringify(value)
  return text.length > valueChars ? `${text.slice(0, valueChars)}...` : text
}
