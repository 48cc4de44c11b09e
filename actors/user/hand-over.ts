import type { HandOverDue } from '../../schemas/facts.js'
import type { EffectList } from './effect-list.js'
import type { OutboxMessage } from './messages.js'
import type { UserState } from './state.js'

/** No device has acked it in time: it goes to the stream `offline`, once. */
export function handOverDue (
  state: UserState, { messageId, requestedAtMs, payload }: HandOverDue, effects: EffectList
): void {
  const message = unackedOf(state, messageId, requestedAtMs)
  if (!message) return
  message.handedOver = true
  const deviceIds: string[] = []
  for (const { deviceId, outbox } of state.sessions.values()) if (outbox.includes(message)) deviceIds.push(deviceId)
  const { service, expiresAtMs } = message
  effects.handOver({
    change: 'due',
    messageId,
    service,
    payload,
    deviceIds,
    reason: '',
    requestedAtMs,
    expiresAtMs,
    atMs: effects.entry.atMs,
  })
}

/** A downlink that waits, that no device has acked, and that was not handed over; undefined where there is none. */
export function unackedOf (
  { messages }: UserState, messageId: string, requestedAtMs: number
): OutboxMessage | undefined {
  for (const message of messages) {
    if (message.messageId === messageId && message.requestedAtMs === requestedAtMs) {
      return message.acked || message.handedOver ? undefined : message
    }
  }
  return undefined
}
