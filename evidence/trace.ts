import type { Effect } from '../actors/user/effects.js'
import { fold } from '../actors/user/fold.js'
import { newUser, type UserState } from '../actors/user/state.js'
import { formatPosition, type Position } from '../ledger/log.js'
import type { RoomTrace } from './rooms/trace.js'
import { shownUser, userInWords } from '../schemas/apps.js'
import type { Entry } from '../schemas/facts.js'
import type { Beginning } from './beginning.js'
import { isBefore, isBehind, type Moment } from './moment.js'
import type { StepEvent } from './step-events.js'
import type { Surroundings } from './surroundings.js'

/** One entry, of the ledger where nothing else is said, and where it stands. */
export interface Placed<E extends { readonly atMs: number } = Entry> {
  readonly position: Position
  readonly entry: E
}

/** Something that happened to what is traced. */
export interface Step {
  /** Where the entry stands that says so: `3@1021.4`, and of another stream than the ledger `posts 3@1021.4`. */
  readonly position: string
  readonly atMs: number
  /** Since the step before; 0 for the first. */
  readonly afterMs: number
  readonly event: StepEvent
  /** The way between two steps that ends here, `sent-written`, and how long it took; empty and 0 for none. */
  readonly stage: string
  readonly stageMs: number
  /** Empty where it is not known or does not matter. */
  readonly nodeId: string
  readonly connectionId: string
  readonly text: string
}

export interface Verdict {
  /** What became of it, for programs: `acked`, `unacked`, `expired`, `waiting`, ... (docs/debugging.md). */
  readonly code: string
  /** Why, or why it went wrong at first: mostly a code of errors.ts. Empty where all went well. */
  readonly cause: string
  /** One sentence that names the first missing step and its cause. */
  readonly text: string
}

export interface Trace {
  /** Absent for the default one. */
  readonly app?: string
  readonly userId: string
  readonly steps: readonly Step[]
  readonly verdict: Verdict
  /** Of an uplink that names a room: what became of it there. */
  readonly post?: RoomTrace
}

/** Picks the steps of one thing out of a user's entries. */
export interface Subject {
  /** Called with what the production fold made of an entry. */
  after (entry: Entry, effects: readonly Effect[], state: UserState, step: AddStep): void
  /** Called when all entries are folded. */
  verdict (surroundings: Surroundings): Promise<Verdict>
}

export interface TraceRange { readonly since?: Moment | undefined, readonly until?: Moment | undefined }

export type AddStep = (event: StepEvent, text: string, more?: StepDetails) => void

export interface StepDetails {
  readonly nodeId?: string
  readonly connectionId?: string
  /** The stage that ends with this step, and when it began. */
  readonly stage?: string
  readonly sinceMs?: number
}

/**
 * Folds a user's entries with the fold that ran in production, and tells what became of one thing.
 *
 * @param entries all of the user's, from the first one that is kept; others' are skipped
 * @param range.since steps before it are not shown, though folded
 * @param range.until the verdict knows nothing behind it
 * @param setAside positions of entries that the fold failed at, in production too: it went on without them
 * @throws EntryFailed where the fold fails at one more; the subject is of no use then
 */
export async function trace (
  userId: string, entries: AsyncIterable<Placed> | Iterable<Placed>, subject: Subject, surroundings: Surroundings,
  { since, until }: TraceRange = {}, setAside: ReadonlySet<string> = new Set()
): Promise<Trace> {
  const state = newUser()
  const steps: Step[] = []
  let known = false
  for await (const placed of entries) {
    const { position, entry } = placed
    if (entry.userId !== userId) continue
    if (until && isBehind(until, placed)) break
    known = true
    const isShown = !since || !isBefore(since, placed)
    const where = formatPosition(position)
    const step: AddStep = (event, text, details) => {
      if (isShown) addStep(steps, where, entry.atMs, event, text, details)
    }
    if (setAside.has(where)) step('set-aside', `${entry.fact.type} made the fold fail and was set aside: as if it had not been`)
    else subject.after(entry, foldAt(where, state, entry), state, step)
  }
  const verdict = await subject.verdict(surroundings)
  return { ...shownUser(userId), steps, verdict: known ? verdict : withoutEntries(userId, verdict, surroundings) }
}

export function addStep (
  steps: Step[], position: string, atMs: number, event: StepEvent, text: string, details: StepDetails = {}
): void {
  const { nodeId = '', connectionId = '', stage = '', sinceMs = atMs } = details
  const afterMs = atMs - (steps.at(-1)?.atMs ?? atMs)
  const stageMs = stage === '' ? 0 : atMs - sinceMs
  steps.push({ position, atMs, afterMs, event, stage, stageMs, nodeId, connectionId, text })
}

/** The fold fails at an entry, and the state is half changed. */
export class EntryFailed extends Error {
  override readonly name = 'EntryFailed'

  constructor (readonly position: string, cause: unknown) {
    super(`the fold fails at ${position}`, { cause })
  }
}

/** @throws EntryFailed */
export function foldAt (position: string, state: UserState, entry: Entry): Effect[] {
  try {
    return fold(state, entry)
  } catch (cause) {
    throw new EntryFailed(position, cause)
  }
}

/** Verdicts that say that the ledger knows nothing of it. */
const unknowns: ReadonlySet<string> = new Set(['never-requested', 'no-session', 'no-connection'])

function withoutEntries (userId: string, verdict: Verdict, { keptSince }: Surroundings): Verdict {
  if (!unknowns.has(verdict.code) || keptSince) return verdict
  return { code: 'unknown-user', cause: '', text: `No entry of the ledger is of a user ${userInWords(userId)}.` }
}

/**
 * What is to be said where the beginning of the ledger is deleted and what is kept does not suffice.
 *
 * @param what is not there, the beginning of a sentence
 */
export function notKept (what: string, { position, atMs }: Beginning, stream = 'the ledger'): Verdict {
  const since = atMs === null ? position : `${timeOf(atMs)} (${position})`
  const text = `${what} in what is kept of ${stream}, which begins at ${since}: retention has deleted what was before.`
  return { code: 'not-kept', cause: '', text }
}

/** `2026-11-20 14:03:05.120`, UTC: what a verdict calls a time. */
export function timeOf (atMs: number): string {
  return new Date(atMs).toISOString().replace('T', ' ').replace('Z', '')
}

/** `31 s`, `120 ms`: what a verdict calls a while. */
export function whileOf (ms: number): string {
  if (ms < 1_000) return `${ms} ms`
  if (ms < 120_000) return `${Math.round(ms / 100) / 10} s`
  if (ms < 7_200_000) return `${Math.round(ms / 6_000) / 10} min`
  return ms < 172_800_000 ? `${Math.round(ms / 360_000) / 10} h` : `${Math.round(ms / 8_640_000) / 10} days`
}
