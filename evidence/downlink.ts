import type { Effect, Settle } from '../actors/user/effects.js'
import { headSeq, type UserState } from '../actors/user/state.js'
import type { Entry } from '../schemas/facts.js'
import { type AddStep, type Subject, timeOf, type Verdict, whileOf } from './trace.js'

/** A downlink on its way over one connection. */
interface Way {
  readonly connectionId: string
  readonly nodeId: string
  readonly sentAtMs: number
  writtenAtMs?: number
  ended?: { readonly atMs: number, readonly code: string }
}

/** What became of it for one device. */
interface Delivery {
  readonly deviceId: string
  /** 0 until it has one. */
  seq: number
  readonly ways: Way[]
  settled?: { readonly atMs: number, readonly outcome: Settle['outcome'], readonly reason: string }
}

const dropReasons: Readonly<Record<string, string>> = {
  'outbox-full': 'the outbox was full, and the oldest went',
  'waiting-full': 'too many waited for the first session, and the oldest went',
  'sessions-full': 'the user had too many devices, and this one was forgotten',
  'session-ended': 'the session ended with it unacked',
  'no-target': 'no session was of the platforms and devices that the request names',
}

/** What became of one downlink request, by its `messageId`. */
export class DownlinkSubject implements Subject {
  #requested: { readonly atMs: number, readonly ttlMs: number } | undefined
  #waits = false
  /** Of a request that never had a session. */
  #settled: Delivery['settled']
  readonly #deliveries = new Map<string, Delivery>()

  constructor (readonly messageId: string) {}

  after (entry: Entry, effects: readonly Effect[], state: UserState, step: AddStep): void {
    const { atMs, fact } = entry
    if (fact.type === 'DownlinkRequested' && fact.messageId === this.messageId && !this.#requested) {
      this.#requested = { atMs, ttlMs: fact.ttlMs }
      step('requested', `requested, to be kept for ${whileOf(fact.ttlMs)}`)
    }
    if (!this.#requested) return
    if (fact.type === 'DeliveryReported' || fact.type === 'ConnectionClosed') this.#written(entry, step)
    for (const effect of effects) this.#effect(effect, entry, step)
    this.#places(state, atMs, step)
    if (fact.type === 'ConnectionClosed') this.#ended(fact.connectionId, fact.code, atMs, step)
  }

  verdict (): Verdict {
    if (!this.#requested) {
      return { code: 'never-requested', text: `No request with the id ${this.messageId} stands in the ledger for this user.` }
    }
    const deliveries = [...this.#deliveries.values()]
    if (deliveries.length === 0) return this.#undelivered()
    const verdicts = deliveries.map(delivery => this.#verdictOf(delivery))
    const worst = verdicts.find(({ code }) => code !== 'acked') ?? verdicts[0]!
    return { code: worst.code, text: verdicts.map(({ text }) => text).join(' ') }
  }

  /** A report, or the end of a connection, says how far the socket was written. */
  #written ({ atMs, fact }: Entry, step: AddStep): void {
    if (fact.type !== 'DeliveryReported' && fact.type !== 'ConnectionClosed') return
    for (const { deviceId, seq, ways } of this.#deliveries.values()) {
      const way = ways.find(({ connectionId }) => connectionId === fact.connectionId)
      if (!way || way.writtenAtMs !== undefined || seq === 0 || fact.writtenSeq < seq) continue
      way.writtenAtMs = atMs
      step('written', `written to ${deviceId} as its ${seq}`, way)
    }
  }

  #effect (effect: Effect, { atMs }: Entry, step: AddStep): void {
    if (effect.type !== 'settle' || effect.messageId !== this.messageId) return
    const { deviceId, outcome, reason } = effect
    if (outcome === 'duplicate') {
      step('duplicate', 'requested again with the same id: the first one stands')
      return
    }
    const settled = { atMs, outcome, reason }
    if (deviceId === '') this.#settled = settled
    else this.#deliveryTo(deviceId, effect.seq).settled = settled
    const whose = deviceId === '' ? '' : ` by ${deviceId}`
    if (outcome === 'acked') step('acked', `acked${whose}`)
    else step(outcome, outcome === 'expired' ? 'its time to live was over' : dropReasons[reason] ?? reason)
  }

  /** Where the state has it now: waiting for a session, or in outboxes, with a number or without. */
  #places (state: UserState, atMs: number, step: AddStep): void {
    if (!this.#waits && state.waiting.some(({ messageId }) => messageId === this.messageId)) {
      this.#waits = true
      step('waiting', 'the user has no session yet: it waits for the first one')
    }
    for (const session of state.sessions.values()) {
      const index = session.outbox.findIndex(({ messageId }) => messageId === this.messageId)
      if (index < 0) continue
      const seq = index < session.numbered ? headSeq(session) + index : 0
      const known = this.#deliveries.get(session.deviceId)
      const delivery = known ?? this.#deliveryTo(session.deviceId, seq)
      if (seq > 0) delivery.seq = seq
      const connection = state.connections.get(session.connectionId)
      if (!known && !connection) step('queued', `${session.deviceId} is offline: it waits in its outbox`)
      if (!connection || delivery.ways.some(({ connectionId }) => connectionId === session.connectionId)) continue
      const { connectionId } = session
      const { nodeId } = connection
      delivery.ways.push({ connectionId, nodeId, sentAtMs: atMs })
      const again = delivery.ways.length > 1 ? 'again ' : ''
      step('sent', `sent ${again}to ${session.deviceId} as its ${seq}`, { connectionId, nodeId })
    }
  }

