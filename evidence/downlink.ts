import type { Effect, DownlinkOutcome } from '../actors/user/effects.js'
import type { OutboxMessage } from '../actors/user/messages.js'
import { headSeq, type Session, type UserState } from '../actors/user/state.js'
import { errorInWords } from '../schemas/errors.js'
import type { DownlinkRecalled, DownlinkRedelivered, DownlinkRequested, Entry } from '../schemas/facts.js'
import type { DownlinkHandedOver } from '../schemas/records.js'
import { type Delivery, verdictOfDelivery, type Way } from './delivery.js'
import { endInWords, Lines, operatorInWords } from './lines.js'
import type { Surroundings } from './surroundings.js'
import { type AddStep, notKept, type Subject, timeOf, type Verdict, whileOf } from './trace.js'

/** A session that there was at the request, and that it was not for. */
interface LeftOut {
  readonly deviceId: string
  readonly why: 'platform-filter' | 'device-filter'
  readonly filter: 'platforms' | 'devices' | 'exceptDevices'
}

/** What became of one downlink request, by its `messageId`, on each device that it was for. */
export class DownlinkSubject implements Subject {
  readonly #lines = new Lines()
  #requested: { readonly atMs: number, readonly ttlMs: number } | undefined
  #repeats = 0
  /** While it waits for the user's first session. */
  #waits: OutboxMessage | undefined
  /** Of a request that never had a session. */
  #settled: { readonly atMs: number, readonly reason: string } | undefined
  readonly #deliveries: Delivery[] = []
  readonly #leftOut: LeftOut[] = []

  constructor (readonly messageId: string) {}

