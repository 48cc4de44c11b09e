import { type Block, formatPosition } from '../../ledger/log.js'
import { shownUser } from '../../schemas/apps.js'
import type { UplinkAccepted } from '../../schemas/records.js'
import { listMaxDefault } from './range.js'

/** An uplink that the fold publishes, and the entry that makes it do so. */
export interface Expected {
  readonly position: string
  readonly atMs: number
  /** Its entry is in the range. */
  readonly judged: boolean
  readonly uplink: UplinkAccepted
}

export interface PublishedReport {
  /** Entries of the range, and users who have some. */
  readonly entries: number
  readonly users: number
  /** Uplinks of the range that the stream has as the fold has them. */
  readonly matching: number
  /** Uplinks of the range that it lacks, or has otherwise, and those in it that no entry explains. */
  readonly missing: number
  readonly different: number
  readonly unexplained: number
  /** Records that stand in the stream once more, as a takeover in a cluster may leave them: no fault. */
  readonly repeated: number
  /** Of the last seconds, and not published yet. */
  readonly pending: number
  /** What retention has deleted the other half of. */
  readonly unjudged: number
  readonly differences: readonly PublishedDifference[]
}

export interface PublishedDifference {
  readonly kind: 'missing' | 'different' | 'unexplained'
  /** Of the entry in the ledger; empty where there is none. */
  readonly position: string
  /** Of the record in `uplinks`; empty where there is none. */
  readonly published: string
  /** Absent for the default one. */
  readonly app?: string
  readonly userId: string
  readonly userSeq: number
  readonly text: string
}

interface Early { readonly position: string, readonly uplink: UplinkAccepted, readonly countsAlone: boolean }

/** How far one stream may be ahead of the other before what is lacking counts as lacking. */
const windowMax = 100_000
const pendingMs = 10_000

/** Finds each uplink that the fold publishes among the records of the stream; both come in the order of the ledger. */
export class PublishedMatch {
  readonly #report = {
    entries: 0,
    users: 0,
    matching: 0,
    missing: 0,
    different: 0,
    unexplained: 0,
    repeated: 0,
    pending: 0,
    unjudged: 0,
  }

  readonly #differences: PublishedDifference[] = []
  /** By connection and seq, which no two uplinks of a user share. */
  #expected = new Map<string, Expected>()
  #early = new Map<string, Early>()
  #users = new Set<string>()
  /** By user: the highest number found in the stream, and how much it is above the fold's. */
  #found = new Map<string, { userSeq: number, readonly ahead: number }>()
  #wholeLedger = true
  #publishedSinceMs: number | undefined

  constructor (readonly listMax = listMaxDefault) {}

  /** Something is expected that the stream has not shown, and there is room to go on looking. */
  get waits (): boolean { return this.#expected.size > 0 && this.#early.size < windowMax }

  /**
   * @param wholeLedger false where retention has deleted the beginning of it
   * @param publishedSinceMs time of the first record that is kept, where it has deleted some before that
   */
  beginPartition (wholeLedger: boolean, publishedSinceMs: number | undefined): void {
    this.#wholeLedger = wholeLedger
    this.#publishedSinceMs = publishedSinceMs
  }

  entry (userId: string): void {
    this.#report.entries++
    this.#users.add(userId)
  }

  expect (expected: Expected): void {
    const key = keyOf(expected.uplink)
    const early = this.#early.get(key)
    if (early) {
      this.#early.delete(key)
      this.#compare(expected, early)
      return
    }
    this.#expected.set(key, expected)
    if (this.#expected.size <= windowMax) return
    const [oldest, lacking] = this.#expected.entries().next().value!
    this.#expected.delete(oldest)
    this.#lacks(lacking)
  }

  /** @param countsAlone false for records whose entry may be behind what was read of the ledger */
  published ({ partition, offset, items }: Block<UplinkAccepted>, countsAlone = true): void {
    for (const [index, uplink] of items.entries()) {
      const key = keyOf(uplink)
      const record: Early = { position: formatPosition({ partition, offset, index }), uplink, countsAlone }
      const expected = this.#expected.get(key)
      if (expected) {
        this.#expected.delete(key)
        this.#compare(expected, record)
      } else if (uplink.userSeq <= (this.#found.get(uplink.userId)?.userSeq ?? 0)) {
        this.#report.repeated++
      } else {
        this.#early.set(key, record)
        if (this.#early.size <= windowMax) continue
        const [oldest, alone] = this.#early.entries().next().value!
        this.#early.delete(oldest)
        this.#isAlone(alone)
      }
    }
  }

  endPartition ({ toTheEnd, nowMs }: { toTheEnd: boolean, nowMs: number }): void {
    for (const expected of this.#expected.values()) {
      if (expected.judged && expected.atMs > nowMs - pendingMs) this.#report.pending++
      else this.#lacks(expected)
    }
    if (toTheEnd) for (const early of this.#early.values()) this.#isAlone(early)
    this.#report.users += this.#users.size
    this.#expected = new Map()
    this.#early = new Map()
    this.#users = new Set()
    this.#found = new Map()
  }

  report (): PublishedReport { return { ...this.#report, differences: this.#differences } }

  #compare ({ judged, uplink: wanted, position }: Expected, { uplink: got, position: published }: Early): void {
    const { userId, userSeq } = wanted
    let found = this.#found.get(userId)
    if (!found) {
      // Of a user whose first entries are gone the fold can't know how many uplinks there were before.
      this.#found.set(userId, found = { userSeq: 0, ahead: this.#wholeLedger ? 0 : got.userSeq - userSeq })
    }
    found.userSeq = Math.max(found.userSeq, got.userSeq)
    if (!judged) return
    const fields = fieldsThatDiffer({ ...wanted, userSeq: userSeq + found.ahead }, got)
    if (fields.length === 0) {
      this.#report.matching++
      return
    }
    this.#report.different++
    this.#note({ kind: 'different', position, published, userId, userSeq, text: fields.join(', ') })
  }

  #lacks ({ judged, atMs, position, uplink: { userId, userSeq } }: Expected): void {
    if (!judged) return
    if (this.#publishedSinceMs !== undefined && atMs <= this.#publishedSinceMs) {
      this.#report.unjudged++
      return
    }
    this.#report.missing++
    this.#note({ kind: 'missing', position, published: '', userId, userSeq, text: 'the stream does not have it' })
  }

  #isAlone ({ position: published, uplink: { userId, userSeq }, countsAlone }: Early): void {
    if (!countsAlone) return
    if (!this.#wholeLedger) {
      this.#report.unjudged++
      return
    }
    this.#report.unexplained++
    this.#note({ kind: 'unexplained', position: '', published, userId, userSeq, text: 'no entry of the ledger makes the fold publish it' })
  }

  /** @param difference with the user's key */
  #note (difference: PublishedDifference): void {
    if (this.#differences.length >= this.listMax) return
    this.#differences.push({ ...difference, ...shownUser(difference.userId) })
  }
}

function keyOf ({ connectionId, seq }: UplinkAccepted): string { return `${connectionId} ${seq}` }

function fieldsThatDiffer (wanted: UplinkAccepted, got: UplinkAccepted): string[] {
  const texts: string[] = []
  for (const field of ['userId', 'userSeq', 'deviceId', 'platform', 'sessionId', 'service', 'priority', 'receivedAtMs'] as const) {
    if (wanted[field] !== got[field]) texts.push(`${field}: the fold has ${wanted[field]}, the stream ${got[field]}`)
  }
  if (!Buffer.from(wanted.payload).equals(got.payload)) texts.push('payload: other bytes')
  return texts
}
