import { json as readJson } from 'node:stream/consumers'
import type { Command } from 'commander'
import type { Trouble } from '../gateway/health.js'
import type { FollowerLag, PartitionLag } from '../gateway/lag.js'
import { columns } from './columns.js'
import { addGatewayOptions, ask, findApiKey, gatewayUrl } from './gateway.js'
import type { GatewayOptions } from './gateway.js'
import { print, printJson } from './print.js'

interface LagOptions extends GatewayOptions {
  readonly json?: boolean
}

export function addLag (program: Command): void {
  const command = program.command('lag')
    .description('tell who is behind the streams, and by how much')
    .option('--json', 'print NDJSON, one follower a line')
  addGatewayOptions(command).action(lag)
}

async function lag (options: LagOptions): Promise<void> {
  const response = await ask(gatewayUrl(options), '/v1/lag', { apiKey: await findApiKey(options) })
  const { followers, troubles } = await readJson(response) as { followers: FollowerLag[], troubles: Trouble[] }
  if (options.json) return followers.forEach(printJson)
  print(followers, false, describe)
  print({ followers, troubles }, false, describeTroubles)
}

/** One line for each follower, and one for each partition in which it is behind. */
function describe (followers: readonly FollowerLag[]): string {
  return columns([
    ['FOLLOWER', 'STREAM', 'POSITION', 'END', 'BLOCKS', 'ENTRIES', 'BEHIND'],
    ...followers.flatMap(({ follower, stream, partitions, blocks, ms }) => [
      [follower, stream, '', '', `${blocks}`, countOf(partitions), `${ms} ms`],
      ...partitions.filter(partition => partition.blocks > 0).map(({ partition, position, end, ...lag }) => [
        '', '', `${partition}@${position}`, `${partition}@${end}`, `${lag.blocks}`, `${lag.entries ?? '?'}`,
        lag.ms === null ? '?' : `${lag.ms} ms`,
      ]),
    ]),
  ])
}

/** One line for each reason why somebody is behind, or not known of. */
function describeTroubles (
  { followers, troubles }: { readonly followers: readonly FollowerLag[], readonly troubles: readonly Trouble[] }
): string {
  return [
    ...followers.filter(({ gone }) => gone > 0).map(({ follower, stream, gone }) =>
      `${follower}: retention deleted ${gone} blocks of ${stream} before they were done\n`),
    ...followers.flatMap(({ follower, standing }) =>
      standing.map(({ partition, reason }) => `${follower}, partition ${partition}: ${reason}\n`)),
    ...troubles.map(({ condition, reason, heals }) => `${condition}: ${reason}. ${heals}\n`),
  ].join('')
}

function countOf (partitions: readonly PartitionLag[]): string {
  if (partitions.some(({ entries }) => entries === null)) return '?'
  return `${partitions.reduce((sum, { entries }) => sum + entries!, 0)}`
}
