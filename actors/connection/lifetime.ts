import { type Phase, phaseAt, phases } from './phases.js'

/** Unit of the coarse clock. */
export const tickMs = 100

/** Later than any tick that a node reaches: what is due then never happens. */
export const never = 0x3fffffff

/**
 * The phase of a connection, and the times that end it. All times are ticks, and `now` is the tick of the call. What is
 * due at a tick is done after it, because the tick that it was counted from had begun before.
 */
export class Lifetime {
  #at: number = phaseAt.new
  readonly acceptedAt: number
  /** When its opening, leaving or closing began. */
  #phaseAt = 0
  /** When the client was last heard of, and for how long it may be silent from then on. */
  #heardAt: number
  #silence: number
  #expiresAt = never
  #leavesAt = never
  #waitsSince = -1

  constructor (acceptedAt: number, now: number, silence: number) {
    this.acceptedAt = acceptedAt
    this.#heardAt = now
    this.#silence = silence
  }

  get phase (): Phase { return phases[this.#at]! }

  /** The number of the phase. */
  get at (): number { return this.#at }

  /** Its client was told `connected`, and no end. */
  get isOpen (): boolean { return this.#at === phaseAt.open || this.#at === phaseAt.leaving }

  /** It has ended, whether the socket is gone or not. */
  get isOver (): boolean { return this.#at === phaseAt.closing || this.#at === phaseAt.closed }

  /** Its opening is in the ledger or on its way, and its end is not. */
  get isInLedger (): boolean { return this.#at === phaseAt.opening || this.isOpen }

  /** `connect` has come. */
  verify (): void { this.#at = phaseAt.verifying }

  /** The token is good until `expiresAt`. */
  open (now: number, expiresAt: number): void {
    this.#at = phaseAt.opening
    this.#phaseAt = now
    this.#expiresAt = expiresAt
  }

  welcome (): void { this.#at = phaseAt.open }

  leave (now: number): void {
    this.#at = phaseAt.leaving
    this.#phaseAt = now
  }

  /** It was asked to go, and may stay. */
  stay (): void {
    if (this.#at === phaseAt.leaving) this.#at = phaseAt.open
    this.#leavesAt = never
  }

  close (now: number): void {
    this.#at = phaseAt.closing
    this.#phaseAt = now
  }

  end (): void { this.#at = phaseAt.closed }

  /** For how long it has been opening, leaving or closing. */
  ticksOfPhase (now: number): number { return now - this.#phaseAt }

  heard (now: number): void { this.#heardAt = now }

  /** The client means to be silent for so long. */
  allow (silence: number): void { this.#silence = silence }

  isSilent (now: number): boolean { return now - this.#heardAt > this.#silence }

  /** It has another token. */
  renew (expiresAt: number): void { this.#expiresAt = expiresAt }

  /** Its token is good until then at the latest. */
  expireBy (at: number): void { this.#expiresAt = Math.min(this.#expiresAt, at) }

  isExpired (now: number): boolean { return this.#expiresAt < now }

  /** It is asked to go elsewhere, and ended if it is still here after `leavesAt`. */
  ask (leavesAt: number): void { this.#leavesAt = leavesAt }

  get isAsked (): boolean { return this.#leavesAt !== never }

  mustLeave (now: number): boolean { return this.#leavesAt < now }

  /**
   * Told at each sweep whether it waits for its user actor.
   *
   * @returns true where it has for `patience`, and then not before as long again
   */
  waits (waits: boolean, now: number, patience: number): boolean {
    if (!waits) this.#waitsSince = -1
    else if (this.#waitsSince < 0) this.#waitsSince = now
    if (!waits || now - this.#waitsSince < patience) return false
    this.#waitsSince = now
    return true
  }
}
