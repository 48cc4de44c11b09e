import type { Command } from 'commander'
import { blocksBefore, type Counts, presenceAt, presenceOfUserAt, type PresenceView } from '../evidence/presence.js'
import type { Presence } from '../projections/presence.js'
import { addLogOptions, type LogOptions, openLogReader } from './log.js'
import { timeOption, timeText } from './moment.js'
import { addProgressOption, startProgress } from './progress.js'
import { appOption, type AppOptions, keyOf, parseUserId } from './user-id.js'
import { print } from './print.js'

interface PresenceOptions extends LogOptions, AppOptions {
  readonly at?: string
  readonly user?: string
  readonly json?: boolean
  readonly progress: boolean
}

export function addPresence (program: Command): void {
  const command = program.command('presence')
    .description('show who was online, and on which nodes, at a time')
    .option('--at <time>', '2h ago, or 2026-11-20T10:00; default now')
    .option('--user <id>', 'only the sessions of this user', parseUserId)
    .addOption(appOption())
    .option('--json', 'print JSON')
  addLogOptions(addProgressOption(command)).action(presence)
}

async function presence (options: PresenceOptions): Promise<void> {
  const { at, user, json } = options
  const atMs = at === undefined ? Date.now() : timeOption('--at', at)
  const log = await openLogReader(options)
  try {
    if (user !== undefined) {
      const found = await presenceOfUserAt(log, keyOf(options, user), atMs)
      print(found, json, describeUser)
      return
    }
    const total = await blocksBefore(log, atMs)
    const progress = startProgress({ label: 'presence', total, unit: 'blocks', progress: options.progress })
    const view = await presenceAt(log, { atMs, read: () => { progress.add(1) } }).finally(() => { progress.end() })
    print(view, json, describe)
  } finally {
    await log.close()
  }
}

function describe (view: PresenceView): string {
  const { atMs, knownSinceMs, users, connections, byNode, byPlatform, byTransport, nodes } = view
  return [
    `at ${timeText(atMs)}: ${users} users online, ${connections} connections`,
    ...knownText(knownSinceMs),
    ...describeCounts('by node', byNode),
    ...describeCounts('by platform', byPlatform),
    ...describeCounts('by transport', byTransport),
    '',
    nodes.length > 0 ? 'nodes:' : 'nodes: none is known',
    ...nodes.map(({ nodeId, state, alive, region, roles, reported, startedAtMs }) =>
      `  ${nodeId}  ${state}${state === 'up' && !alive ? ', silent' : ''}  ${region}  ${roles}  ` +
      `${reported.connections} connections reported, started ${timeText(startedAtMs)}`),
    '',
  ].join('\n')
}

function knownText (knownSinceMs: number | null): string[] {
  if (knownSinceMs === null) return []
  return [`The ledger is kept from ${timeText(knownSinceMs)}: connections opened before are not known.`]
}

function describeCounts (title: string, counts: Counts): string[] {
  const rows = Object.entries(counts)
  if (rows.length === 0) return []
  return ['', `${title}:`, ...rows.map(([name, count]) => `  ${String(count).padStart(9)}  ${name}`)]
}

function describeUser (view: Presence & Pick<PresenceView, 'atMs' | 'knownSinceMs'>): string {
  const { userId, sessions, lastSeenAtMs, atMs, knownSinceMs } = view
  const seen = lastSeenAtMs === null ? 'never seen' : `last seen ${timeText(lastSeenAtMs)}`
  return [
    `${userId} at ${timeText(atMs)}: ${sessions.length > 0 ? 'online' : `offline, ${seen}`}`,
    ...knownText(knownSinceMs),
    ...sessions.map(({ connectionId, deviceId, platform, nodeId, transport, address, openedAtMs }) =>
      `  ${deviceId} (${platform}) on connection ${connectionId}, node ${nodeId}, ${transport} from ${address}, ` +
      `since ${timeText(openedAtMs)}`),
    '',
  ].join('\n')
}
