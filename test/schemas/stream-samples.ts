import fc from 'fast-check'
import type { Entry, Fact } from '../../schemas/facts.js'
import type { NodeFact } from '../../schemas/records.js'

/** A fact of each type. */
export const facts: Fact[] = [
  {
    type: 'ConnectionOpened',
    connectionId: 'c'.repeat(16),
    nodeId: 'n1',
    nodeEpoch: 1700000000000,
    deviceId: 'phone',
    platform: 'ios',
    client: 'app/1.2',
    sessionId: 's1',
    transport: 'ws',
    address: '[2001:db8::1]:5123',
    downlinkSeq: 4,
    loginPolicy: 'platform',
    uplinkWindow: 256,
  },
  {
    type: 'ConnectionClosed',
    connectionId: 'c'.repeat(16),
    code: 'disconnected',
    reason: '',
    endSession: false,
    told: true,
    writtenSeq: 3,
    ackedSeq: 2,
    framesIn: 10,
    framesOut: 20,
    bytesIn: 3000,
    bytesOut: 5_000_000_000,
    uplinks: 7,
    downlinksWritten: 3,
    downlinksAcked: 2,
    roundTripMs: 31,
  },
  {
    type: 'UplinkReceived',
    connectionId: 'c'.repeat(16),
    seq: 7,
    service: 'chat',
    payload: Buffer.from('hello'),
    priority: 0,
  },
  {
    type: 'DownlinkRequested',
    messageId: 'm1',
    service: 'chat',
    payload: Buffer.of(0xff, 0),
    ttlMs: 604800000,
    platforms: ['ios', 'android'],
    exceptDevices: [],
  },
  { type: 'DeliveryReported', connectionId: 'c'.repeat(16), writtenSeq: 9, ackedSeq: 8 },
  { type: 'KickRequested', requestId: 'k1', connectionId: '', reason: 'příliš' },
  { type: 'UplinksRefused', connectionId: 'c'.repeat(16), fromSeq: 8, toSeq: 12, code: 'throttled', count: 5 },
  {
    type: 'DownlinkRedelivered',
    requestId: 'r1',
    deviceId: 'phone',
    seq: 12,
    messageId: 'm1',
    service: 'chat',
    payload: Buffer.from('again'),
    ttlMs: 604800000,
  },
]

export const nodeFacts: NodeFact[] = [
  {
    type: 'NodeStarted',
    region: 'eu',
    roles: 'edge,users',
    version: '0.1.0',
    wsUrl: 'wss://a.example/v1/connect',
    tcpUrl: '',
    connectionsMax: 15000,
    leaseMs: 15000,
  },
  { type: 'NodeReported', connections: 3, eventLoopUtilization: 0.25, rssBytes: 2 ** 33, memoryBytesMax: 2 ** 34 },
  { type: 'NodeDraining', percent: 12.5, withinMs: 60000 },
  { type: 'NodeLost' },
  { type: 'NodeStopped' },
]

/** Entries as they come in numbers: ids of any characters, payloads of any size. */
export const anyEntries: fc.Arbitrary<Entry[]> = fc.array(fc.record({
  userId: fc.string({ maxLength: 80 }),
  atMs: fc.integer({ min: -(2 ** 52), max: Number.MAX_SAFE_INTEGER - 1 }),
  fact: fc.oneof(fc.constantFrom(...facts), fc.record({
    type: fc.constant('UplinkReceived' as const),
    connectionId: fc.string({ unit: 'grapheme', maxLength: 20 }),
    seq: fc.nat(),
    service: fc.string({ maxLength: 5 }),
    payload: fc.uint8Array({ maxLength: 3000 }).map(bytes => Buffer.from(bytes)),
    priority: fc.integer(),
  }, { noNullPrototype: true })),
}, { noNullPrototype: true }), { maxLength: 40 })
