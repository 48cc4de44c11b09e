/**
 * The uplinks of a connection that are under way. The client may send as many as its window holds ahead of their acks;
 * each is given to the ledger once, in order.
 */
export class UplinkWindow {
  #givenSeq = 0
  #ackedSeq = 0
  #unstored = 0
  #isPlaced = false

  /** Highest seq that is in the ledger or on its way to it; 0 for none. */
  get givenSeq (): number { return this.#givenSeq }

  /** Highest seq that the user actor has accepted. */
  get ackedSeq (): number { return this.#ackedSeq }

  /** Some were given to the ledger and not accepted yet. */
  get awaitsAck (): boolean { return this.#givenSeq > this.#ackedSeq }

  /** All that was given to the ledger, its other entries too, is durable. */
  get isStored (): boolean { return this.#unstored === 0 }

  /** As many as the client was told are not acked, or not even stored. */
  isFull (max: number): boolean { return this.#givenSeq - this.#ackedSeq >= max || this.#unstored >= max }

  /** Before `connected` nobody knows which one is the first. */
  isNext (seq: number): boolean { return seq === this.#givenSeq + 1 || (this.#givenSeq === 0 && !this.#isPlaced) }

  give (seq: number): void { this.#givenSeq = seq }

  /** `connected` says up to where the session has them. */
  place (uplinkSeq: number): void {
    this.#isPlaced = true
    this.#ackedSeq = uplinkSeq
    if (this.#givenSeq < uplinkSeq) this.#givenSeq = uplinkSeq
  }

  /**
   * The user actor has accepted everything up to `seq`. Where more was accepted than given, an append had failed for
   * all that we knew.
   *
   * @returns how many of them were not known to be
   */
  ack (seq: number): number {
    const count = seq - this.#ackedSeq
    if (count <= 0) return 0
    this.#ackedSeq = seq
    if (seq > this.#givenSeq) this.#givenSeq = seq
    return count
  }

  /** The session has more than was given here: it came by another connection. @returns false where it has not */
  passOver (uplinkSeq: number): boolean {
    if (uplinkSeq <= this.#givenSeq) return false
    this.#givenSeq = uplinkSeq
    return true
  }

  /** Nothing from `expectedSeq` on was accepted, so nothing of it is under way any more. */
  takeBack (expectedSeq: number): void { this.#givenSeq = expectedSeq - 1 }

  /** So many entries are on their way to the ledger, and then they are there or refused. */
  append (entries: number): void { this.#unstored += entries }
  settle (entries: number): void { this.#unstored -= entries }
}
