import { formatPosition, parsePosition, type Position } from '../ledger/log.js'
import type { Placed } from './trace.js'

/** A point in a user's history, itself included. */
export type Moment =
  /** Before the first of the user's entries that is later than this. */
  | { readonly type: 'time', readonly atMs: number }
  /** Right behind one entry or, where the position named no index, behind a whole block. */
  | { readonly type: 'position', readonly position: Position, readonly wholeBlock: boolean }

const unitsMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

export const timeWanted = 'want a time: now, 2h, 30m, 7d ago, or 2026-11-20T10:00'
export const momentWanted =
  'want a time (now, 2h, 30m, 7d ago, or 2026-11-20T10:00) or a position (3@1021 or 3@1021.4)'

/** The clock of whoever asks may be ahead of ours. */
const clocksDifferMs = 60_000

/** Undefined for what is no time. Without a zone it is UTC, as all times are that a command prints. */
export function parseTime (text: string, nowMs: number): number | undefined {
  if (text === 'now') return nowMs
  const ago = /^(?!0+\D)(\d{1,9})(ms|s|m|h|d)$/.exec(text)
  if (ago) return nowMs - Number(ago[1]) * unitsMs[ago[2]!]!
  const match = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})?)?$/.exec(text)
  if (!match) return undefined
  const [, time, zone] = match
  const atMs = Date.parse(time === undefined || zone !== undefined ? text : `${text}Z`)
  return Number.isNaN(atMs) ? undefined : atMs
}

/**
 * As `parseTime`, of a time that something is known of.
 *
 * @throws RangeError where it is in the future
 */
export function parsePastTime (text: string, nowMs: number): number | undefined {
  const atMs = parseTime(text, nowMs)
  if (atMs !== undefined && atMs > nowMs + clocksDifferMs) {
    throw new RangeError(`got ${JSON.stringify(text)}, which is in the future, want a time that has been`)
  }
  return atMs
}

/**
 * Reads `now`, `2h`, `2026-11-20T10:00`, `3@1021` or `3@1021.4`.
 *
 * @throws RangeError where `text` is none of these, or a time in the future
 */
export function parseMoment (text: string, nowMs: number): Moment {
  const atMs = parsePastTime(text, nowMs)
  if (atMs !== undefined) return { type: 'time', atMs }
  try {
    return { type: 'position', position: parsePosition(text), wholeBlock: !text.includes('.') }
  } catch (cause) {
    throw new RangeError(`got ${JSON.stringify(text)}, ${momentWanted}`, { cause })
  }
}

export function isBehind (moment: Moment, { position, entry }: Placed<{ readonly atMs: number }>): boolean {
  if (moment.type === 'time') return entry.atMs > moment.atMs
  const { offset, index } = moment.position
  return position.offset > offset || (position.offset === offset && !moment.wholeBlock && position.index > index)
}

export function isBefore (moment: Moment, { position, entry }: Placed<{ readonly atMs: number }>): boolean {
  if (moment.type === 'time') return entry.atMs < moment.atMs
  const { offset, index } = moment.position
  return position.offset < offset || (position.offset === offset && !moment.wholeBlock && position.index < index)
}

/** As it was asked for: `3@1021`, `3@1021.4`, or a time in ISO 8601. */
export function formatMoment (moment: Moment): string {
  if (moment.type === 'time') return new Date(moment.atMs).toISOString()
  const { position, wholeBlock } = moment
  return wholeBlock ? `${position.partition}@${position.offset}` : formatPosition(position)
}
