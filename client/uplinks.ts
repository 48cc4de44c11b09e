import type { Uplink, UplinkAck, UplinkRefused } from '../schemas/frames.js'
import { payloadFromJson, payloadToJson } from '../schemas/payload.js'
import { ClientError } from './client-error.js'
import type { Clock } from './clock.js'
import type { EndCode, OrNewer } from './end-codes.js'
import { Outbox } from './outbox.js'
import type { Accepted, OutboxOptions } from './outbox.js'
import { Pace } from './pace.js'
import { newSessionId } from './session-id.js'
import type { Keeper } from './storage/keeper.js'
import { boundedWait } from './waits.js'

export interface UplinksOptions extends OutboxOptions {
  readonly clock: Clock
  readonly keeper: Keeper
  /** One that an earlier run left behind was accepted. */
  readonly accepted: (event: Accepted & Pick<Uplink, 'service' | 'payload'>) => void
  /** One that an earlier run left behind can't be sent. */
  readonly rejected: (event: { code: string, reason: string } & Pick<Uplink, 'service' | 'payload'>) => void
  /** Bytes of the frame, as it is encoded. */
  readonly frameBytes: (uplink: Uplink) => number
  readonly refused: (event: { expectedSeq: number, code: string, waitMs: number }) => void
}

/** Where uplinks go out. */
export interface UplinkLine {
  readonly uplinkWindow: number
  readonly frameBytesMax: number
  send (frame: Uplink): void
}

/*
  Kept:
    session     => JSON of sessionId, ackedSeq, offeredSeq, keys
    <keys>/<seq> => JSON of service, payload, priority, and the room where it is a post
  What waits gets other keys where it gets other numbers, so whatever first part of a write a crash leaves behind has
  either the old numbers or the new ones. ackedSeq may be late: the server says better.
*/
const sessionKey = 'session'

const tooLarge = 'payload-too-large'

