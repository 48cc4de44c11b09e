import { type AvroReader, readString } from './avro-reader.js'
import { type AvroWriter, writeString } from './avro-writer.js'
import type { ConnectionMoved, Counted, NodeEntry, NodeFact } from './node-facts.js'

/* Avro binary of streams/nodes.avsc, by hand as record-codec.ts. */

/** Branches of the union `fact` of streams/nodes.avsc, in its order. New ones go to the end. */
export const nodeFactTypes = [
  'NodeStarted', 'NodeReported', 'NodeDraining', 'NodeLost', 'NodeStopped', 'NodeDrainRequested', 'NodeDrainReported',
  'BroadcastRequested', 'BroadcastCancelled', 'BroadcastReported', 'OperatorAsked',
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
      to.double(fact.admissionLevel)
      return to.items(fact.counted, writeCounted)
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
      return to.long(fact.left)
    case 'OperatorAsked':
      to.string(fact.app)
      to.string(fact.what)
      to.string(fact.by)
      to.string(fact.reason)
  }
}

function writeCounted (to: AvroWriter, { what, code, count }: Counted): void {
  to.string(what)
  to.string(code)
  to.long(count)
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
      counted: r.items(readCounted),
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
    case 'OperatorAsked': return {
      type: 'OperatorAsked',
      app: r.sharedString(),
      what: r.string(),
      by: r.string(),
      reason: r.string(),
    }
  }
}

function readCounted (r: AvroReader): Counted {
  return { what: r.sharedString(), code: r.sharedString(), count: r.long() }
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
