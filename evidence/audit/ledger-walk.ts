import type { Books } from './books.js'
import type { Report } from './node-lives.js'
import type { Place } from './violation.js'

/** What all parts of the audit of one ledger partition share. */
export interface Walk {
  readonly partition: number
  readonly books: Books
  /** Ignored for an entry before the range; without one, for as long as the range has not begun. */
  readonly report: (place: Place | undefined, ...violation: Parameters<Report>) => void
  /** True for what lies in the range that is judged: the state before it is needed, and counts for nothing. */
  inRange (place: Place): boolean
  /** Retention has taken the beginning: what began there is unknown. */
  readonly cut: boolean
  /** Each record stands once in a derived stream, as on the embedded side; in Kafka a takeover may repeat some. */
  readonly exact: boolean
}
