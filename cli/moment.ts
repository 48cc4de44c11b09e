import { type Moment, parseMoment, parseTime } from '../evidence/moment.js'
import { CommandFailed } from './failure.js'

/** @throws CommandFailed with exit code 2 where it is neither a time nor a position */
export function momentOption (option: string, text: string, nowMs = Date.now()): Moment {
  try {
    return parseMoment(text, nowMs)
  } catch (cause) {
    throw new CommandFailed(`${option}: ${(cause as RangeError).message}`, { exitCode: 2, cause })
  }
}

/** For commands about many users, whose entries are in several partitions: a time alone, ms since 1970. */
export function timeOption (option: string, text: string, nowMs = Date.now()): number {
  const atMs = parseTime(text, nowMs)
  if (atMs !== undefined) return atMs
  const message = `${option}: got ${JSON.stringify(text)}, want a time: 2h, 30m, 7d ago, or 2026-11-20T10:00`
  throw new CommandFailed(message, { exitCode: 2 })
}

/** `2026-11-20 14:03:05.120 UTC`. */
export function timeText (atMs: number): string {
  return `${new Date(atMs).toISOString().replace('T', ' ').replace('Z', '')} UTC`
}
