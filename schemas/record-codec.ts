import { userKey, userOf } from './apps.js'
import type { AvroReader } from './avro-reader.js'
import type { AvroWriter } from './avro-writer.js'
import { transports } from './fact-codec.js'
import type {
  ConnectionEnded, ConnectionMoved, DownlinkRecord, DownlinkRejected, NodeEntry, NodeFact,
  Undelivered, UplinkAccepted,
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

/** Branches of the union `fact` of streams/nodes.avsc, in its order. New ones go to the end. */
export const nodeFactTypes = [
  'NodeStarted', 'NodeReported', 'NodeDraining', 'NodeLost', 'NodeStopped', 'NodeDrainRequested', 'NodeDrainReported',
  'BroadcastRequested', 'BroadcastCancelled', 'BroadcastReported',
] as const satisfies readonly NodeFact['type'][]

export function writeNodeEntry (to: AvroWriter, { nodeId, epoch, atMs, fact }: NodeEntry): void {
  to.string(nodeId)
  to.long(epoch)
  to.long(atMs)
  to.symbol(nodeFactTypes, fact.type)
  switch (fact.type) {
    case 'NodeStarted':
      to.string(fact.region)
      to.string(fact.roles)
      to.string(fact.version)
      to.string(fact.wsUrl)
      to.string(fact.tcpUrl)
      to.long(fact.connectionsMax)
      return to.long(fact.leaseMs)
    case 'NodeReported':
      to.long(fact.connections)
      to.double(fact.eventLoopUtilization)
      to.long(fact.rssBytes)
      to.long(fact.memoryBytesMax)
      to.double(fact.cpuCores)
      to.double(fact.loopDelayP50Ms)
      to.double(fact.loopDelayP90Ms)
      to.double(fact.loopDelayP99Ms)
      to.double(fact.ackP50Ms)
      to.double(fact.ackP90Ms)
      to.double(fact.ackP99Ms)
      to.double(fact.waitMs)
      to.double(fact.waitMsMax)
      return to.double(fact.admissionLevel)
    case 'NodeDraining':
      to.double(fact.percent)
      return to.long(fact.withinMs)
    case 'NodeLost':
    case 'NodeStopped': return
    case 'NodeDrainRequested':
      to.string(fact.drainId)
      to.double(fact.percent)
      to.long(fact.withinMs)
      to.string(fact.by)
      return to.string(fact.reason)
    case 'NodeDrainReported':
      to.string(fact.drainId)
      to.long(fact.startedAtMs)
      to.double(fact.percent)
      to.long(fact.withinMs)
      to.boolean(fact.done)
      to.long(fact.total)
      to.long(fact.asked)
      to.long(fact.left)
      to.long(fact.closed)
      to.long(fact.resumed)
      to.long(fact.uplinksLost)
      to.long(fact.downlinksLost)
      to.long(fact.members)
      to.long(fact.membersResumed)
      return to.items(fact.moves, writeConnectionMoved)
    case 'BroadcastRequested':
      to.string(fact.app)
      to.string(fact.messageId)
      to.string(fact.service)
      to.payload(fact.payload)
      to.items(fact.platforms, writeString)
      to.items(fact.regions, writeString)
      to.int(fact.perSecond)
      to.long(fact.ttlMs)
      return to.string(fact.by)
    case 'BroadcastCancelled':
      to.string(fact.app)
      to.string(fact.messageId)
      to.string(fact.by)
      return to.string(fact.reason)
    case 'BroadcastReported':
      to.string(fact.app)
      to.string(fact.messageId)
      to.string(fact.state)
      to.long(fact.sent)
      to.long(fact.slow)
      to.long(fact.left)
  }
}

function writeConnectionMoved (to: AvroWriter, moved: ConnectionMoved): void {
  to.string(moved.userId)
  to.string(moved.deviceId)
  to.string(moved.connectionId)
  to.boolean(moved.closed)
  to.string(moved.toNodeId)
  to.string(moved.toConnectionId)
  to.long(moved.afterMs)
  to.long(moved.darkMs)
  to.long(moved.uplinksLost)
  to.long(moved.downlinksLost)
  to.long(moved.rooms)
}

export function readNodeEntry (r: AvroReader): NodeEntry {
  return { nodeId: r.sharedString(), epoch: r.long(), atMs: r.long(), fact: readNodeFact(r) }
}

function readNodeFact (r: AvroReader): NodeFact {
  switch (nodeFactTypes[r.index(nodeFactTypes.length)]!) {
    case 'NodeStarted': return {
      type: 'NodeStarted',
      region: r.sharedString(),
      roles: r.string(),
      version: r.sharedString(),
      wsUrl: r.string(),
      tcpUrl: r.string(),
      connectionsMax: r.long(),
      leaseMs: r.long(),
    }
    case 'NodeReported': return {
      type: 'NodeReported',
      connections: r.long(),
      eventLoopUtilization: r.double(),
      rssBytes: r.long(),
      memoryBytesMax: r.long(),
      cpuCores: r.double(),
      loopDelayP50Ms: r.double(),
      loopDelayP90Ms: r.double(),
      loopDelayP99Ms: r.double(),
      ackP50Ms: r.double(),
      ackP90Ms: r.double(),
      ackP99Ms: r.double(),
      waitMs: r.double(),
      waitMsMax: r.double(),
      admissionLevel: r.double(),
    }
    case 'NodeDraining': return { type: 'NodeDraining', percent: r.double(), withinMs: r.long() }
    case 'NodeLost': return { type: 'NodeLost' }
    case 'NodeStopped': return { type: 'NodeStopped' }
    case 'NodeDrainRequested':
      return {
        type: 'NodeDrainRequested',
        drainId: r.string(),
        percent: r.double(),
        withinMs: r.long(),
        by: r.string(),
        reason: r.string(),
      }
    case 'NodeDrainReported': return {
      type: 'NodeDrainReported',
      drainId: r.string(),
      startedAtMs: r.long(),
      percent: r.double(),
      withinMs: r.long(),
      done: r.boolean(),
      total: r.long(),
      asked: r.long(),
      left: r.long(),
      closed: r.long(),
      resumed: r.long(),
      uplinksLost: r.long(),
      downlinksLost: r.long(),
      members: r.long(),
      membersResumed: r.long(),
      moves: r.items(readConnectionMoved),
    }
    case 'BroadcastRequested': return {
      type: 'BroadcastRequested',
      app: r.sharedString(),
      messageId: r.string(),
      service: r.sharedString(),
      payload: r.payload(),
      platforms: r.items(readString),
      regions: r.items(readString),
      perSecond: r.int(),
      ttlMs: r.long(),
      by: r.string(),
    }
    case 'BroadcastCancelled': return {
      type: 'BroadcastCancelled',
      app: r.sharedString(),
      messageId: r.string(),
      by: r.string(),
      reason: r.string(),
    }
    case 'BroadcastReported': return {
      type: 'BroadcastReported',
      app: r.sharedString(),
      messageId: r.string(),
      state: r.sharedString(),
      sent: r.long(),
      slow: r.long(),
      left: r.long(),
    }
  }
}

function readConnectionMoved (r: AvroReader): ConnectionMoved {
  return {
    userId: r.string(),
    deviceId: r.sharedString(),
    connectionId: r.string(),
    closed: r.boolean(),
    toNodeId: r.sharedString(),
    toConnectionId: r.string(),
    afterMs: r.long(),
    darkMs: r.long(),
    uplinksLost: r.long(),
    downlinksLost: r.long(),
    rooms: r.long(),
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
  }
  return withApp(record, r.sharedString())
}

function withApp<T extends { userId: string }> (record: T, app: string): T {
  if (app !== '') record.userId = userKey(app, record.userId)
  return record
}

function writeString (to: AvroWriter, value: string): void { to.string(value) }
function readString (from: AvroReader): string { return from.string() }

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
