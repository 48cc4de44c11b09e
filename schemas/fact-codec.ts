import { type AvroReader, readString } from './avro-reader.js'
import { type AvroWriter, writeString } from './avro-writer.js'
import type { Entry, Fact, LoginPolicy, Transport } from './facts.js'
import { roomRightNames } from './room-rights.js'

/*
  Avro binary of streams/ledger.avsc, by hand: the ledger is the hottest stream, its facts carry a `type` of their own,
  and a payload comes out as a view. avsc with the same schema is the tests' oracle.
*/

export const transports: readonly Transport[] = ['tcp', 'ws']
export const loginPolicies: readonly LoginPolicy[] = ['device', 'platform', 'user', 'none']

/** Branches of the union `fact`, in the order of the schema. New ones go to the end. */
export const factTypes = [
  'ConnectionOpened', 'ConnectionClosed', 'UplinkReceived', 'DownlinkRequested', 'DeliveryReported', 'KickRequested',
  'UplinksRefused', 'DownlinkRedelivered', 'DownlinkSkipped', 'UserBanned', 'BanLifted', 'TokenRenewed',
  'RoomGranted', 'RoomRevoked', 'AbsenceEnded', 'HandOverDue', 'DownlinkRecalled',
] as const satisfies readonly Fact['type'][]

export function writeEntry (to: AvroWriter, { userId, atMs, fact }: Entry): void {
  to.string(userId)
  to.long(atMs)
  switch (fact.type) {
    case 'ConnectionOpened':
      to.long(0)
      to.string(fact.connectionId)
      to.string(fact.nodeId)
      to.long(fact.nodeEpoch)
      to.string(fact.deviceId)
      to.string(fact.platform)
      to.string(fact.client)
      to.string(fact.sessionId)
      to.symbol(transports, fact.transport)
      to.string(fact.address)
      to.long(fact.downlinkSeq)
      to.symbol(loginPolicies, fact.loginPolicy)
      to.long(fact.uplinkWindow)
      to.string(fact.tokenId)
      to.boolean(fact.presence)
      return to.boolean(fact.takesOver)
    case 'ConnectionClosed':
      to.long(1)
      to.string(fact.connectionId)
      to.string(fact.code)
      to.string(fact.reason)
      to.boolean(fact.endSession)
      to.boolean(fact.told)
      to.long(fact.writtenSeq)
      to.long(fact.ackedSeq)
      to.long(fact.framesIn)
      to.long(fact.framesOut)
      to.long(fact.bytesIn)
      to.long(fact.bytesOut)
      to.long(fact.uplinks)
      to.long(fact.downlinksWritten)
      to.long(fact.downlinksAcked)
      to.int(fact.roundTripMs)
      to.long(fact.presenceGraceMs)
      return to.string(fact.by)
    case 'UplinkReceived':
      to.long(2)
      to.string(fact.connectionId)
      to.long(fact.seq)
      to.string(fact.service)
      to.payload(fact.payload)
      to.int(fact.priority)
      return to.string(fact.roomId)
    case 'DownlinkRequested':
      to.long(3)
      to.string(fact.messageId)
      to.string(fact.service)
      to.payload(fact.payload)
      to.long(fact.ttlMs)
      to.items(fact.platforms, writeString)
      to.items(fact.exceptDevices, writeString)
      to.items(fact.devices, writeString)
      to.long(fact.outboxBytesMax)
      to.boolean(fact.receipts)
      to.long(fact.offlineAfterMs)
      return to.string(fact.replaces)
    case 'DeliveryReported':
      to.long(4)
      to.string(fact.connectionId)
      to.long(fact.writtenSeq)
      return to.long(fact.ackedSeq)
    case 'KickRequested':
      to.long(5)
      to.string(fact.requestId)
      to.string(fact.connectionId)
      to.string(fact.reason)
      return to.string(fact.by)
    case 'UplinksRefused':
      to.long(6)
      to.string(fact.connectionId)
      to.long(fact.fromSeq)
      to.long(fact.toSeq)
      to.string(fact.code)
      return to.long(fact.count)
    case 'DownlinkRedelivered':
      to.long(7)
      to.string(fact.requestId)
      to.string(fact.deviceId)
      to.long(fact.seq)
      to.string(fact.messageId)
      to.string(fact.service)
      to.payload(fact.payload)
      to.long(fact.ttlMs)
      to.long(fact.outboxBytesMax)
      to.string(fact.by)
      to.string(fact.reason)
      return to.boolean(fact.receipts)
    case 'DownlinkSkipped':
      to.long(8)
      to.string(fact.connectionId)
      to.long(fact.seq)
      return to.string(fact.reason)
    case 'UserBanned':
      to.long(9)
      to.string(fact.banId)
      to.string(fact.deviceId)
      to.string(fact.tokenId)
      to.long(fact.untilMs)
      to.string(fact.reason)
      return to.string(fact.by)
    case 'BanLifted':
      to.long(10)
      to.string(fact.banId)
      to.string(fact.reason)
      return to.string(fact.by)
    case 'TokenRenewed':
      to.long(11)
      to.string(fact.connectionId)
      to.long(fact.renewal)
      return to.string(fact.tokenId)
    case 'RoomGranted':
      to.long(12)
      to.string(fact.roomId)
      to.symbol(roomRightNames, fact.rights)
      to.string(fact.requestId)
      return to.string(fact.by)
    case 'RoomRevoked':
      to.long(13)
      to.string(fact.roomId)
      to.string(fact.requestId)
      to.string(fact.by)
      return to.string(fact.reason)
    case 'AbsenceEnded':
      to.long(14)
      to.string(fact.deviceId)
      to.string(fact.connectionId)
      to.string(fact.code)
      return to.long(fact.sinceMs)
    case 'HandOverDue':
      to.long(15)
      to.string(fact.messageId)
      to.long(fact.requestedAtMs)
      return to.payload(fact.payload)
    case 'DownlinkRecalled':
      to.long(16)
      to.string(fact.messageId)
      to.string(fact.requestId)
      to.string(fact.by)
      to.string(fact.reason)
      to.string(fact.noticeId)
      to.long(fact.noticeTtlMs)
      to.long(fact.outboxBytesMax)
      return to.boolean(fact.receipts)
  }
}

