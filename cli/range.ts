import type { Command } from 'commander'
import { parseTime } from '../evidence/moment.js'
import { parsePosition, type LogReader, type Position } from '../ledger/log.js'
import { partitionOf } from '../schemas/partitioning.js'
import type { Stream } from '../schemas/streams.js'
import { CommandFailed } from './failure.js'
import { pastTimeOption } from './moment.js'

export interface RangeOptions {
  readonly since?: string
  readonly until?: string
  readonly partition?: string
  /** The partition of this user alone, for commands with `--user`. */
  readonly user?: string
}

/** One piece of a stream: blocks from `from` up to but without `to`. */
export interface PartitionRange {
  readonly partition: number
  readonly from: bigint
  readonly to: bigint
}

/** One end of a range, as it was asked for. */
type Edge =
  | { readonly type: 'beginning' }
  | { readonly type: 'time', readonly atMs: number }
  | { readonly type: 'position', readonly position: Position }
  | { readonly type: 'back', readonly blocks: bigint }

const want = 'want a time (2h, 30m, 7d ago, or 2026-11-20T10:00), a position (3@1021 or 3@1021.4), "beginning", ' +
  'or -1000 for so many blocks before the end of each partition'

export function addRangeOptions (command: Command): Command {
  return command
    .option('--since <place>', 'where to begin: 2h, 2026-11-20T10:00, 3@1021, -1000; default the beginning')
    .option('--until <place>', 'where to end, in the same forms; default the end')
    .option('--partition <number>', 'only this partition')
}

/**
 * What the options ask for of `stream`: one range for each partition that has something of it, clipped to what is kept.
 * Ranges are of whole blocks: the first one has `since` in it or behind it, the last one what is just before `until`.
 *
 * @throws CommandFailed with exit code 2 when an option is not understood, or they contradict each other
 */
export async function rangesOf (
  log: LogReader, stream: Stream<any>, { since, until, partition, user }: RangeOptions, nowMs = Date.now()
): Promise<PartitionRange[]> {
  const start = since === undefined ? undefined : edgeOf('--since', since, nowMs)
  const end = until === undefined ? undefined : edgeOf('--until', until, nowMs)
  if (start?.type === 'time' && end?.type === 'time' && start.atMs >= end.atMs) {
    throw wrong(`--since ${since} is not before --until ${until}`)
  }
  if (start?.type === 'position' && end?.type === 'position' && !isBefore(start.position, end.position)) {
    throw wrong(`--since ${since} is not before --until ${until}`)
  }
  const ranges: PartitionRange[] = []
  for (const number of partitionsOf(log.partitions(stream), start, end, partition, user)) {
    const bounds = await log.bounds(stream, number)
    const offset = (edge: Edge, roundUp: boolean) => offsetOf(edge, log, stream, number, bounds, roundUp)
    const from = start === undefined ? bounds.first : greatest(await offset(start, false), bounds.first)
    const to = end === undefined ? bounds.next : least(await offset(end, true), bounds.next)
    if (from < to) ranges.push({ partition: number, from, to })
  }
  return ranges
}

async function offsetOf (
  edge: Edge, log: LogReader, stream: Stream<any>, partition: number, { first, next }: { first: bigint, next: bigint },
  roundUp: boolean
): Promise<bigint> {
  switch (edge.type) {
    case 'beginning': return first
    case 'time': return await log.offsetAt(stream, partition, edge.atMs)
    case 'back': return next - edge.blocks
    // Up to an entry within a block: what comes before it is in that block.
    case 'position': return edge.position.offset + (roundUp && edge.position.index > 0 ? 1n : 0n)
  }
}

function edgeOf (option: string, text: string, nowMs: number): Edge {
  if (text === 'beginning') return { type: 'beginning' }
  if (/^-\d{1,15}$/.test(text)) return { type: 'back', blocks: -BigInt(text) }
  // A range may go on to a time that is still to come, but not begin there.
  const atMs = option === '--since' ? pastTimeOption(option, text, nowMs) : parseTime(text, nowMs)
  if (atMs !== undefined) return { type: 'time', atMs }
  try {
    return { type: 'position', position: parsePosition(text) }
  } catch (cause) {
    throw new CommandFailed(`${option}: got ${JSON.stringify(text)}, ${want}`, { exitCode: 2, cause })
  }
}

function partitionsOf (
  count: number, start: Edge | undefined, end: Edge | undefined, option: string | undefined, user: string | undefined
): number[] {
  const named = new Map<number, string>()
  if (start?.type === 'position') named.set(start.position.partition, '--since')
  if (end?.type === 'position') named.set(end.position.partition, '--until')
  if (option !== undefined) named.set(/^\d{1,9}$/.test(option) ? Number(option) : NaN, '--partition')
  const own = user === undefined ? undefined : partitionOf(user, count)
  if (named.size === 0) return own === undefined ? Array.from({ length: count }, (_, partition) => partition) : [own]
  if (named.size > 1) throw wrong('--since, --until and --partition name several partitions')
  const [[partition, name]] = [...named] as [[number, string]]
  if (partition < count && own !== undefined && partition !== own) {
    throw wrong(`${name}: got partition ${partition}, want ${own}, where everything of ${user} is`)
  }
  if (partition < count) return [partition]
  const got = Number.isNaN(partition) ? JSON.stringify(option) : `partition ${partition}`
  throw wrong(`${name}: got ${got}, want 0 to ${count - 1}`)
}

/** Of one partition; of two, the ranges say what is wrong. */
function isBefore (a: Position, b: Position): boolean {
  if (a.partition !== b.partition) return true
  return a.offset < b.offset || (a.offset === b.offset && a.index < b.index)
}

function wrong (message: string): CommandFailed { return new CommandFailed(message, { exitCode: 2 }) }

function greatest (a: bigint, b: bigint): bigint { return a > b ? a : b }

function least (a: bigint, b: bigint): bigint { return a < b ? a : b }
