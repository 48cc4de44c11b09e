import type { Entry, Fact } from './facts.js'
import type { UplinkAccepted } from './records.js'
import type { RoomEntry } from './room-facts.js'

/*
  What an item takes in memory while it waits, for bounds in bytes: every text and every payload that it has, and a
  fixed part for the object around them. An estimate: texts count one byte a character.
*/
const fixedBytes = 128
const fieldBytes = 16

export function bytesOfEntry ({ userId, fact }: Entry): number {
  return fixedBytes + userId.length + bytesOfFact(fact)
}

export function bytesOfUplink (uplink: UplinkAccepted): number {
  const { userId, deviceId, platform, sessionId, connectionId, service, payload, roomId } = uplink
  return 2 * fixedBytes + userId.length + deviceId.length + platform.length + sessionId.length + connectionId.length +
    service.length + payload.length + roomId.length
}

export function bytesOfRoomEntry ({ roomId, fact }: RoomEntry): number {
  return fixedBytes + roomId.length + bytesOfValue(fact)
}

/** The frequent ones by hand: an edge asks for each uplink. */
function bytesOfFact (fact: Fact): number {
  switch (fact.type) {
    case 'UplinkReceived':
      return fact.connectionId.length + fact.service.length + fact.payload.length + fact.roomId.length
    case 'DeliveryReported': return fact.connectionId.length
    default: return bytesOfValue(fact)
  }
}

/** For any record of a stream. */
export function bytesOfValue (value: unknown): number {
  if (typeof value === 'string') return fieldBytes + value.length
  if (ArrayBuffer.isView(value)) return fieldBytes + value.byteLength
  if (typeof value !== 'object' || value === null) return fieldBytes
  let bytes = fieldBytes
  for (const field of Object.values(value)) bytes += bytesOfValue(field)
  return bytes
}

/** What items take in memory while they wait, as a stream counts them. */
export function bytesOfAll<T> ({ bytesOf }: { bytesOf (item: T): number }, items: readonly T[]): number {
  let bytes = 0
  for (let i = 0; i < items.length; i++) bytes += bytesOf(items[i]!)
  return bytes
}
