import type { Downlink } from '../schemas/frames.js'
import { Backoff } from './backoff.js'
import type { Clock } from './clock.js'
import { isLeft } from './downlink-stream.js'
import { Inbox } from './inbox.js'
import type { ReceivedDownlink } from './inbox.js'
import { SeenMessages } from './seen-messages.js'
import type { Keeper } from './storage/keeper.js'

export interface DownlinksOptions {
  readonly clock: Clock
  readonly keeper: Keeper
  readonly random: () => number
  /** `ack` of each downlink is the application's to call. */
  readonly isManual: boolean
  /** Resolves once every listener has; undefined where nobody listens. */
  readonly tell: (downlink: ReceivedDownlink) => Promise<unknown> | undefined
  readonly failed: (event: { seq: number, messageId: string, error: unknown, retryInMs: number }) => void
}

/** Where acks go out. */
export interface AckLine {
  send (frame: { op: 'downlinkAck', seq: number }): void
}

/** A server counts acks as frames: however fast downlinks come, so much time is between two of them. */
const ackEveryMs = 20

/*
  Kept:
    cursor => the downlink up to which all are done with
*/
const cursorKey = 'cursor'

/** The session's downlinks on their way to the application, over however many connections it takes. */
export class Downlinks {
  readonly #options: DownlinksOptions
  readonly #inbox: Inbox
  readonly #seen: SeenMessages
  readonly #backoff: Backoff
  #line: AckLine | undefined
  #ackedAtMs = -Infinity
  #cancelAck: (() => void) | undefined
  #hasEnded = false
  #sleepers: Array<() => void> = []

  constructor (options: DownlinksOptions) {
    const { keeper, isManual, random } = options
    this.#options = options
    this.#seen = new SeenMessages(keeper)
    this.#backoff = new Backoff({ baseMs: 1000, capMs: 60_000, random })
    this.#inbox = new Inbox({
      isManual,
      isRepeat: messageId => this.#seen.has(messageId),
      handle: async downlink => await this.#handle(downlink),
      done: downlink => this.#done(downlink),
      kept: () => keeper.isWriting ? new Promise(resolve => keeper.whenKept(resolve)) : undefined,
      ack: () => this.#ackSoon(),
      failed: async (downlink, err) => await this.#failed(downlink, err),
    })
  }

  /** What `connect` says that we have done with. */
  get doneSeq (): number { return this.#inbox.doneSeq }

  /** What a ping acks. */
  get ackableSeq (): number { return this.#inbox.ackableSeq }

  /** Takes over what an earlier run kept. */
  restore (kept: ReadonlyMap<string, string>): void {
    this.#inbox.restore(Number(kept.get(cursorKey)) || 0)
    this.#seen.restore(kept)
  }

  resume (line: AckLine, downlinkSeq: number, askedSeq: number): void {
    this.#line = line
    this.#inbox.resume(downlinkSeq, askedSeq)
    this.#keepCursor()
  }

  /** No connection is open. */
  pause (): void {
    this.#line = undefined
    this.#stopAck()
  }

  /** The server never sent as many: it was restored from an older copy, and its numbers begin anew. */
  forget (): void {
    this.#inbox.forget(0)
    this.#keepCursor()
  }

  /** @returns false when one before it is missing, which a new connection brings */
  take (frame: Downlink): boolean {
    if (!this.#inbox.take(frame)) return false
    this.#inbox.run()
    return true
  }

  /** Somebody listens now. */
  listening (): void {
    for (const wake of this.#sleepers.splice(0)) wake()
  }

  /** Sends the ack that waits for its time. */
  flush (): void {
    if (this.#cancelAck !== undefined) this.#ack()
  }

  /** Nothing is handed on any more. What the application still works on counts when it is done with. */
  end (): void {
    this.#hasEnded = true
    this.pause()
  }

  async #handle (downlink: ReceivedDownlink): Promise<void> {
    for (;;) {
      const told = this.#hasEnded ? undefined : this.#options.tell(downlink)
      if (told !== undefined) {
        await told
        this.#backoff.reset()
        return
      }
      await new Promise<void>(resolve => { this.#sleepers.push(resolve) })
    }
  }

  #done ({ seq, messageId }: Pick<Downlink, 'seq' | 'messageId'>): void {
    this.#seen.add(seq, messageId)
    this.#keepCursor()
  }

  async #failed ({ seq, messageId }: Pick<Downlink, 'seq' | 'messageId'>, error: unknown): Promise<void> {
    if (isLeft(error) || this.#hasEnded) return
    const retryInMs = this.#backoff.nextMs()
    this.#options.failed({ seq, messageId, error, retryInMs })
    await new Promise<void>(resolve => { this.#options.clock.after(retryInMs, resolve) })
  }

  #keepCursor (): void {
    this.#options.keeper.put(cursorKey, () => String(this.#inbox.doneSeq))
  }

  #ackSoon (): void {
    if (this.#line === undefined || this.#cancelAck !== undefined) return
    const waitMs = this.#ackedAtMs + ackEveryMs - this.#options.clock.nowMs()
    if (waitMs <= 0) this.#ack()
    else this.#cancelAck = this.#options.clock.after(waitMs, () => this.#ack())
  }

  #ack (): void {
    this.#stopAck()
    this.#ackedAtMs = this.#options.clock.nowMs()
    this.#line?.send({ op: 'downlinkAck', seq: this.#inbox.ackableSeq })
  }

  #stopAck (): void {
    this.#cancelAck?.()
    this.#cancelAck = undefined
  }
}
