import { priorities } from '../actors/connection/priority.js'
import type { Health } from '../schemas/conditions.js'
import { AdmissionLevel, userParts } from './admission-level.js'

/** How often it is looked whether a window is over. */
const lookEveryMs = 250

/** A window ends after so long, or so many uplinks; what the one before has changed must be felt in it. */
const windowMs = 1_000
const windowUplinks = 2_000

/** In a window of fewer uplinks nothing is taken for overload: a pause of the process is one, and is over. */
const uplinksMin = 200

/** Overload must last for so long, and so many windows, before anybody is refused: a pause makes one window long. */
const patienceMs = 2_000
const patienceWindows = 3

/**
 * Who is held back waits for its own kind alone, and the larger its reads, the less each uplink costs: a second of that
 * counts as much as this part of a second of what everybody waits.
 */
const heldPart = 0.02

/** Where those that are held back wait for less, in the mean, nobody need be. */
const heldMsMin = 100

/** For so long after it, clients that come in waves are taken for one overload. */
const restMs = 10_000

/** By how much less is let in after a window of overload, by the wait, and by how much more after another one. */
const lessShare = 0.05
const lessShareMax = 0.1
const moreShare = 0.01

/** A wait that has become shorter by so much: what waits is being worked off, and less need not be let in. */
const fallingShare = 0.1

/** After so many windows with half of the wait, each lets in twice as much more as the one before. */
const calmWindows = 4

/**
 * What was measured since the last call: how long an uplink waits for others between its read and its fold, in the
 * mean, ms, and the same of quiet connections; how long one was held back before its read; and how many entries were
 * folded.
 */
export type Waits = () => { ms: number, quietMs: number, heldMs: number, entries: number }

/**
 * Whether uplinks wait too long for this process, and who is let in then: those of the highest priority, and within a
 * priority a part of the users that another hour chooses anew. What is refused costs its reading alone.
 */
export class Overload {
  readonly #admission: AdmissionLevel
  readonly #waitMsMax: number
  #uplinks = 0
  /** Quiet connections wait for nobody, so they are no part of the trouble: none of theirs is refused. */
  #sparesQuiet = true
  /** Uplinks are counted by their place, for there is overload, or was a moment ago. */
  #counts = false
  #windowAtMs: number
  /** Windows of overload in a row, and when the first of them began. */
  #overs = 0
  #overSinceMs = 0
  #calm = 0
  /** When somebody was refused, or held back for long. */
  #lastedAtMs = -Infinity
  /** Of the last window; 0 where it had too few uplinks. */
  waitMs = 0
  /** Since the last report. */
  #waitedMs = 0
  #windows = 0

  /** @param waitMsMax the mean wait above which there is overload; 0: nobody is ever refused */
  constructor (
    waitMsMax: number, readonly waits: Waits, readonly health: Health,
    readonly nowMs: () => number = () => performance.now(), dateMs: () => number = Date.now
  ) {
    this.#waitMsMax = waitMsMax
    this.#admission = new AdmissionLevel(dateMs)
    this.#windowAtMs = nowMs()
  }

  /** There is overload, or was a moment ago: see `Work`. */
  get lasts (): boolean { return this.#windowAtMs - this.#lastedAtMs < restMs }

  /** See `AdmissionLevel.height`. */
  get level (): number { return this.#admission.height }

  /**
   * One uplink came.
   *
   * @param isQuiet its connection is no part of the trouble as long as quiet ones do not wait
   * @returns false where it is to be refused
   */
  admits (userId: string, priority: number, isQuiet: boolean): boolean {
    this.#uplinks++
    if (!this.#counts || this.#admission.count(userId, priority)) return true
    return this.#sparesQuiet && isQuiet
  }

  /** A connection counts as a quiet one's uplink of no priority. */
  admitsConnect (userId: string): boolean { return this.#sparesQuiet || this.#admission.isIn(userId, 0) }

  /** The mean wait of the windows since the last call, ms. */
  takeWaitMs (): number {
    const ms = this.#windows === 0 ? 0 : this.#waitedMs / this.#windows
    this.#waitedMs = this.#windows = 0
    return ms
  }

  /** Looks from now on. @returns what ends it */
  start (): () => void {
    if (this.#waitMsMax === 0) return () => {}
    const timer = setInterval(() => { this.look() }, lookEveryMs).unref()
    return () => { clearInterval(timer) }
  }

  /** Ends the window where it is over. */
  look (): void {
    const nowMs = this.nowMs()
    const elapsedMs = nowMs - this.#windowAtMs
    if (elapsedMs < lookEveryMs / 2 || (elapsedMs < windowMs && this.#uplinks < windowUplinks)) return
    const beforeMs = this.waitMs
    const { ms, quietMs, heldMs, entries } = this.waits()
    this.#sparesQuiet = quietMs <= this.#waitMsMax
    // A node without an edge has no uplinks, and its entries wait.
    this.waitMs = Math.max(this.#uplinks, entries) >= uplinksMin ? ms + heldPart * heldMs : 0
    this.#waitedMs += this.waitMs
    this.#windows++
    if (this.#counts) this.#admission.fade(elapsedMs)
    const isOver = this.waitMs > this.#waitMsMax && this.#uplinks >= uplinksMin
    if (isOver) this.#over(nowMs, this.waitMs < (1 - fallingShare) * beforeMs)
    else this.#under()
    if (this.level > 0 || heldMs >= heldMsMin) this.#lastedAtMs = nowMs
    this.#uplinks = 0
    this.#windowAtMs = nowMs
  }

  #over (nowMs: number, isFalling: boolean): void {
    this.#calm = 0
    this.#counts = true
    if (this.#overs++ === 0) this.#overSinceMs = this.#windowAtMs
    const lasts = this.#overs >= patienceWindows && nowMs - this.#overSinceMs >= patienceMs
    if (this.level === 0 && !lasts) return
    if (!isFalling) this.#admission.lower(Math.min(lessShareMax, lessShare * this.waitMs / this.#waitMsMax))
    if (this.level > 0) this.health.begin('overload', this.#reason())
  }

  #under (): void {
    this.#overs = 0
    this.#calm = this.waitMs < this.#waitMsMax / 2 ? this.#calm + 1 : 0
    if (this.level > 0) this.#admission.raise(moreShare * 2 ** Math.max(0, this.#calm - calmWindows))
    if (this.level > 0) this.health.begin('overload', this.#reason())
    else if (this.#counts) {
      this.#counts = false
      this.#admission.clear()
      this.health.end('overload')
    }
  }

  #reason (): string {
    const { level } = this.#admission
    const priority = priorities.min + Math.floor(level / userParts)
    return `uplinks wait ${Math.round(this.waitMs)} ms for their turn: those of a priority below ${priority} are ` +
      `refused, and of ${priority} those of ${level % userParts} of ${userParts} parts of the users`
  }
}
