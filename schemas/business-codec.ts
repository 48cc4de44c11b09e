import { userKey, userOf } from './apps.js'
import { type AvroReader, readString } from './avro-reader.js'
import { type AvroWriter, writeString } from './avro-writer.js'
import type { DownlinkHandedOver, DownlinkSettled, PresenceChanged } from './records.js'

/* Avro binary of streams/{presence,receipts,offline}.avsc, as record-codec.ts has that of the others. */

const presenceChanges: readonly PresenceChanged['change'][] = ['online', 'offline']
const handOverChanges: readonly DownlinkHandedOver['change'][] = ['due', 'withdrawn']

export function writePresenceChanged (to: AvroWriter, record: PresenceChanged): void {
  const { app, userId } = userOf(record.userId)
  to.string(userId)
  to.long(record.presenceSeq)
  to.string(record.deviceId)
  to.string(record.platform)
  to.string(record.connectionId)
  to.symbol(presenceChanges, record.change)
  to.boolean(record.userChanged)
  to.string(record.cause)
  to.long(record.atMs)
  to.string(app)
}

export function readPresenceChanged (r: AvroReader): PresenceChanged {
  const userId = r.sharedString()
  const record = {
    userId,
    presenceSeq: r.long(),
    deviceId: r.sharedString(),
    platform: r.sharedString(),
    connectionId: r.string(),
    change: presenceChanges[r.index(presenceChanges.length)]!,
    userChanged: r.boolean(),
    cause: r.sharedString(),
    atMs: r.long(),
  }
  return withApp(record, r.sharedString())
}

export function writeDownlinkSettled (to: AvroWriter, record: DownlinkSettled): void {
  const { app, userId } = userOf(record.userId)
  to.string(userId)
  to.long(record.receiptSeq)
  to.string(record.messageId)
  to.string(record.service)
  to.string(record.deviceId)
  to.long(record.seq)
  to.string(record.outcome)
  to.string(record.reason)
  to.long(record.requestedAtMs)
  to.long(record.settledAtMs)
  to.string(app)
}

export function readDownlinkSettled (r: AvroReader): DownlinkSettled {
  const userId = r.sharedString()
  const record = {
    userId,
    receiptSeq: r.long(),
    messageId: r.string(),
    service: r.sharedString(),
    deviceId: r.sharedString(),
    seq: r.long(),
    outcome: r.sharedString(),
    reason: r.sharedString(),
    requestedAtMs: r.long(),
    settledAtMs: r.long(),
  }
  return withApp(record, r.sharedString())
}

export function writeDownlinkHandedOver (to: AvroWriter, record: DownlinkHandedOver): void {
  const { app, userId } = userOf(record.userId)
  to.string(userId)
  to.long(record.offlineSeq)
  to.symbol(handOverChanges, record.change)
  to.string(record.messageId)
  to.string(record.service)
  to.payload(record.payload)
  to.items(record.deviceIds, writeString)
  to.string(record.reason)
  to.long(record.requestedAtMs)
  to.long(record.expiresAtMs)
  to.long(record.atMs)
  to.string(app)
}

export function readDownlinkHandedOver (r: AvroReader): DownlinkHandedOver {
  const userId = r.sharedString()
  const record = {
    userId,
    offlineSeq: r.long(),
    change: handOverChanges[r.index(handOverChanges.length)]!,
    messageId: r.string(),
    service: r.sharedString(),
    payload: r.payload(),
    deviceIds: r.items(readString),
    reason: r.sharedString(),
    requestedAtMs: r.long(),
    expiresAtMs: r.long(),
    atMs: r.long(),
  }
  return withApp(record, r.sharedString())
}

function withApp<T extends { userId: string }> (record: T, app: string): T {
  if (app !== '') record.userId = userKey(app, record.userId)
  return record
}