  after (entry: Entry, effects: readonly Effect[], state: UserState, step: AddStep): void {
    const { atMs, fact } = entry
    this.#lines.after(entry, effects)
    const isMine = 'messageId' in fact && fact.messageId === this.messageId
    const isRequest = isMine && fact.type === 'DownlinkRequested'
    const isNotice = fact.type === 'DownlinkRecalled' && fact.noticeId === this.messageId && isKept(state, fact.noticeId)
    const isFirst = (isRequest || isNotice) && !this.#requested
    if (isFirst && isNotice) this.#notice(fact, atMs, step)
    else if (isFirst && isRequest) this.#request(fact, atMs, state, step)
    if (!this.#requested && !isMine) return
    if (fact.type === 'DownlinkRedelivered' && isMine) this.#redelivered(fact, entry, effects, step)
    if (fact.type === 'DownlinkRecalled' && isMine) this.#recalled(fact, step)
    if (fact.type === 'DownlinkRequested' && fact.replaces === this.messageId && !isRepeat(fact, effects)) {
      step('replaced', `${fact.messageId} is sent in its place, where it has no number yet`)
    }
    this.#written(entry, step)
    for (const effect of effects) this.#effect(effect, entry, step)
    if (isFirst || fact.type === 'DownlinkRedelivered' || fact.type === 'ConnectionOpened') {
      this.#places(state, atMs, isMine, step)
    }
    if (fact.type === 'ConnectionClosed') this.#ended(fact.connectionId, atMs, step)
  }

  async verdict (surroundings: Surroundings): Promise<Verdict> {
    const { keptSince } = surroundings
    if (!this.#requested && this.#deliveries.length === 0) return await this.#neverRequested(surroundings)
    if (this.#deliveries.length === 0) {
      if (keptSince && this.#lines.hasStrangers) {
        return notKept('It is requested; but the sessions that it was for do not begin', keptSince)
      }
      return this.#undelivered(surroundings)
    }
    const verdicts = []
    for (const delivery of this.#deliveries) {
      // A redelivery has the last word about its device.
      if (this.#deliveries.findLast(({ deviceId }) => deviceId === delivery.deviceId) !== delivery) continue
      const verdict = await verdictOfDelivery(delivery, this.#lines.lastOf(delivery.deviceId), surroundings)
      verdicts.push(delivery.requestId === '' ? verdict : this.#again(delivery, verdict))
    }
    const worst = verdicts.find(({ code }) => code !== 'acked') ?? verdicts.find(({ cause }) => cause !== '') ?? verdicts[0]!
    const cause = worst.cause || (this.#leftOut[0]?.why ?? (this.#repeats > 0 ? 'duplicate' : ''))
    const texts = [...verdicts.map(({ text }) => text), ...this.#remarks()]
    return { code: worst.code, cause, text: texts.join(' ') }
  }

  #request (fact: DownlinkRequested, atMs: number, state: UserState, step: AddStep): void {
    this.#requested = { atMs, ttlMs: fact.ttlMs }
    const inPlace = fact.replaces === '' ? '' : ` in place of ${fact.replaces}`
    step('requested', `requested${inPlace}, to be kept for ${whileOf(fact.ttlMs)}`)
    for (const { deviceId, platform } of state.sessions.values()) {
      const wanted = fact.platforms.length === 0 || fact.platforms.includes(platform)
      const named = fact.devices.length === 0 || fact.devices.includes(deviceId)
      if (!wanted) this.#leftOut.push({ deviceId, why: 'platform-filter', filter: 'platforms' })
      else if (!named) this.#leftOut.push({ deviceId, why: 'device-filter', filter: 'devices' })
      else if (fact.exceptDevices.includes(deviceId)) {
        this.#leftOut.push({ deviceId, why: 'device-filter', filter: 'exceptDevices' })
      }
    }
  }

  /** It tells devices that another one was taken back. */
  #notice ({ messageId, noticeTtlMs }: DownlinkRecalled, atMs: number, step: AddStep): void {
    this.#requested = { atMs, ttlMs: noticeTtlMs }
    step('requested', `tells devices that ${messageId} was taken back, to be kept for ${whileOf(noticeTtlMs)}`)
  }

  #recalled ({ by, noticeId, reason }: DownlinkRecalled, step: AddStep): void {
    const told = noticeId === '' ? '' : `; devices that may have it are told by ${noticeId}`
    step('recalled', `${operatorInWords(by)} takes it back, where it has no number yet${told}` +
      (reason === '' ? '' : `: ${reason}`))
  }

  #redelivered (
    { requestId, deviceId, ttlMs, by, reason }: DownlinkRedelivered, { atMs }: Entry, effects: readonly Effect[],
    step: AddStep
  ): void {
    if (effects.some(effect => effect.type === 'settle' && effect.outcome === 'duplicate')) return
    this.#deliveries.push({ deviceId, requestId, requestedAtMs: atMs, ttlMs, kept: undefined, seq: 0, ways: [] })
    step('redelivered', `${operatorInWords(by)} wants it sent to ${deviceId} once more, by request ${requestId}` +
      (reason === '' ? '' : `: ${reason}`))
  }

  /** A report, or the end of a connection, says how far the socket was written; nobody skips what was not. */
  #written ({ atMs, fact }: Entry, step: AddStep): void {
    const writtenSeq = fact.type === 'DeliveryReported' || fact.type === 'ConnectionClosed'
      ? fact.writtenSeq
      : fact.type === 'DownlinkSkipped' ? fact.seq : 0
    if (writtenSeq <= 0 || !('connectionId' in fact)) return
    for (const { deviceId, seq, ways } of this.#deliveries) {
      const way = ways.find(({ line }) => line.connectionId === fact.connectionId)
      if (!way || way.writtenAtMs !== undefined || seq === 0 || writtenSeq < seq) continue
      way.writtenAtMs = atMs
      step('written', `written to ${deviceId} as its ${seq}`, {
        ...placeOf(way), stage: 'sent-written', sinceMs: way.sentAtMs,
      })
    }
  }

  #effect (effect: Effect, entry: Entry, step: AddStep): void {
    if (effect.type === 'publish' && effect.stream === 'offline') this.#handedOver(effect.record, step)
    if (effect.type !== 'settle' || effect.messageId !== this.messageId) return
    const { deviceId, outcome, reason } = effect
    if (outcome === 'duplicate') {
      if (entry.fact.type === 'DownlinkRequested') this.#repeats++
      step('duplicate', reason === 'conflict'
        ? 'requested again with the same id, for another payload or service: the first one stands, and this one is not sent'
        : 'requested again with the same id: the first one stands')
      return
    }
    if (deviceId === '') this.#settled = { atMs: entry.atMs, reason }
    else this.#settle(effect, entry, step)
    if (outcome === 'dropped') step('dropped', errorInWords(reason))
    if (outcome === 'expired') step('expired', 'its time to live was over')
    if (deviceId === '') this.#waits = undefined
  }

  #handedOver ({ messageId, change, deviceIds, reason }: DownlinkHandedOver, step: AddStep): void {
    if (messageId !== this.messageId) return
    const devices = deviceIds.join(', ')
    if (change === 'due') {
      step('handed-over', `no device had acked it: it went to the stream offline${devices === '' ? '' : `, for ${devices}`}`)
    } else {
      const why = reason === 'recalled' ? 'it was recalled' : `acked by ${devices} after all`
      step('withdrawn', `${why}: the stream offline took it back`)
    }
  }

