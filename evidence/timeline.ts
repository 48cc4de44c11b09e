import { newUser } from '../actors/user/state.js'
import { formatPosition, type LogReader } from '../ledger/log.js'
import { shownUser } from '../schemas/apps.js'
import { partitionOf } from '../schemas/partitioning.js'
import { ledger } from '../schemas/streams.js'
import { type Beginning, beginningOf } from './beginning.js'
import { entriesOf } from './entries.js'
import { checkRange } from './inquiry.js'
import type { Line } from './lines.js'
import { isBefore, isBehind } from './moment.js'
import { type AddMark, type Mark, Marks } from './timeline-marks.js'
import { EntryFailed, foldAt, type TraceRange } from './trace.js'
import { anew } from './whole.js'

/** A mark, and the entry of the ledger that says so. */
export interface PlacedMark extends Mark {
  readonly position: string
  readonly atMs: number
}

/** One connection, as a bar of the picture. */
export interface Bar {
  readonly connectionId: string
  readonly deviceId: string
  readonly platform: string
  readonly nodeId: string
  readonly openedAtMs: number
  /** Null while it is open. */
  readonly closedAtMs: number | null
  /** How it ended; empty while it is open. */
  readonly code: string
}

/** What happened to a user, for a picture. */
export interface Timeline {
  /** Absent for the default one. */
  readonly app?: string
  readonly userId: string
  /** Oldest first. */
  readonly marks: readonly PlacedMark[]
  /** Older ones of the range that are left out. */
  readonly more: number
  /** Those that were open at some time between the first mark and the last, oldest first. */
  readonly connections: readonly Bar[]
  /** The ledger has an entry of the user. */
  readonly isKnown: boolean
  /** Where retention has deleted what was before; null where nothing was deleted. */
  readonly knownSince: Beginning | null
}

export interface TimelineRange extends TraceRange {
  /** The newest marks of the range. */
  readonly marksMax: number
}

/**
 * What happened to a user, by the fold that ran in production over all entries that are kept.
 *
 * @throws GatewayError `bad-request` for a range with a position of another partition than the user's
 */
export async function timelineOf (log: LogReader, userId: string, range: TimelineRange): Promise<Timeline> {
  checkRange(log, userId, range)
  const setAside = new Set<string>()
  for (;;) {
    try {
      return await anew(() => timelineIn(log, userId, range, setAside))
    } catch (err) {
      if (!(err instanceof EntryFailed)) throw err
      setAside.add(err.position)
    }
  }
}

async function timelineIn (
  log: LogReader, userId: string, { since, until, marksMax }: TimelineRange, setAside: ReadonlySet<string>
): Promise<Timeline> {
  const state = newUser()
  const all = new Marks()
  const marks: PlacedMark[] = []
  let more = 0
  let isKnown = false
  for await (const placed of entriesOf(log, userId)) {
    if (until && isBehind(until, placed)) break
    isKnown = true
    const { entry } = placed
    const position = formatPosition(placed.position)
    const isShown = !since || !isBefore(since, placed)
    const add: AddMark = (event, about) => {
      if (isShown) marks.push({ position, atMs: entry.atMs, ...nothing, ...about, event })
    }
    if (setAside.has(position)) add('set-aside', { text: `${entry.fact.type} made the fold fail` })
    else all.after(entry, foldAt(position, state, entry), state, add)
    if (marks.length >= 2 * marksMax) more += marks.splice(0, marks.length - marksMax).length
  }
  if (marks.length > marksMax) more += marks.splice(0, marks.length - marksMax).length
  return {
    ...shownUser(userId),
    marks,
    more,
    connections: barsOf(all.lines.all(), marks).slice(-marksMax),
    isKnown,
    knownSince: await beginningOf(log, partitionOf(userId, log.partitions(ledger))),
  }
}

const nothing = { deviceId: '', connectionId: '', messageId: '', seq: 0, code: '', text: '' }

function barsOf (lines: Iterable<Line>, marks: readonly PlacedMark[]): Bar[] {
  const firstAtMs = marks[0]?.atMs ?? Infinity
  const lastAtMs = marks.at(-1)?.atMs ?? 0
  const bars: Bar[] = []
  for (const { connectionId, nodeId, openedAtMs, opened: { deviceId, platform }, end } of lines) {
    if (openedAtMs > lastAtMs || (end?.atMs ?? Infinity) < firstAtMs) continue
    const closedAtMs = end?.atMs ?? null
    bars.push({ connectionId, deviceId, platform, nodeId, openedAtMs, closedAtMs, code: end?.closed.code ?? '' })
  }
  return bars
}
