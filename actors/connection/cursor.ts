/** Acks after which a report does not wait for its time, for the outbox that they free is bounded. */
const unreportedMax = 200

/**
 * How far a connection is with its downlinks, which begin where `connected` said: written, acked, and told to the
 * ledger. What the client has read is known from what it sends: an ack that it never sent must not be told.
 */
export class DownlinkCursor {
  #writtenSeq = 0
  #ackedSeq = 0
  #knownSeq = 0
  #reportedWrittenSeq = 0
  #reportedAckedSeq = 0
  #isAsked = false
  #isGreeted = false
  #isRead = false

  /** Highest seq that was written to the socket. */
  get writtenSeq (): number { return this.#writtenSeq }

  /** Highest seq that the client has processed; where it has read nothing yet, what `connected` said of that. */
  get ackedSeq (): number { return this.#ackedSeq }

  /** The client sent what it sends only when it has read its `connected`; uplinks may have been on their way before. */
  get isRead (): boolean { return this.#isRead }

  /** `connected` was written in an earlier turn, so that what comes now may be an answer to it. */
  get isGreeted (): boolean { return this.#isGreeted }

  /** There are downlinks that were not written. */
  get isBehind (): boolean { return this.#writtenSeq < this.#knownSeq }

  /** The user actor is about to send them: they were asked for, or come by themselves. */
  get isAsked (): boolean { return this.#isAsked }

  /** So many acks are unreported that the report must not wait. */
  get isReportDue (): boolean { return this.#ackedSeq - this.#reportedAckedSeq >= unreportedMax }

  /** `connected` says where it goes on, and there are downlinks up to `lastSeq`, which are on their way. */
  place (downlinkSeq: number, lastSeq: number): void {
    this.#writtenSeq = this.#ackedSeq = downlinkSeq
    this.#reportedWrittenSeq = this.#reportedAckedSeq = downlinkSeq
    this.#knownSeq = lastSeq
    this.#isAsked = lastSeq > downlinkSeq
  }

  greet (): void { this.#isGreeted = true }

  /** A frame came that a client sends when it has read its `connected`: what that said need not be said again. */
  answered (): void {
    if (this.#isGreeted) this.#isRead = true
  }

  /** After a crash nobody knows what the client has read. */
  doubt (): void { this.#isRead = false }

  /** A downlink has come. @returns true where it is the next one, and is written now */
  take (seq: number): boolean {
    if (seq > this.#knownSeq) this.#knownSeq = seq
    if (seq !== this.#writtenSeq + 1) return false
    this.#writtenSeq = seq
    this.#isAsked = false
    return true
  }

  /** The user actor is asked. Where nothing is known to be missing nothing may come, so it is not waited for. */
  ask (): void { this.#isAsked = this.isBehind }

  /** The client has processed everything up to `seq`, which was written. @returns how many of them it had not */
  ack (seq: number): number {
    const count = seq - this.#ackedSeq
    if (count <= 0) return 0
    this.#ackedSeq = seq
    this.answered()
    return count
  }

  /** Notes that the ledger is told how far this is. @returns false where it knows already */
  report (): boolean {
    if (this.#writtenSeq === this.#reportedWrittenSeq && this.#ackedSeq === this.#reportedAckedSeq) return false
    this.#reportedWrittenSeq = this.#writtenSeq
    this.#reportedAckedSeq = this.#ackedSeq
    return true
  }

  /** The report was not stored. */
  reportAgain (): void { this.#reportedWrittenSeq = this.#reportedAckedSeq = -1 }
}
