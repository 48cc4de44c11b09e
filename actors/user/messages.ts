import type { PartId } from '../snapshots.js'

/** A downlink that is kept until it is acked, expired or dropped, by all sessions that it is for. */
export interface OutboxMessage {
  /** Which of the user's downlinks that were ever kept this is. */
  readonly number: number
  readonly messageId: string
  readonly service: string
  /** Undefined where it was left out when the state was loaded: see `payloadParts`. */
  readonly payload: Uint8Array | undefined
  readonly payloadBytes: number
  readonly requestedAtMs: number
  readonly expiresAtMs: number
  /** For sessions that open later: see `DownlinkRequested`. */
  readonly platforms: readonly string[]
  readonly exceptDevices: readonly string[]
  readonly devices: readonly string[]
  /** The stream `receipts` tells how it ends. */
  readonly receipts: boolean
  /** A device has acked it. */
  acked: boolean
  /** It is in the stream `offline`, and not withdrawn. */
  handedOver: boolean
  /** What it counts for in bounds in bytes, all its fields together. */
  readonly bytes: number
  /** Outboxes that it is in; the waiting list is one. */
  holders: number
  /** Its parts are saved, or on their way. */
  saved: boolean
}

/** One whose payload is at hand. */
export type WholeMessage = OutboxMessage & { readonly payload: Uint8Array }

/** What a message is made of. */
export type MessageFields = Omit<OutboxMessage, 'number' | 'acked' | 'handedOver' | 'bytes' | 'holders' | 'saved'>

/** The object, its numbers, and its places in lists. */
const fixedBytes = 128
const textBytes = 16

/** The parts of a message in a saved state. */
export const messagePart = (number: number): PartId => `m${number}`
export const payloadPart = (number: number): PartId => `p${number}`

/** Larger payloads are parts of their own, which are read when they are sent. */
export const inlineBytesMax = 512

/**
 * The downlinks that one user has, each once, however many sessions it waits for. Whoever puts one into an outbox holds
 * it, and lets go of it when it leaves; what nobody holds is gone.
 */
export class Messages implements Iterable<OutboxMessage> {
  readonly #kept = new Map<number, OutboxMessage>()
  /** Counts the downlinks that were ever kept. */
  begun = 0
  /** Of all that are kept, each counted once. */
  bytes = 0

  /** @param gone gets the saved parts that nothing names any more */
  constructor (readonly gone: PartId[]) {}

  get size (): number { return this.#kept.size }

  /** By number. */
  [Symbol.iterator] (): Iterator<OutboxMessage> { return this.#kept.values() }

  get (number: number): OutboxMessage | undefined { return this.#kept.get(number) }

  /** A new one, which is kept once somebody holds it. */
  begin (fields: MessageFields & { readonly payload: Uint8Array }): WholeMessage {
    return messageOf(++this.begun, fields, false) as WholeMessage
  }

  /** One of a saved state, with the number that it has there. */
  restore (number: number, fields: MessageFields): OutboxMessage {
    const message = messageOf(number, fields, true)
    this.#keep(message)
    return message
  }

  hold (message: OutboxMessage): void {
    if (message.holders++ === 0 && !this.#kept.has(message.number)) this.#keep(message)
  }

  release (message: OutboxMessage): void {
    if (--message.holders > 0) return
    const { number, bytes, saved, payloadBytes } = message
    this.#kept.delete(number)
    this.bytes -= bytes
    if (!saved) return
    this.gone.push(messagePart(number))
    if (payloadBytes > inlineBytesMax) this.gone.push(payloadPart(number))
  }

  #keep (message: OutboxMessage): void {
    this.#kept.set(message.number, message)
    this.bytes += message.bytes
  }
}

/** One object shape, whoever makes it. */
function messageOf (number: number, fields: MessageFields, saved: boolean): OutboxMessage {
  const { messageId, service, payload, payloadBytes, platforms, exceptDevices, devices } = fields
  const texts = bytesOf(platforms) + bytesOf(exceptDevices) + bytesOf(devices)
  return {
    number,
    messageId,
    service,
    payload,
    payloadBytes,
    requestedAtMs: fields.requestedAtMs,
    expiresAtMs: fields.expiresAtMs,
    platforms,
    exceptDevices,
    devices,
    receipts: fields.receipts,
    acked: false,
    handedOver: false,
    bytes: fixedBytes + messageId.length + service.length + payloadBytes + texts,
    holders: 0,
    saved,
  }
}

function bytesOf (texts: readonly string[]): number {
  let bytes = 0
  for (let i = 0; i < texts.length; i++) bytes += textBytes + texts[i]!.length
  return bytes
}

export function bytesOfAll (messages: readonly OutboxMessage[]): number {
  let bytes = 0
  for (const message of messages) bytes += message.bytes
  return bytes
}

/** Whom a downlink is for, beside the user. */
export type Filters = Pick<OutboxMessage, 'platforms' | 'exceptDevices' | 'devices'>

/** True where the session's device and platform are among those that the request names. */
export function isFor (
  { platforms, exceptDevices, devices }: Filters, { deviceId, platform }: { deviceId: string, platform: string }
): boolean {
  return (platforms.length === 0 || platforms.includes(platform)) &&
    (devices.length === 0 || devices.includes(deviceId)) && !exceptDevices.includes(deviceId)
}
