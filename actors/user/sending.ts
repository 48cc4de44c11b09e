import type { Entry } from '../../schemas/facts.js'
import type { EffectList } from './effect-list.js'
import type { Filters, WholeMessage } from './messages.js'
import { enqueue } from './outbox.js'
import type { Session, UserState } from './state.js'

/* How a downlink begins: kept once, and put into the outbox of each session that it is for. */

/** What a downlink says, and how long it is kept. */
export interface Content {
  readonly messageId: string
  readonly service: string
  readonly payload: Uint8Array
  readonly ttlMs: number
  readonly receipts: boolean
}

/** Which sessions a downlink is for where it does not say: all. */
export const unfiltered: Filters = { platforms: [], exceptDevices: [], devices: [] }

/** The message that the outboxes are to hold. */
export function keep (
  { messages }: UserState, { atMs }: Pick<Entry, 'atMs'>, { messageId, service, payload, ttlMs, receipts }: Content,
  { platforms, exceptDevices, devices }: Filters
): WholeMessage {
  return messages.begin({
    messageId,
    service,
    // Bytes of its own: the entry's are a view on a whole block, which would be kept for as long as this is.
    payload: Uint8Array.prototype.slice.call(payload),
    payloadBytes: payload.length,
    requestedAtMs: atMs,
    expiresAtMs: atMs + ttlMs,
    platforms,
    exceptDevices,
    devices,
    receipts,
  })
}

/** Puts it into the session's outbox, and sends it where the device is connected. */
export function sendOrQueue (
  state: UserState, session: Session, message: WholeMessage, bytesMax: number, effects: EffectList
): void {
  const { connectionId } = session
  enqueue(state, session, message, bytesMax, effects)
  if (connectionId === '') return
  const { nodeId } = state.connections.get(connectionId)!
  effects.push({ type: 'deliver', nodeId, connectionId, seq: session.nextSeq - 1, downlink: message })
}
