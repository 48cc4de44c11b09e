import type { Effect } from '../actors/user/effects.js'
import { fold } from '../actors/user/fold.js'
import { newUser, type UserState } from '../actors/user/state.js'
import { formatPosition, type Position } from '../ledger/log.js'
import type { Entry } from '../schemas/facts.js'

/** One entry of the ledger and where it stands. */
export interface Placed { readonly position: Position, readonly entry: Entry }

/** Something that happened to what is traced. */
export interface Step {
  /** Where the entry stands that says so, `3@1021.4`. */
  readonly position: string
  readonly atMs: number
  /** Since the step before; 0 for the first. */
  readonly afterMs: number
  readonly event: string
  /** Empty where it is not known or does not matter. */
  readonly nodeId: string
  readonly connectionId: string
  readonly text: string
}

export interface Verdict {
  /** What became of it, for programs: `acked`, `expired`, `waiting`, ... */
  readonly code: string
  /** One sentence that names the first missing step and its cause. */
  readonly text: string
}

export interface Trace {
  readonly userId: string
  readonly steps: readonly Step[]
  readonly verdict: Verdict
}

/** Picks the steps of one thing out of a user's entries. */
export interface Subject {
  /** Called before the entry is folded. */
  before? (entry: Entry, state: UserState): void
  /** Called with what the production fold made of it. */
  after (entry: Entry, effects: readonly Effect[], state: UserState, step: AddStep): void
  verdict (): Verdict
}

export type AddStep = (event: string, text: string, where?: { nodeId?: string, connectionId?: string }) => void

/**
 * Folds a user's entries with the fold that ran in production, and tells what became of one thing.
 *
 * @param entries all of the user's, from the first one that is kept; others' are skipped
 */
export async function trace (
  userId: string, entries: AsyncIterable<Placed> | Iterable<Placed>, subject: Subject
): Promise<Trace> {
  const state = newUser()
  const steps: Step[] = []
  for await (const { position, entry } of entries) {
    if (entry.userId !== userId) continue
    subject.before?.(entry, state)
    const effects = fold(state, entry)
    subject.after(entry, effects, state, (event, text, { nodeId = '', connectionId = '' } = {}) => {
      const { atMs } = entry
      const afterMs = atMs - (steps.at(-1)?.atMs ?? atMs)
      steps.push({ position: formatPosition(position), atMs, afterMs, event, nodeId, connectionId, text })
    })
  }
  return { userId, steps, verdict: subject.verdict() }
}

/** `2026-11-20 14:03:05.120`, UTC: what a verdict calls a time. */
export function timeOf (atMs: number): string {
  return new Date(atMs).toISOString().replace('T', ' ').replace('Z', '')
}

/** `31 s`, `120 ms`: what a verdict calls a while. */
export function whileOf (ms: number): string {
  if (ms < 1_000) return `${ms} ms`
  if (ms < 120_000) return `${Math.round(ms / 100) / 10} s`
  return ms < 7_200_000 ? `${Math.round(ms / 6_000) / 10} min` : `${Math.round(ms / 360_000) / 10} h`
}
