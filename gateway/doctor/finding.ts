/** What was looked at, and whether a node can live with it. */
export interface Finding {
  /** Where it is: `kernel`, `process`, `disk`, `kafka`, `redis`, `schema registry`, `clock`. */
  readonly area: string
  /** What was looked at there, in the words of its own documentation. */
  readonly subject: string
  /**
   * `fatal`: a node does not start, or loses what it must keep. `warning`: it works, and falls short under load or in
   * trouble. `unknown`: who was asked did not say.
   */
  readonly verdict: 'ok' | 'unknown' | 'warning' | 'fatal'
  /** What is. */
  readonly found: string
  /** What is wanted; empty where it was found. */
  readonly wanted: string
  readonly why: string
  /** What to type or to set; empty where nothing is to be done. */
  readonly fix: string
}

/** What is wanted of a subject, and what to do where it is not there. */
export interface Wish {
  readonly wanted: string
  readonly why: string
  readonly fix: string
  /** What it is where the wish is not met; by default a warning. */
  readonly verdict?: 'warning' | 'fatal'
}

/** The findings of one area, in the order in which it was looked. */
export class Findings {
  readonly all: Finding[] = []

  constructor (private readonly area: string) {}

  ok (subject: string, found: string): void {
    this.all.push({ area: this.area, subject, verdict: 'ok', found, wanted: '', why: '', fix: '' })
  }

  /** Good, or not what is wished. */
  judge (subject: string, found: string, isGood: boolean, wish: Wish): void {
    if (isGood) this.ok(subject, found)
    else this.all.push({ area: this.area, subject, found, ...wish, verdict: wish.verdict ?? 'warning' })
  }

  /** @param reason why it could not be seen */
  unknown (subject: string, reason: string, { wanted, why, fix }: Wish): void {
    this.all.push({ area: this.area, subject, verdict: 'unknown', found: `not known: ${reason}`, wanted, why, fix })
  }
}
