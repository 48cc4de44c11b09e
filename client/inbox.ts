import type { Downlink } from '../schemas/frames.js'
import { readable } from './payloads.js'
import type { Readable } from './payloads.js'

type Received = Omit<Downlink, 'op'>

/** A downlink as the application gets it. */
export interface ReceivedDownlink extends Received, Readable {
  /** It is done with. By itself it is done with once the listener's promise resolved, unless acks are manual. */
  ack (): void
}

export interface InboxOptions {
  /** `ack` alone says that one is done with, and the next one does not wait for it. */
  readonly isManual: boolean
  /** Resolves once the application has done with it, or has it in hand where acks are manual. */
  readonly handle: (downlink: ReceivedDownlink) => Promise<void>
  /** It came before, perhaps under another number, and was done with. */
  readonly isRepeat: (downlink: Received) => boolean
  /** In order, each once. */
  readonly done: (downlink: Received) => void
  /** Resolves once it is kept that they are done; undefined where there is nothing to wait for. */
  readonly kept: () => Promise<void> | undefined
  /** `ackableSeq` grew. */
  readonly ack: () => void
  /** Resolves once it is to be handed on again; true: it is not, and counts as done with */
  readonly failed: (downlink: Received, error: unknown) => Promise<boolean>
}

interface Entry {
  readonly downlink: ReceivedDownlink
  isDone: boolean
  /** The same downlink, which came once more under another number: the application has it in hand already. */
  readonly copies: Entry[]
}

/** Downlinks on their way to the application: in order, each once (protocol.md 3, Downlink). */
export class Inbox {
  readonly #options: InboxOptions
  /** Received and not done with, or behind one that is not. The first `#handedOn` are with the application. */
  #entries: Entry[] = []
  #handedOn = 0
  /** Highest one taken in, and highest one up to which all are done with. */
  #receivedSeq = 0
  #doneSeq = 0
  /** Highest one that the server wrote to the open connection: it takes no ack beyond. */
  #writtenSeq = 0
  #ackedSeq = 0
  #isRunning = false

  constructor (options: InboxOptions) {
    this.#options = options
  }

  get doneSeq (): number { return this.#doneSeq }

  /** What may be acked on the open connection. */
  get ackableSeq (): number { return Math.min(this.#doneSeq, this.#writtenSeq) }

  /** How many the application was handed and is not done with, or one before them. */
  get inHand (): number { return this.#handedOn }

  /** Goes on behind what an earlier run had done with. */
  restore (doneSeq: number): void {
    this.#doneSeq = this.#receivedSeq = doneSeq
  }

  /**
   * A new connection: the next downlink is `downlinkSeq` + 1.
   *
   * @param askedSeq what `connect` said that we have done with; a lower `downlinkSeq` means that the numbers begin anew
   */
  resume (downlinkSeq: number, askedSeq: number): void {
    if (downlinkSeq < askedSeq) this.forget(downlinkSeq)
    this.#receivedSeq = Math.max(this.#receivedSeq, downlinkSeq)
    if (this.#entries.length === 0) this.#doneSeq = Math.max(this.#doneSeq, downlinkSeq)
    this.#writtenSeq = this.#ackedSeq = downlinkSeq
  }

  /** The numbers begin anew behind `seq`. */
  forget (seq: number): void {
    this.#entries = []
    this.#handedOn = 0
    this.#receivedSeq = this.#doneSeq = seq
  }

  /** @returns false when one before it is missing, which a new connection brings */
  take ({ seq, messageId, service, payload, requestedAtMs }: Received): boolean {
    if (seq > this.#receivedSeq + 1) return false
    if (seq > this.#writtenSeq) this.#writtenSeq = seq
    if (seq <= this.#receivedSeq) { // seen, on an earlier connection
      this.#ack()
      return true
    }
    this.#receivedSeq = seq
    const entry: Entry = {
      downlink: {
        seq, messageId, service, ...readable(payload), requestedAtMs, ack: () => this.#done(entry),
      },
      isDone: false,
      copies: [],
    }
    this.#entries.push(entry)
    return true
  }

  /** Hands on what waits. Call it again whenever something came. */
  async run (): Promise<void> {
    if (this.#isRunning) return
    this.#isRunning = true
    for (let next = this.#entries[this.#handedOn]; next; next = this.#entries[this.#handedOn]) {
      this.#handedOn++
      const handled = this.#handOn(next)
      if (this.#options.isManual) continue
      await handled // so what is behind one that fails waits for it
      const kept = this.#options.kept()
      if (kept) await kept // so a crash repeats one, and not all since the last write
    }
    this.#isRunning = false
  }

  async #handOn (entry: Entry): Promise<void> {
    const { isManual, isRepeat, handle, failed } = this.#options
    if (isRepeat(entry.downlink)) return this.#done(entry)
    const { messageId } = entry.downlink
    const first = this.#entries.find(({ downlink }) => downlink.messageId === messageId)
    if (first && first !== entry) return this.#doneWith(first, entry)
    while (!entry.isDone && this.#entries.includes(entry)) {
      try {
        await handle(entry.downlink)
        if (!isManual) this.#done(entry)
        return
      } catch (err) {
        if (!entry.isDone && await failed(entry.downlink, err)) this.#done(entry)
      }
    }
  }

  #doneWith (first: Entry, copy: Entry): void {
    if (first.isDone) this.#done(copy)
    else first.copies.push(copy)
  }

  #done (entry: Entry): void {
    if (entry.isDone) return
    entry.isDone = true
    if (!this.#entries.includes(entry)) return // the numbers began anew meanwhile
    for (let first = this.#entries[0]; first?.isDone; first = this.#entries[0]) {
      this.#entries.shift()
      this.#handedOn--
      this.#doneSeq = first.downlink.seq
      this.#options.done(first.downlink)
    }
    for (const copy of entry.copies) this.#done(copy)
    this.#ack()
  }

  #ack (): void {
    const seq = this.ackableSeq
    if (seq <= this.#ackedSeq) return
    this.#ackedSeq = seq
    this.#options.ack()
  }
}