/** The session's uplinks on their way to the server, over however many connections it takes. */
export class Uplinks {
  readonly #options: UplinksOptions
  readonly #outbox: Outbox
  readonly #pace = new Pace()
  #sessionId = newSessionId()
  #line: UplinkLine | undefined
  #keys = this.#sessionId
  /** Infinity until the first server has said it: what is too large is told once it is known. */
  #frameBytesMax = Infinity
  /** Set while the server wants none. */
  #cancelWait: (() => void) | undefined
  /** A post that is forbidden, while some before it are not acked yet; 0 for none. Nothing goes out meanwhile. */
  #forbiddenSeq = 0

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
    const { sessionId, ackedSeq, offeredSeq, keys = sessionId } = JSON.parse(session)
    if (typeof sessionId !== 'string' || !(ackedSeq >= 0) || !(offeredSeq >= 0)) throw new Error(`what is kept is damaged: ${session}`)
    const uplinks: Uplink[] = []
    for (const [key, value] of kept) {
      const [owner, seq] = key.split('/')
      if (seq === undefined || !/^[0-9a-f-]{36}$/.test(owner!)) continue
      if (owner === keys) uplinks.push(fromJson(Number(seq), value))
      else this.#options.keeper.remove(key) // of numbers that these took the place of
    }
    uplinks.sort((a, b) => a.seq - b.seq)
    this.#sessionId = sessionId
    this.#keys = keys
    this.#outbox.restore(uplinks, ackedSeq, offeredSeq, ({ service, payload }, accepted) => {
      this.#options.accepted({ ...accepted, service, payload })
    }, ({ service, payload }, { code, message: reason }) => {
      // With the end of the client nothing is lost: it is still kept.
      if (code === tooLarge || code === 'forbidden') this.#options.rejected({ code, reason, service, payload })
    })
  }

  /** @throws ClientError `outbox-full`, `payload-too-large`; or why the client ended */
  async send (service: string, payload: Uint8Array, priority: number, roomId = ''): Promise<Accepted> {
    const frame: Uplink = { op: 'uplink', seq: this.#outbox.lastSeq + 1, service, payload, priority, roomId }
    if (this.#isTooLarge(frame)) throw this.#tooLarge(frame)
    const { uplink, accepted } = this.#outbox.add(service, payload, priority, roomId)
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
    this.#forbiddenSeq = 0 // it is refused again
    const isOurs = this.#outbox.resume(uplinkSeq, askedSeq)
    this.#forget(ackedSeq)
    if (!isOurs) {
      this.#restart()
      return false
    }
    this.#frameBytesMax = line.frameBytesMax
    if (!this.#evict(uplink => this.#isTooLarge(uplink), uplink => this.#tooLarge(uplink))) return false
    this.#line = line
    this.#stopWaiting()
    this.#offer()
    return true
  }

  /** No connection is open. */
  pause (): void {
    this.#line = undefined
    this.#forbiddenSeq = 0
  }

  /** @returns false when a new session has begun, see `resume` */
  acked ({ seq, userSeqs }: UplinkAck): boolean {
    const { ackedSeq } = this.#outbox
    this.#pace.acked(seq - ackedSeq)
    this.#outbox.ack(seq, userSeqs)
    this.#forget(ackedSeq)
    if (!this.#evictForbidden()) return false
    this.#flush()
    return true
  }

  /** @returns false when a new session has begun, see `resume` */
  refused ({ expectedSeq, code, retryAfterMs }: UplinkRefused): boolean {
    if (expectedSeq <= this.#outbox.ackedSeq) return true // of frames that went out before an earlier refusal came
    this.#outbox.rewind(expectedSeq)
    if (code === 'forbidden' && this.#outbox.uplinks.find(({ seq }) => seq === expectedSeq)?.roomId) {
      this.#forbiddenSeq = expectedSeq
      return this.#evictForbidden()
    }
    this.#forbiddenSeq = 0 // not accepted either: what is before it goes out again, and it behind that
    if (this.#cancelWait !== undefined) return true
    const toldMs = boundedWait(retryAfterMs)
    const waitMs = code === 'gap' ? toldMs : this.#pace.refused(toldMs)
    this.#options.refused({ expectedSeq, code, waitMs })
    this.#cancelWait = this.#options.clock.after(waitMs, () => {
      this.#stopWaiting()
      this.#flush()
    })
    return true
  }

  /** Nothing is sent any more: what waits is rejected, and stays kept for the next run. */
  end (code: OrNewer<EndCode>, reason: string): void {
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
    if (this.#line === undefined || this.#cancelWait !== undefined || this.#forbiddenSeq > 0) return
    const window = this.#pace.window(this.#line.uplinkWindow)
    for (let next = this.#outbox.take(window); next; next = this.#outbox.take(window)) this.#line.send(next)
  }

  #stopWaiting (): void {
    this.#cancelWait?.()
    this.#cancelWait = undefined
  }

  /**
   * Once all before it are acked: a refusal overtakes acks, and what the server has would go out again in the new
   * session.
   *
   * @returns as `#evict`
   */
  #evictForbidden (): boolean {
    const seq = this.#outbox.ackedSeq + 1
    if (this.#forbiddenSeq === 0 || this.#forbiddenSeq > seq) return true
    const roomId = this.#forbiddenSeq === seq && this.#outbox.uplinks[0]?.roomId
    this.#forbiddenSeq = 0
    if (!roomId) return true
    const error = (): ClientError => new ClientError('forbidden', `no right to post in ${roomId}`)
    return this.#evict(uplink => uplink.roomId === roomId, error)
  }

  /**
   * What the server does not take goes, and what is behind it takes its numbers.
   *
   * @returns false where numbers were offered that would now stand for something else: a server that took larger frames
   *   may still have them on their way. So a new session has begun.
   */
  #evict (isRefused: (uplink: Uplink) => boolean, error: (uplink: Uplink) => ClientError): boolean {
    const before = this.#outbox.uplinks
    const evicted = this.#outbox.evict(isRefused, error)
    if (evicted === 'offered') this.#restart(before)
    if (evicted === 'unoffered') this.#keepAgain(before)
    return evicted !== 'offered'
  }

  #isTooLarge (uplink: Uplink): boolean {
    return this.#options.frameBytes(uplink) > this.#frameBytesMax
  }

  #tooLarge (uplink: Uplink): ClientError {
    const bytes = this.#options.frameBytes(uplink)
    return new ClientError(tooLarge, `a frame of ${bytes} bytes, and ${this.#frameBytesMax} are the bound`)
  }

  #restart (before = this.#outbox.uplinks): void {
    this.#line = undefined
    this.#sessionId = newSessionId()
    this.#outbox.restart()
    this.#keepAgain(before)
  }

  /** Under keys of their own, for the numbers are others. */
  #keepAgain (before: readonly Uplink[]): void {
    const old = this.#keys
    this.#keys = newSessionId()
    for (const uplink of this.#outbox.uplinks) this.#keep(uplink)
    this.#keepSession()
    for (const { seq } of before) this.#options.keeper.remove(`${old}/${seq}`)
  }

  #keep ({ seq, service, payload, priority, roomId }: Uplink): void {
    this.#options.keeper.put(`${this.#keys}/${seq}`,
      () => JSON.stringify({ service, payload: payloadToJson(payload), priority, ...roomId && { roomId } }))
  }

  #keepSession (): void {
    const { ackedSeq, offeredSeq } = this.#outbox
    this.#options.keeper.put(sessionKey, () => JSON.stringify({
      sessionId: this.#sessionId, ackedSeq, offeredSeq, keys: this.#keys,
    }))
  }

  /** Those behind `ackedSeq` that are acked by now. */
  #forget (ackedSeq: number): void {
    if (this.#outbox.ackedSeq === ackedSeq) return
    this.#keepSession()
    for (let seq = ackedSeq + 1; seq <= this.#outbox.ackedSeq; seq++) {
      this.#options.keeper.remove(`${this.#keys}/${seq}`)
    }
  }
}

function fromJson (seq: number, text: string): Uplink {
  const { service, payload, priority, roomId = '' } = JSON.parse(text)
  const bytes = payloadFromJson(payload)
  if (bytes === undefined) throw new Error(`what is kept of uplink ${seq} has no payload`)
  return { op: 'uplink', seq, service, payload: bytes, priority, roomId }
}
