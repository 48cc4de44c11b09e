import type { Downlink, DownlinkAck, DownlinkSkipped, Ping } from '../schemas/frames.js'
import { Backoff } from './backoff.js'
import { reasonOf } from './client-error.js'
import type { Clock } from './clock.js'
import { Inbox } from './inbox.js'
import type { ReceivedDownlink } from './inbox.js'
import { isLeft } from './loops.js'
import { SeenMessages } from './seen-messages.js'
import { Skips } from './skips.js'
import type { Keeper } from './storage/keeper.js'

export interface DownlinksOptions {
  readonly clock: Clock
  readonly keeper: Keeper
  readonly random: () => number
  /** `ack` of each downlink is the application's to call. */
  readonly isManual: boolean
  /** Tries at one that a listener fails at. */
  readonly attemptsMax: number
  /** Resolves once every listener has; undefined where nobody listens. */
  readonly tell: (downlink: ReceivedDownlink) => Promise<unknown> | undefined
  readonly failed: (event: { seq: number, messageId: string, error: unknown, retryInMs: number }) => void
  readonly skipped: (event: { seq: number, messageId: string, error: unknown }) => void
}

/** Where acks go out. */
export interface AckLine {
  /** Pings that went out. */
  readonly pings: number
  send (frame: DownlinkAck | DownlinkSkipped | Ping): void
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
  readonly #skips: Skips
  /** Of each downlink that a listener failed at, how often, and the waits in between. */
  readonly #trouble = new Map<number, { failures: number, readonly backoff: Backoff }>()
  #line: AckLine | undefined
  #ackedAtMs = -Infinity
  #cancelAck: (() => void) | undefined
  #hasEnded = false
  #sleepers: Array<() => void> = []

  constructor (options: DownlinksOptions) {
    const { keeper, isManual } = options
    this.#options = options
    this.#seen = new SeenMessages(keeper)
    this.#skips = new Skips(keeper)
    this.#inbox = new Inbox({
      isManual,
      isRepeat: ({ seq, messageId }) => this.#seen.has(messageId) || this.#skips.has(seq),
      handle: async downlink => await this.#handle(downlink),
      done: downlink => this.#done(downlink),
      kept: () => keeper.isWriting ? new Promise(resolve => keeper.whenKept(resolve)) : undefined,
      ack: () => this.#ackSoon(),
      failed: async (downlink, err) => await this.#failed(downlink, err),
    })
  }

  /** What `connect` says that we have done with: nothing beyond a skipped one, which is told in its turn. */
  get doneSeq (): number { return Math.min(this.#inbox.doneSeq, this.#skips.unknownSeq - 1) }

  /** What a ping acks. */
  get ackableSeq (): number { return Math.min(this.#inbox.ackableSeq, this.#skips.untoldSeq - 1) }

  /** Takes over what an earlier run kept. */
  restore (kept: ReadonlyMap<string, string>): void {
    this.#inbox.restore(Number(kept.get(cursorKey)) || 0)
    this.#seen.restore(kept)
    this.#skips.restore(kept)
  }

  resume (line: AckLine, downlinkSeq: number, askedSeq: number): void {
    this.#line = line
    if (downlinkSeq < askedSeq) this.#skips.clear()
    this.#skips.resume(downlinkSeq)
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
    this.#skips.clear()
    this.#keepCursor()
  }

  /** @returns false when one before it is missing, which a new connection brings */
  take (frame: Downlink): boolean {
    if (!this.#inbox.take(frame)) return false
    this.#inbox.run()
    return true
  }

  /** So many pings of the open connection are answered. */
  answered (pings: number): void {
    this.#skips.answered(pings)
  }

  /** Somebody listens now. */
  listening (): void {
    for (const wake of this.#sleepers.splice(0)) wake()
  }

  /** Sends the ack that waits for its time. @returns how many the application was handed and is not done with */
  flush (): number {
    if (this.#cancelAck !== undefined) this.#ack()
    return this.#inbox.inHand
  }

  /** Acks what is done with, and hands nothing on any more. What is still worked on counts once it is done with. */
  end (): void {
    this.flush()
    this.#hasEnded = true
    this.pause()
  }

  async #handle (downlink: ReceivedDownlink): Promise<void> {
    for (;;) {
      const told = this.#hasEnded ? undefined : this.#options.tell(downlink)
      if (told !== undefined) {
        await told
        return
      }
      await new Promise<void>(resolve => { this.#sleepers.push(resolve) })
    }
  }

  #done ({ seq, messageId }: Pick<Downlink, 'seq' | 'messageId'>): void {
    this.#trouble.delete(seq)
    // One that was skipped may be redelivered to an application that can digest it.
    if (!this.#skips.has(seq)) this.#seen.add(seq, messageId)
    this.#keepCursor()
  }

  async #failed ({ seq, messageId }: Pick<Downlink, 'seq' | 'messageId'>, error: unknown): Promise<boolean> {
    if (isLeft(error) || this.#hasEnded) return false
    const { clock, random, attemptsMax, failed, skipped } = this.#options
    const trouble = this.#trouble.get(seq) ??
      { failures: 0, backoff: new Backoff({ baseMs: 1000, capMs: 60_000, random }) }
    this.#trouble.set(seq, trouble)
    if (++trouble.failures >= attemptsMax) {
      // Before the place among the downlinks, so that no crash leaves the one without the other.
      this.#skips.add(seq, reasonOf(error))
      skipped({ seq, messageId, error })
      return true
    }
    const retryInMs = trouble.backoff.nextMs()
    failed({ seq, messageId, error, retryInMs })
    await new Promise<void>(resolve => { clock.after(retryInMs, resolve) })
    return false
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
    const line = this.#line
    if (line === undefined) return
    const seq = this.#inbox.ackableSeq
    const skips = this.#skips.take(seq, line.pings + 1)
    for (const skip of skips) line.send({ op: 'downlinkSkipped', ...skip })
    const toldSeq = skips.at(-1)?.seq ?? 0
    if (seq > toldSeq) line.send({ op: 'downlinkAck', seq })
    // Its answer says that the server knows of them.
    if (skips.length > 0) line.send({ op: 'ping', downlinkSeq: seq, silentMs: 0 })
  }

  #stopAck (): void {
    this.#cancelAck?.()
    this.#cancelAck = undefined
  }
}