/** What an entry begins with. */
export function readUserId (from: AvroReader): string { return from.sharedString() }

export function readEntry (from: AvroReader): Entry {
  return { userId: readUserId(from), atMs: from.long(), fact: readFact(from) }
}

function readFact (r: AvroReader): Fact {
  switch (factTypes[r.index(factTypes.length)]!) {
    case 'ConnectionOpened': return {
      type: 'ConnectionOpened',
      connectionId: r.sharedString(),
      nodeId: r.sharedString(),
      nodeEpoch: r.long(),
      deviceId: r.sharedString(),
      platform: r.sharedString(),
      client: r.sharedString(),
      sessionId: r.sharedString(),
      transport: transports[r.index(transports.length)]!,
      address: r.string(),
      downlinkSeq: r.long(),
      loginPolicy: loginPolicies[r.index(loginPolicies.length)]!,
      uplinkWindow: r.long(),
      tokenId: r.string(),
      presence: r.boolean(),
      takesOver: r.boolean(),
    }
    case 'ConnectionClosed': return {
      type: 'ConnectionClosed',
      connectionId: r.sharedString(),
      code: r.sharedString(),
      reason: r.string(),
      endSession: r.boolean(),
      told: r.boolean(),
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
      presenceGraceMs: r.long(),
      by: r.sharedString(),
    }
    case 'UplinkReceived': return {
      type: 'UplinkReceived',
      connectionId: r.sharedString(),
      seq: r.long(),
      service: r.sharedString(),
      payload: r.payload(),
      priority: r.int(),
      roomId: r.sharedString(),
    }
    case 'DownlinkRequested': return {
      type: 'DownlinkRequested',
      messageId: r.string(),
      service: r.sharedString(),
      payload: r.payload(),
      ttlMs: r.long(),
      platforms: r.items(readString),
      exceptDevices: r.items(readString),
      devices: r.items(readString),
      outboxBytesMax: r.long(),
      receipts: r.boolean(),
      offlineAfterMs: r.long(),
      replaces: r.string(),
    }
    case 'DeliveryReported': return {
      type: 'DeliveryReported',
      connectionId: r.sharedString(),
      writtenSeq: r.long(),
      ackedSeq: r.long(),
    }
    case 'KickRequested': return {
      type: 'KickRequested',
      requestId: r.string(),
      connectionId: r.sharedString(),
      reason: r.string(),
      by: r.sharedString(),
    }
    case 'UplinksRefused': return {
      type: 'UplinksRefused',
      connectionId: r.sharedString(),
      fromSeq: r.long(),
      toSeq: r.long(),
      code: r.sharedString(),
      count: r.long(),
    }
    case 'DownlinkRedelivered': return {
      type: 'DownlinkRedelivered',
      requestId: r.sharedString(),
      deviceId: r.sharedString(),
      seq: r.long(),
      messageId: r.string(),
      service: r.sharedString(),
      payload: r.payload(),
      ttlMs: r.long(),
      outboxBytesMax: r.long(),
      by: r.sharedString(),
      reason: r.string(),
      receipts: r.boolean(),
    }
    case 'DownlinkSkipped': return {
      type: 'DownlinkSkipped',
      connectionId: r.sharedString(),
      seq: r.long(),
      reason: r.string(),
    }
    case 'UserBanned': return {
      type: 'UserBanned',
      banId: r.string(),
      deviceId: r.sharedString(),
      tokenId: r.string(),
      untilMs: r.long(),
      reason: r.string(),
      by: r.sharedString(),
    }
    case 'BanLifted': return {
      type: 'BanLifted',
      banId: r.string(),
      reason: r.string(),
      by: r.sharedString(),
    }
    case 'TokenRenewed': return {
      type: 'TokenRenewed',
      connectionId: r.sharedString(),
      renewal: r.long(),
      tokenId: r.string(),
    }
    case 'RoomGranted': return {
      type: 'RoomGranted',
      roomId: r.sharedString(),
      rights: roomRightNames[r.index(roomRightNames.length)]!,
      requestId: r.string(),
      by: r.sharedString(),
    }
    case 'RoomRevoked': return {
      type: 'RoomRevoked',
      roomId: r.sharedString(),
      requestId: r.string(),
      by: r.sharedString(),
      reason: r.string(),
    }
    case 'AbsenceEnded': return {
      type: 'AbsenceEnded',
      deviceId: r.sharedString(),
      connectionId: r.sharedString(),
      code: r.sharedString(),
      sinceMs: r.long(),
    }
    case 'HandOverDue': return {
      type: 'HandOverDue',
      messageId: r.string(),
      requestedAtMs: r.long(),
      payload: r.payload(),
    }
    case 'DownlinkRecalled': return {
      type: 'DownlinkRecalled',
      messageId: r.string(),
      requestId: r.string(),
      by: r.string(),
      reason: r.string(),
      noticeId: r.string(),
      noticeTtlMs: r.long(),
      outboxBytesMax: r.long(),
      receipts: r.boolean(),
    }
  }
}
