import type { Uplink, UplinkAck, UplinkRefused } from '../schemas/frames.js'
import { payloadFromJson, payloadToJson } from '../schemas/payload.js'
import { ClientError } from './client-error.js'
import type { Clock } from './clock.js'
import { Outbox } from './outbox.js'
import type { Accepted, OutboxOptions } from './outbox.js'
import { Pace } from './pace.js'
import { newSessionId } from './session-id.js'
import type { Keeper } from './storage/keeper.js'

export interface UplinksOptions extends OutboxOptions {
  readonly clock: Clock
  readonly keeper: Keeper
  /** One that an earlier run left behind was accepted. */
  readonly accepted: (event: Accepted & Pick<Uplink, 'service' | 'payload'>) => void
  readonly refused: (event: { expectedSeq: number, code: string, waitMs: number }) => void
}

/** Where uplinks go out. */
export interface UplinkLine {
  readonly uplinkWindow: number
  send (frame: Uplink): void
}

/*
  Kept:
    session           => JSON of sessionId, ackedSeq, offeredSeq
    <sessionId>/<seq> => JSON of service, payload, priority
  The numbers of a new session have keys of their own, so whatever first part of a write a crash leaves behind is either
  the old session or the new one. ackedSeq may be late: the server says better.
*/
const sessionKey = 'session'

/** The session's uplinks on their way to the server, over however many connections it takes. */
export class Uplinks {
  readonly #options: UplinksOptions
  readonly #outbox: Outbox
  readonly #pace = new Pace()
  #sessionId = newSessionId()
  #line: UplinkLine | undefined
  /** Set while the server wants none. */
  #cancelWait: (() => void) | undefined

  constructor (options: UplinksOptions) {
    this.#options = options
    this.#outbox = new Outbox(options)
  }

  get sessionId (): string { return this.#sessionId }

  get ackedSeq (): number { return this.#outbox.ackedSeq }

  /** Uplinks that the server has not accepted yet. */
  get size (): number { return this.#outbox.size }

  /** Takes over what an earlier run kept. @throws Error where it is damaged, and takes nothing over then */
  restore (kept: ReadonlyMap<string, string>): void {
    const session = kept.get(sessionKey)
    if (session === undefined) return
    const { sessionId, ackedSeq, offeredSeq } = JSON.parse(session)
    if (typeof sessionId !== 'string' || !(ackedSeq >= 0) || !(offeredSeq >= 0)) throw new Error(`what is kept is damaged: ${session}`)
    const uplinks: Uplink[] = []
    for (const [key, value] of kept) {
      const [owner, seq] = key.split('/')
      if (seq === undefined || !/^[0-9a-f-]{36}$/.test(owner!)) continue
      if (owner === sessionId) uplinks.push(fromJson(Number(seq), value))
      else this.#options.keeper.remove(key) // of a session that this one took the place of
    }
    uplinks.sort((a, b) => a.seq - b.seq)
    this.#sessionId = sessionId
    this.#outbox.restore(uplinks, ackedSeq, offeredSeq, ({ service, payload }, accepted) => {
      this.#options.accepted({ ...accepted, service, payload })
    })
  }

  /** @throws ClientError `outbox-full` at once; it rejects with why the client ended */
  async send (service: string, payload: Uint8Array, priority: number): Promise<Accepted> {
    const { uplink, accepted } = this.#outbox.add(service, payload, priority)
    this.#keep(uplink)
    if (this.#line) this.#offer()
    else this.#keepSession()
    return await accepted
  }

  /**
   * A connection is open: what the server has not accepted goes out on it.
   *
   * @param askedSeq what was acked when `connect` went out
   * @returns false when the server's session is not ours any more; a new one has begun, which needs a new connection
   */
  resume (line: UplinkLine, uplinkSeq: number, askedSeq: number): boolean {
    const { ackedSeq } = this.#outbox
    const isOurs = this.#outbox.resume(uplinkSeq, askedSeq)
    this.#forget(ackedSeq)
    if (!isOurs) {
      this.#restart()
      return false
    }
    this.#line = line
    this.#stopWaiting()
    this.#offer()
    return true
  }

  /** No connection is open. */
  pause (): void {
    this.#line = undefined
  }

  acked ({ seq, userSeqs }: UplinkAck): void {
    const { ackedSeq } = this.#outbox
    this.#pace.acked(seq - ackedSeq)
    this.#outbox.ack(seq, userSeqs)
    this.#forget(ackedSeq)
    this.#flush()
  }

  refused ({ expectedSeq, code, retryAfterMs }: UplinkRefused): void {
    if (expectedSeq <= this.#outbox.ackedSeq) return // of frames that went out before an earlier refusal came
    this.#outbox.rewind(expectedSeq)
    if (this.#cancelWait !== undefined) return
    const waitMs = code === 'gap' ? retryAfterMs : this.#pace.refused(retryAfterMs)
    this.#options.refused({ expectedSeq, code, waitMs })
    this.#cancelWait = this.#options.clock.after(waitMs, () => {
      this.#stopWaiting()
      this.#flush()
    })
  }

  /** Nothing is sent any more: what waits is rejected, and stays kept for the next run. */
  end (code: string, reason: string): void {
    this.#stopWaiting()
    this.#line = undefined
    this.#outbox.fail(new ClientError(code, reason))
  }

  /** It goes out once it is on record that it may have gone out. */
  #offer (): void {
    const { sessionId } = this
    const { offeredSeq } = this.#outbox
    const seq = this.#outbox.offer()
    if (seq !== offeredSeq) this.#keepSession()
    this.#options.keeper.whenKept(() => {
      if (sessionId !== this.#sessionId) return
      this.#outbox.release(seq)
      this.#flush()
    })
  }

  #flush (): void {
    if (this.#line === undefined || this.#cancelWait !== undefined) return
    const window = this.#pace.window(this.#line.uplinkWindow)
    for (let next = this.#outbox.take(window); next; next = this.#outbox.take(window)) this.#line.send(next)
  }

  #stopWaiting (): void {
    this.#cancelWait?.()
    this.#cancelWait = undefined
  }

  #restart (): void {
    const old = this.#sessionId
    const before = this.#outbox.uplinks
    this.#line = undefined
    this.#sessionId = newSessionId()
    this.#outbox.restart()
    for (const uplink of this.#outbox.uplinks) this.#keep(uplink)
    this.#keepSession()
    for (const { seq } of before) this.#options.keeper.remove(`${old}/${seq}`)
  }

  #keep ({ seq, service, payload, priority }: Uplink): void {
    this.#options.keeper.put(`${this.#sessionId}/${seq}`,
      () => JSON.stringify({ service, payload: payloadToJson(payload), priority }))
  }

  #keepSession (): void {
    const { ackedSeq, offeredSeq } = this.#outbox
    this.#options.keeper.put(sessionKey, () => JSON.stringify({ sessionId: this.#sessionId, ackedSeq, offeredSeq }))
  }

  /** Those behind `ackedSeq` that are acked by now. */
  #forget (ackedSeq: number): void {
    if (this.#outbox.ackedSeq === ackedSeq) return
    this.#keepSession()
    for (let seq = ackedSeq + 1; seq <= this.#outbox.ackedSeq; seq++) {
      this.#options.keeper.remove(`${this.#sessionId}/${seq}`)
    }
  }
}

function fromJson (seq: number, text: string): Uplink {
  const { service, payload, priority } = JSON.parse(text)
  const bytes = payloadFromJson(payload)
  if (bytes === undefined) throw new Error(`what is kept of uplink ${seq} has no payload`)
  return { op: 'uplink', seq, service, payload: bytes, priority }
}
