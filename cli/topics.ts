import { json as readJson } from 'node:stream/consumers'
import type { Command } from 'commander'
import type { Topic } from '../gateway/topics.js'
import { columns } from './columns.js'
import { addGatewayOptions, ask, findApiKey, gatewayUrl } from './gateway.js'
import type { GatewayOptions } from './gateway.js'
import { print, printJson } from './print.js'

interface TopicsOptions extends GatewayOptions {
  readonly json?: boolean
}

export function addTopics (program: Command): void {
  const command = program.command('topics')
    .description('tell what each stream holds: offsets, age, retention')
    .option('--json', 'print NDJSON, one stream a line')
  addGatewayOptions(command).action(topics)
}

async function topics (options: TopicsOptions): Promise<void> {
  const response = await ask(gatewayUrl(options), '/v1/topics', { apiKey: await findApiKey(options) })
  const found = (await readJson(response) as { topics: Topic[] }).topics
  if (options.json) found.forEach(printJson)
  else print(found, false, describe)
}

/** One line for each stream, and one for each partition that holds something. */
function describe (topics: readonly Topic[]): string {
  return columns([
    ['STREAM', 'PARTITIONS', 'FIRST', 'NEXT', 'BLOCKS', 'SINCE', 'UNTIL', 'KEPT FOR'],
    ...topics.flatMap(({ stream, topic, retentionMs, retentionBytes, partitions, blocks }) => [
      [topic ?? stream, `${partitions.length}`, '', '', `${blocks}`, '', '', kept(retentionMs, retentionBytes)],
      ...partitions.filter(partition => partition.blocks > 0).map(({ partition, first, next, ...held }) => [
        '', '', `${partition}@${first}`, `${partition}@${next}`, `${held.blocks}`, time(held.firstAtMs),
        time(held.lastAtMs), '',
      ]),
    ]),
  ])
}

function kept (retentionMs: number | null, retentionBytes: number | null): string {
  const bounds = [
    ...retentionMs === null ? [] : [duration(retentionMs)],
    ...retentionBytes === null ? [] : [`${retentionBytes} bytes`],
  ]
  return bounds.join(', ') || 'ever'
}

function duration (ms: number): string {
  const hours = ms / 3_600_000
  if (hours >= 48) return `${Math.round(hours / 24)} days`
  return hours >= 1 ? `${Math.round(hours)} h` : `${Math.round(ms / 60_000)} min`
}

function time (atMs: number | null): string { return atMs === null ? '-' : new Date(atMs).toISOString() }
