import type { ConnectionClosed, ConnectionOpened, DownlinkRequested } from '../schemas/facts.js'

/** Facts for tests and benchmarks, with what they do not care about filled in. */

export const minute = 60_000

export function opened (connectionId: string, with_: Partial<ConnectionOpened> = {}): ConnectionOpened {
  return {
    type: 'ConnectionOpened',
    connectionId,
    nodeId: 'n1',
    nodeEpoch: 1,
    deviceId: 'phone',
    platform: 'ios',
    client: 'app/1',
    sessionId: 's1',
    transport: 'tcp',
    address: '192.0.2.1:4000',
    downlinkSeq: 0,
    loginPolicy: 'device',
    uplinkWindow: 4,
    tokenId: '',
    presence: false,
    takesOver: true,
    ...with_,
  }
}

export function closed (connectionId: string, with_: Partial<ConnectionClosed> = {}): ConnectionClosed {
  return {
    type: 'ConnectionClosed',
    connectionId,
    code: 'disconnected',
    reason: '',
    endSession: false,
    told: true,
    writtenSeq: 0,
    ackedSeq: 0,
    framesIn: 0,
    framesOut: 0,
    bytesIn: 0,
    bytesOut: 0,
    uplinks: 0,
    downlinksWritten: 0,
    downlinksAcked: 0,
    roundTripMs: -1,
    presenceGraceMs: 0,
    by: '',
    ...with_,
  }
}

export function requested (messageId: string, with_: Partial<DownlinkRequested> = {}): DownlinkRequested {
  return {
    type: 'DownlinkRequested',
    messageId,
    service: '',
    payload: Buffer.from(messageId),
    ttlMs: 60 * minute,
    platforms: [],
    exceptDevices: [],
    devices: [],
    outboxBytesMax: 0,
    receipts: false,
    offlineAfterMs: 0,
    replaces: '',
    ...with_,
  }
}
