import { type Moment, parseMoment, parsePastTime, timeWanted } from '../evidence/moment.js'
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
  const atMs = pastTimeOption(option, text, nowMs)
  if (atMs !== undefined) return atMs
  throw new CommandFailed(`${option}: got ${JSON.stringify(text)}, ${timeWanted}`, { exitCode: 2 })
}

/**
 * Undefined for what is no time.
 *
 * @throws CommandFailed with exit code 2 where it is in the future: nothing is known of then, which is no empty answer
 */
export function pastTimeOption (option: string, text: string, nowMs: number): number | undefined {
  try {
    return parsePastTime(text, nowMs)
  } catch (cause) {
    throw new CommandFailed(`${option}: ${(cause as RangeError).message}`, { exitCode: 2, cause })
  }
}

/** `2026-11-20 14:03:05.120 UTC`. */
export function timeText (atMs: number): string {
  return `${new Date(atMs).toISOString().replace('T', ' ').replace('Z', '')} UTC`
}
