import { userKey, userOf } from './apps.js'
import { type AvroReader, readString } from './avro-reader.js'
import { type AvroWriter, writeString } from './avro-writer.js'
import { transports } from './fact-codec.js'
import type {
  ConnectionEnded, DownlinkRecord, DownlinkRejected, Undelivered, UplinkAccepted,
} from './records.js'

/*
  Avro binary of the other streams/*.avsc, by hand for the same reasons as the ledger's. Where a record has a user, we
  have the key, and the stream has its two parts (apps.ts).
*/

/** A record as another schema than ours has it, decoded by avsc: the user's key takes the place of its parts. */
export function withUserKey<T extends { readonly userId: string }> (fields: T & { readonly app: string }): T {
  const { app, ...record } = fields
  return { ...record, userId: userKey(app, record.userId) } as unknown as T
}

export function writeUplinkAccepted (to: AvroWriter, record: UplinkAccepted): void {
  const { app, userId } = userOf(record.userId)
  to.string(userId)
  to.long(record.userSeq)
  to.string(record.deviceId)
  to.string(record.platform)
  to.string(record.sessionId)
  to.long(record.seq)
  to.string(record.connectionId)
  to.string(record.service)
  to.payload(record.payload)
  to.int(record.priority)
  to.long(record.receivedAtMs)
  to.string(app)
  to.string(record.roomId)
}

export function readUplinkAccepted (r: AvroReader): UplinkAccepted {
  const userId = r.sharedString()
  const userSeq = r.long()
  const deviceId = r.sharedString()
  const platform = r.sharedString()
  const sessionId = r.sharedString()
  const seq = r.long()
  const connectionId = r.sharedString()
  const service = r.sharedString()
  const payload = r.payload()
  const priority = r.int()
  const receivedAtMs = r.long()
  const app = r.sharedString()
  const roomId = r.sharedString()
  return {
    userId: app === '' ? userId : userKey(app, userId),
    userSeq,
    deviceId,
    platform,
    sessionId,
    seq,
    connectionId,
    service,
    payload,
    priority,
    receivedAtMs,
    roomId,
  }
}

const deliveries: readonly DownlinkRecord['delivery'][] = ['durable', 'signal']

export function writeDownlinkRecord (to: AvroWriter, record: DownlinkRecord): void {
  to.string(record.messageId)
  to.items(record.userIds, writeString)
  to.string(record.service)
  to.payload(record.payload)
  to.long(record.ttlMs)
  to.symbol(deliveries, record.delivery)
  to.items(record.platforms, writeString)
  to.items(record.exceptDevices, writeString)
  to.items(record.devices, writeString)
  to.string(record.app)
  to.string(record.roomId)
  to.boolean(record.receipts)
  to.long(record.offlineAfterMs)
  to.string(record.replaces)
}

export function readDownlinkRecord (r: AvroReader): DownlinkRecord {
  return {
    messageId: r.string(),
    userIds: r.items(readString),
    service: r.sharedString(),
    payload: r.payload(),
    ttlMs: r.long(),
    delivery: deliveries[r.index(deliveries.length)]!,
    platforms: r.items(readString),
    exceptDevices: r.items(readString),
    devices: r.items(readString),
    app: r.sharedString(),
    roomId: r.sharedString(),
    receipts: r.boolean(),
    offlineAfterMs: r.long(),
    replaces: r.string(),
  }
}

export function writeDownlinkRejected (to: AvroWriter, record: DownlinkRejected): void {
  const { app, userId } = userOf(record.userId)
  to.string(userId)
  to.payload(record.command)
  to.string(record.code)
  to.string(record.reason)
  to.long(record.rejectedAtMs)
  to.string(app)
}

export function readDownlinkRejected (r: AvroReader): DownlinkRejected {
  const userId = r.sharedString()
  const record = {
    userId,
    command: r.payload(),
    code: r.sharedString(),
    reason: r.string(),
    rejectedAtMs: r.long(),
  }
  return withApp(record, r.sharedString())
}

export function writeConnectionEnded (to: AvroWriter, record: ConnectionEnded): void {
  const { app, userId } = userOf(record.userId)
  to.string(userId)
  to.string(record.connectionId)
  to.string(record.deviceId)
  to.string(record.platform)
  to.string(record.client)
  to.string(record.sessionId)
  to.symbol(transports, record.transport)
  to.string(record.address)
  to.string(record.nodeId)
  to.long(record.nodeEpoch)
  to.long(record.openedAtMs)
  to.long(record.closedAtMs)
  to.string(record.code)
  to.string(record.reason)
  to.long(record.writtenSeq)
  to.long(record.ackedSeq)
  to.long(record.framesIn)
  to.long(record.framesOut)
  to.long(record.bytesIn)
  to.long(record.bytesOut)
  to.long(record.uplinks)
  to.long(record.downlinksWritten)
  to.long(record.downlinksAcked)
  to.int(record.roundTripMs)
  to.string(record.resumedFrom)
  to.string(record.resumedTo)
  to.string(app)
  to.string(record.by)
}

export function readConnectionEnded (r: AvroReader): ConnectionEnded {
  const userId = r.sharedString()
  const record = {
    userId,
    connectionId: r.string(),
    deviceId: r.sharedString(),
    platform: r.sharedString(),
    client: r.sharedString(),
    sessionId: r.sharedString(),
    transport: transports[r.index(transports.length)]!,
    address: r.string(),
    nodeId: r.sharedString(),
    nodeEpoch: r.long(),
    openedAtMs: r.long(),
    closedAtMs: r.long(),
    code: r.sharedString(),
    reason: r.string(),
    writtenSeq: r.long(),
    ackedSeq: r.long(),
    framesIn: r.long(),
    framesOut: r.long(),
    bytesIn: r.long(),
    bytesOut: r.long(),
    uplinks: r.long(),
    downlinksWritten: r.long(),
    downlinksAcked: r.long(),
    roundTripMs: r.int(),
    resumedFrom: r.sharedString(),
    resumedTo: r.sharedString(),
    by: '',
  }
  const app = r.sharedString()
  record.by = r.sharedString()
  return withApp(record, app)
}

function withApp<T extends { userId: string }> (record: T, app: string): T {
  if (app !== '') record.userId = userKey(app, record.userId)
  return record
}

export function writeUndelivered (to: AvroWriter, record: Undelivered): void {
  const { app, userId: key } = userOf(record.key)
  to.string(record.webhook)
  to.string(record.stream)
  to.string(key)
  to.string(record.messageId)
  to.payload(record.record)
  to.int(record.status)
  to.string(record.reason)
  to.int(record.attempts)
  to.long(record.firstAtMs)
  to.long(record.undeliveredAtMs)
  to.string(app)
}

export function readUndelivered (r: AvroReader): Undelivered {
  const webhook = r.sharedString()
  const stream = r.sharedString()
  const key = r.string()
  const messageId = r.string()
  const record = r.payload()
  const status = r.int()
  const reason = r.string()
  const attempts = r.int()
  const firstAtMs = r.long()
  const undeliveredAtMs = r.long()
  const app = r.sharedString()
  return {
    webhook, stream, key: userKey(app, key), messageId, record, status, reason, attempts, firstAtMs, undeliveredAtMs,
  }
}

/** As `withUserKey`. */
export function withRecordKey ({ app, ...record }: Undelivered & { readonly app: string }): Undelivered {
  return { ...record, key: userKey(app, record.key) }
}
