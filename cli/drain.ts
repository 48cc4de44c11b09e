import { json as readJson } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { InvalidArgumentError } from 'commander'
import type { Command } from 'commander'
import type { DrainAnswer, DrainState } from '../gateway/drain-requests.js'
import { parseDurationMs } from './duration.js'
import { CommandFailed } from './failure.js'
import { addGatewayOptions, ask, findApiKey, gatewayUrl, reasonOption } from './gateway.js'
import type { GatewayOptions, ReasonOptions } from './gateway.js'
import { addProgressOption, startProgress } from './progress.js'
import type { Progress } from './progress.js'
import { print } from './print.js'

interface DrainOptions extends GatewayOptions, ReasonOptions {
  readonly percent: number
  readonly within: number
  readonly cancel?: boolean
  readonly json?: boolean
  readonly progress: boolean
}

const withinDefaultMs = 60_000
const askEveryMs = 500

/** A node needs a moment to see a request, and a few seconds to settle the last connections. */
const patienceMs = 30_000

export function addDrain (program: Command): void {
  const command = program.command('drain')
    .description('move the clients of NODE to other nodes, and tell where each went')
    .argument('<node>', 'node id')
    .option('--percent <n>', 'how many of a hundred connections; with fewer than 100 the node goes on afterwards', parsePercent, 100)
    .option('--within <duration>', 'time after which connections that are still there are closed, default 60s', parseDurationMs, withinDefaultMs)
    .option('--cancel', 'end a drain: the node takes clients again')
    .addOption(reasonOption())
    .option('--json', 'print the report as JSON, with each connection')
  addProgressOption(addGatewayOptions(command)).action(drain)
}

function parsePercent (text: string): number {
  const percent = Number(text)
  if (/^\d{1,3}(\.\d+)?$/.test(text) && percent > 0 && percent <= 100) return percent
  throw new InvalidArgumentError('Want a number above 0 and up to 100.')
}

async function drain (nodeId: string, options: DrainOptions): Promise<void> {
  const { percent, within: withinMs, cancel = false, reason, json = false } = options
  const url = gatewayUrl(options)
  const apiKey = await findApiKey(options)
  const path = `/v1/nodes/${encodeURIComponent(nodeId)}/drain`
  const body = { percent: cancel ? 0 : percent, withinMs, reason }
  const { drainId } = await readJson(await ask(url, path, { method: 'POST', apiKey, body })) as DrainAnswer
  if (cancel) {
    print({ nodeId, drainId }, json, ({ nodeId }) => `${nodeId} takes clients again\n`)
    return
  }
  const stateOf = async (moves: boolean) =>
    await readJson(await ask(url, `${path}?moves=${moves}`, { apiKey })) as DrainState
  await untilDone(drainId, withinMs + patienceMs, options.progress, () => stateOf(false))
  const state = await stateOf(true)
  print(state, json, describe)
  const lost = state.uplinksLost + state.downlinksLost
  if (lost > 0) throw new CommandFailed(`${lost} messages were lost`)
}

async function untilDone (
  drainId: string, withinMs: number, isShown: boolean, ask: () => Promise<DrainState>
): Promise<void> {
  let progress: Progress | undefined
  let shown = 0
  try {
    for (const end = Date.now() + withinMs; ; await sleep(askEveryMs)) {
      const state = await ask()
      const { nodeId, left, total } = state
      const isOurs = state.drainId === drainId
      if (isOurs && state.state === 'done') return
      if (isOurs && state.state === 'broken-off') throw new CommandFailed(`${nodeId} has gone before its drain was over`)
      if (Date.now() > end) throw new CommandFailed(`${nodeId} has not drained in time: ${left} of ${total} have left`)
      if (!isOurs || total === 0) continue
      progress ??= startProgress({ label: `drain of ${nodeId}`, total, unit: 'connections', progress: isShown })
      progress.add(left - shown)
      shown = left
    }
  } finally {
    progress?.end()
  }
}

function describe (state: DrainState): string {
  const { nodeId, total, left, closed, resumed, uplinksLost, downlinksLost, moves = [] } = state
  const nodes = new Map<string, number>()
  for (const { toNodeId } of moves) if (toNodeId !== '') nodes.set(toNodeId, (nodes.get(toNodeId) ?? 0) + 1)
  const where = [...nodes].map(([to, count]) => `${count} on ${to}`).join(', ')
  const after = moves.filter(({ afterMs }) => afterMs >= 0).map(({ afterMs }) => afterMs).sort((a, b) => a - b)
  const dark = moves.filter(({ darkMs }) => darkMs > 0)
  const lines = [
    `${left} of ${total} connections have left ${nodeId}, ${closed} of them closed by it`,
    `${resumed} resumed${where === '' ? '' : `: ${where}`}`,
  ]
  if (after.length > 0) {
    lines.push(`after ${after[Math.trunc(after.length / 2)]} ms in the middle, ${after.at(-1)} ms at most; ` +
      `${dark.length} were without a connection in between`)
  }
  if (state.members > 0) lines.push(`${state.membersResumed} of ${state.members} members of rooms are back`)
  lines.push(`messages lost: ${uplinksLost} uplinks, ${downlinksLost} downlinks`)
  return `${lines.join('\n')}\n`
}