  #ended (connectionId: string, code: string, atMs: number, step: AddStep): void {
    for (const { settled, ways } of this.#deliveries.values()) {
      const way = ways.find(each => each.connectionId === connectionId)
      if (!way || way.ended || settled) continue
      way.ended = { atMs, code }
      step('connection-ended', `its connection ended with ${code}, and it was not acked`, way)
    }
  }

  #deliveryTo (deviceId: string, seq: number): Delivery {
    let delivery = this.#deliveries.get(deviceId)
    if (!delivery) this.#deliveries.set(deviceId, delivery = { deviceId, seq, ways: [] })
    return delivery
  }

  #undelivered (): Verdict {
    const { ttlMs } = this.#requested!
    if (!this.#settled) return { code: 'waiting', text: 'Still waiting for the first session of the user.' }
    const { outcome, reason, atMs } = this.#settled
    if (outcome === 'expired') {
      return { code: 'expired', text: `No session opened within ${whileOf(ttlMs)}, and it expired.` }
    }
    return { code: reason, text: `Dropped at ${timeOf(atMs)}: ${dropReasons[reason] ?? reason}.` }
  }

  #verdictOf ({ deviceId, settled, ways }: Delivery): Verdict {
    const tried = ways.map(way => describe(way, ways.length > 1)).join('; ')
    const last = ways.at(-1)
    if (settled?.outcome === 'acked') {
      const took = whileOf(settled.atMs - this.#requested!.atMs)
      const before = ways.length > 1 ? `${ways.slice(0, -1).map(way => describe(way, true)).join('; ')}; then ` : ''
      return { code: 'acked', text: `${deviceId}: ${before}acked at ${timeOf(settled.atMs)}, ${took} after the request.` }
    }
    const why = tried === '' ? 'it had no connection' : tried
    if (settled?.outcome === 'expired') {
      return { code: 'expired', text: `${deviceId}: ${why}; it expired at ${timeOf(settled.atMs)}.` }
    }
    if (settled) {
      const { reason, atMs } = settled
      const because = dropReasons[reason] ?? reason
      return { code: reason, text: `${deviceId}: ${why}; dropped at ${timeOf(atMs)}: ${because}.` }
    }
    if (!last || last.ended) {
      return { code: 'offline', text: `${deviceId}: ${why}; it waits until the device connects again.` }
    }
    if (last.writtenAtMs === undefined) {
      return { code: 'not-written', text: `${deviceId}: ${tried}; the socket has not taken it yet.` }
    }
    return { code: 'not-acked', text: `${deviceId}: ${tried}; the connection is open.` }
  }
}

function describe ({ connectionId, nodeId, sentAtMs, writtenAtMs, ended }: Way, brief: boolean): string {
  const where = `connection ${connectionId} on ${nodeId}`
  const written = writtenAtMs === undefined
    ? `sent to ${where} at ${timeOf(sentAtMs)} and never written`
    : `written to ${where} at ${timeOf(writtenAtMs)}, ${brief ? 'not' : 'never'} acked`
  if (!ended) return written
  return `${written}; the connection ended with ${ended.code} ${whileOf(ended.atMs - (writtenAtMs ?? sentAtMs))} later`
}