  #settle ({ deviceId, seq, outcome, reason }: DownlinkOutcome, { atMs, fact }: Entry, step: AddStep): void {
    const delivery = this.#deliveries.find(each => each.deviceId === deviceId && !each.settled && each.seq === seq) ??
      this.#adopted(deviceId)
    const said = fact.type === 'DownlinkSkipped' ? fact.reason : reason
    delivery.settled = { atMs, outcome, reason: said }
    if (outcome !== 'acked' && outcome !== 'skipped') return
    const way = delivery.ways.at(-1)
    const sinceMs = way?.writtenAtMs ?? way?.sentAtMs ?? delivery.requestedAtMs
    const what = outcome === 'acked'
      ? `acked by ${deviceId}`
      : `skipped by ${deviceId}: its application failed at it${said === '' ? '' : ` (${said})`}, and went on`
    step(outcome, what, { ...(way && placeOf(way)), stage: 'written-acked', sinceMs })
  }

  /** It waited for a session, and this one has begun. */
  #adopted (deviceId: string): Delivery {
    const { atMs, ttlMs } = this.#requested ?? { atMs: 0, ttlMs: 0 }
    const delivery: Delivery = {
      deviceId, requestId: '', requestedAtMs: atMs, ttlMs, kept: this.#waits, seq: 0, ways: [],
    }
    this.#deliveries.push(delivery)
    return delivery
  }

  /** Where the state has it now: waiting for a session, or in outboxes, with a number or without. */
  #places (state: UserState, atMs: number, isNew: boolean, step: AddStep): void {
    const waits = state.waiting.find(({ messageId }) => messageId === this.messageId)
    if (waits && !this.#waits) step('waiting', 'the user has no session yet: it waits for the first one')
    if (waits) this.#waits = waits
    for (const session of state.sessions.values()) {
      for (const [index, kept] of session.outbox.entries()) {
        if (kept.messageId === this.messageId) this.#place(session, index, kept, state, atMs, isNew, step)
      }
    }
  }

  #place (
    session: Session, index: number, kept: OutboxMessage, state: UserState, atMs: number, isNew: boolean, step: AddStep
  ): void {
    const { deviceId, connectionId } = session
    const mine = this.#deliveries.filter(each => each.deviceId === deviceId)
    const known = mine.find(each => each.kept === kept)
    const delivery = known ?? mine.find(each => each.requestId !== '' && !each.kept) ?? this.#adopted(deviceId)
    delivery.kept = kept
    if (index < session.numbered) delivery.seq = headSeq(session) + index
    if (!state.connections.has(connectionId)) {
      if (isNew && !known) step('queued', `${deviceId} is offline: it waits in its outbox`)
      return
    }
    const line = this.#lines.get(connectionId)
    if (!line || delivery.ways.some(way => way.line === line)) return
    const way: Way = { line, sentAtMs: atMs }
    delivery.ways.push(way)
    const before = delivery.ways.at(-2)?.line.end
    step('sent', `sent ${delivery.ways.length > 1 ? 'again ' : ''}to ${deviceId} as its ${delivery.seq}`, {
      ...placeOf(way), stage: before ? 'ended-sent' : 'requested-sent', sinceMs: before?.atMs ?? delivery.requestedAtMs,
    })
  }

  #ended (connectionId: string, atMs: number, step: AddStep): void {
    for (const { settled, ways } of this.#deliveries) {
      const way = ways.find(({ line }) => line.connectionId === connectionId)
      if (!way || settled || way.line.end?.atMs !== atMs) continue
      const isFrom = way.writtenAtMs === undefined ? 'sent-ended' : 'written-ended'
      step('connection-ended', `its connection ${endInWords(way.line.end.cause)}, and it was not acked`, {
        ...placeOf(way), stage: isFrom, sinceMs: way.writtenAtMs ?? way.sentAtMs,
      })
    }
  }

  async #neverRequested ({ keptSince, rejected }: Surroundings): Promise<Verdict> {
    const { messageId } = this
    const why = await rejected(messageId)
    if (why) {
      return {
        code: 'rejected',
        cause: why.code,
        text: `No request stands in the ledger: it was rejected at ${timeOf(why.atMs)} with ${why.code}, ` +
          `${why.reason} (downlinks.rejected ${why.position}).`,
      }
    }
    if (keptSince) return notKept(`No request with the id ${messageId} stands for this user`, keptSince)
    return {
      code: 'never-requested',
      cause: '',
      text: `No request with the id ${messageId} stands in the ledger for this user: nobody asked for it, or whoever ` +
        'did was answered with an error, or it was a signal, which is never stored.',
    }
  }

  #undelivered ({ nowMs }: Surroundings): Verdict {
    const { ttlMs, atMs } = this.#requested ?? { ttlMs: 0, atMs: nowMs }
    const overdue = atMs + ttlMs <= nowMs
    if (!this.#settled && !overdue) {
      return { code: 'waiting', cause: 'no-session', text: 'Still waiting for the first session of the user.' }
    }
    if (!this.#settled) {
      const until = timeOf(atMs + ttlMs)
      return { code: 'expired', cause: 'no-session', text: `No session opened within ${whileOf(ttlMs)}, and it expired at ${until}.` }
    }
    const { reason, atMs: droppedAtMs } = this.#settled
    const cause = reason === 'no-target' ? this.#leftOut[0]?.why ?? 'no-session' : 'no-session'
    const texts = [`Dropped at ${timeOf(droppedAtMs)}: ${errorInWords(reason)}.`, ...this.#remarks()]
    return { code: reason, cause, text: texts.join(' ') }
  }

  #again (delivery: Delivery, { code, text }: Verdict): Verdict {
    const asked = `redelivered at ${timeOf(delivery.requestedAtMs)} by request ${delivery.requestId}`
    const first = this.#deliveries.find(({ deviceId }) => deviceId === delivery.deviceId)!
    if (first === delivery) return { code, cause: 'redelivered', text: `${asked}: ${text}` }
    const { settled } = first
    const before = settled ? `${settled.reason || settled.outcome} at ${timeOf(settled.atMs)}` : 'unacked'
    return { code, cause: 'redelivered', text: `${delivery.deviceId}: ${before}, then ${asked}: ${text}` }
  }

  #remarks (): string[] {
    const remarks = this.#leftOut.map(({ deviceId, filter }) =>
      `${deviceId}: left out by the ${filter} of the request.`)
    if (this.#repeats > 0) remarks.push('It was requested again with the same id: the first one stands.')
    return remarks
  }
}

function isKept ({ messages }: UserState, messageId: string): boolean {
  for (const message of messages) if (message.messageId === messageId) return true
  return false
}

function isRepeat ({ messageId }: DownlinkRequested, effects: readonly Effect[]): boolean {
  return effects.some(effect =>
    effect.type === 'settle' && effect.messageId === messageId && effect.outcome === 'duplicate')
}

function placeOf ({ line: { connectionId, nodeId } }: Way): { connectionId: string, nodeId: string } {
  return { connectionId, nodeId }
}
