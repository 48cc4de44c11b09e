import type { Entry } from '../../schemas/facts.js'
import type { DownlinkHandedOver, DownlinkSettled, PresenceChanged } from '../../schemas/records.js'
import type { DownlinkOutcome, Effect } from './effects.js'
import type { OutboxMessage } from './messages.js'
import type { UserState } from './state.js'

/** Records without what all of a stream have: whose they are, and their number within the user. */
export type PresenceFields = Omit<PresenceChanged, 'userId' | 'presenceSeq'>
type SettledFields = Omit<DownlinkSettled, 'userId' | 'receiptSeq'>
export type HandOverFields = Omit<DownlinkHandedOver, 'userId' | 'offlineSeq'>

const nothing = new Uint8Array(0)

/** The effects of one entry while it is folded, and the records of streams that come of them. */
export class EffectList {
  readonly all: Effect[] = []

  constructor (readonly state: UserState, readonly entry: Pick<Entry, 'userId' | 'atMs'>) {}

  get length (): number { return this.all.length }

  push (effect: Effect): void { this.all.push(effect) }

  /**
   * A downlink has ended on a device; its number there is 0 where it got none.
   *
   * @param deviceId empty where it was for no device that the user has
   */
  settle (
    message: OutboxMessage, deviceId: string, seq: number, outcome: DownlinkOutcome['outcome'], reason: string
  ): void {
    const { messageId, service, requestedAtMs, receipts } = message
    this.push({ type: 'settle', messageId, deviceId, seq, outcome, reason })
    if (receipts) {
      this.#receipt({ messageId, service, deviceId, seq, outcome, reason, requestedAtMs, settledAtMs: this.entry.atMs })
    }
    if (outcome !== 'acked') return
    message.acked = true
    if (message.handedOver) this.withdraw(message, [deviceId], outcome)
  }

  presence (fields: PresenceFields): void {
    const record = { userId: this.entry.userId, presenceSeq: ++this.state.presenceSeq, ...fields }
    this.push({ type: 'publish', stream: 'presence', record })
  }

  handOver (fields: HandOverFields): void {
    const record = { userId: this.entry.userId, offlineSeq: ++this.state.offlineSeq, ...fields }
    this.push({ type: 'publish', stream: 'offline', record })
  }

  #receipt (fields: SettledFields): void {
    const record = { userId: this.entry.userId, receiptSeq: ++this.state.receiptSeq, ...fields }
    this.push({ type: 'publish', stream: 'receipts', record })
  }

  /** It was handed over, and that is over. */
  withdraw (message: OutboxMessage, deviceIds: readonly string[], reason: string): void {
    const { messageId, service, requestedAtMs, expiresAtMs } = message
    message.handedOver = false
    this.handOver({
      change: 'withdrawn',
      messageId,
      service,
      payload: nothing,
      deviceIds,
      reason,
      requestedAtMs,
      expiresAtMs,
      atMs: this.entry.atMs,
    })
  }
}
