import avsc from 'avsc'
import t from 'tap'
import { userKey } from '../../schemas/apps.js'
import { loadSchema } from '../../schemas/avsc-files.js'
import { GatewayError } from '../../schemas/errors.js'
import { factTypes } from '../../schemas/fact-codec.js'
import { foreignBlocks, unknownFacts } from '../../schemas/foreign-blocks.js'
import {
  fingerprintOf, headerBytes, readHeader, register, writeHeader, type AvroSchema,
} from '../../schemas/single-object.js'
import { maybeSilent, roomStates } from '../../actors/rooms/parts.js'
import { roomPostCodec } from '../../schemas/room-state.js'
import { noReport } from '../../projections/nodes.js'
import * as streams from '../../schemas/streams.js'
import { bansCodec, connectionCodec, headCodec, messageCodec, sessionCodec, wholeCodec } from '../../schemas/user-state.js'
import { ended as rowOf } from '../evidence/connection-rows.js'
import { closed, opened } from '../facts.js'
import { mutate } from './mutations.js'
import { facts } from './stream-samples.js'

const { downlinks, ledger } = streams

/** What a writer with another schema stores, which this build has registered. */
function foreignBlock (schema: AvroSchema, items: unknown[]): Buffer {
  const array: AvroSchema = { type: 'array', items: schema }
  const header = Buffer.alloc(headerBytes)
  writeHeader(register(array), header, 0)
  const type = avsc.Type.forSchema(array as avsc.Schema, { wrapUnions: 'always' })
  return Buffer.concat([header, type.toBuffer(items)])
}

/** A copy of `schema` with other fields, or other branches of its union. */
function changed (schema: AvroSchema, change: (schema: any) => void): AvroSchema {
  const copy = structuredClone(schema)
  change(copy)
  return copy
}

/** What a command has that says nothing of streams for business services. */
const byDefault = { receipts: true, offlineAfterMs: -1, replaces: '' }
/** What the head of a state has of which they have heard nothing. */
const nothingTold = { presenceSeq: 0, receiptSeq: 0, offlineSeq: 0, acked: [], handedOver: [] }

const uplink = (service?: string) => ({
  'ledgerline.UplinkReceived': { connectionId: 'c1', seq: 7, service, payload: Buffer.from('hello'), priority: 0 },
})

/** What commands of every form say: a request to send to one user. */
const toOneUser = {
  messageId: 'm1',
  userIds: ['u1'],
  service: '',
  payload: Buffer.from('x'),
  ttlMs: 1,
  delivery: 'durable',
  platforms: [],
}

t.test('a block of an older writer', async t => {
  t.test('gets the defaults of fields that its schema lacks', async t => {
    const older = changed(downlinks.schema, schema => {
      schema.fields = schema.fields.filter(({ name }: any) => name !== 'exceptDevices' && name !== 'service')
    })
    const command = {
      messageId: 'm1', userIds: ['u1', 'u2'], payload: Buffer.from('x'), ttlMs: 1, delivery: 'durable', platforms: ['ios'],
    }
    t.strictSame(downlinks.decodeBlock(foreignBlock(older, [command, command])),
      Array(2).fill({ ...command, service: '', exceptDevices: [], devices: [], app: '', roomId: '', ...byDefault }))
  })
  t.test('gets them within a fact too', async t => {
    const older = changed(ledger.schema, schema => { schema.fields[2].type[2].fields.splice(2, 1) })
    const reader = changed(ledger.schema, schema => { schema.fields[2].type[2].fields[2].default = 'main' })
    const block = foreignBlock(older, [{ userId: 'u1', atMs: 5, fact: uplink() }])
    t.strictSame(foreignBlocks(reader, factTypes)(block, readHeader(block)), [
      { userId: 'u1', atMs: 5, fact: { ...facts[2], connectionId: 'c1', service: 'main', roomId: '' } },
    ])
  })
  t.test('is refused when a field that it lacks has no default', async t => {
    const older = changed(ledger.schema, schema => { schema.fields.splice(1, 1) })
    t.throws(() => ledger.decodeBlock(foreignBlock(older, [])), { code: 'bad-record', message: /does not resolve/ })
  })
  t.test('is refused when its schema is of no block', async t => {
    const block = Buffer.alloc(headerBytes + 1)
    writeHeader(register('string'), block, 0)
    t.throws(() => downlinks.decodeBlock(block), { code: 'bad-record', message: /not of a block/ })
  })
})

t.test('a block of a newer writer', async t => {
  const newer = changed(ledger.schema, schema => {
    schema.fields.push({ name: 'traceId', type: 'string' })
    schema.fields[2].type.splice(1, 0, { type: 'record', name: 'Renamed', fields: [{ name: 'to', type: 'string' }] })
  })
  const entry = (fact: object) => ({ userId: 'u1', atMs: 5, fact, traceId: 't' })
  const block = foreignBlock(newer, [entry(uplink('s')), entry({ 'ledgerline.Renamed': { to: 'x' } }), entry(uplink('s'))])

  t.test('loses the facts that this build does not know, which are counted, and the fields', async t => {
    const before = unknownFacts.skipped
    const known = { userId: 'u1', atMs: 5, fact: { ...facts[2], connectionId: 'c1', service: 's', roomId: '' } }
    t.strictSame(ledger.decodeBlock(block), [known, known])
    t.equal(unknownFacts.skipped, before + 1)
  })
  t.test('is refused with bad-record alone, whatever its bytes', async t => {
    const bomb = Buffer.concat([block.subarray(0, headerBytes), Buffer.from('feffffff0f00', 'hex')])
    t.throws(() => ledger.decodeBlock(bomb), { code: 'bad-record' })
    t.throws(() => ledger.decodeBlock(Buffer.concat([block, Buffer.alloc(1)])), { code: 'bad-record' })
    const seed = Number(process.env['SEED'] ?? 20240229)
    const random = mutate(seed)
    for (let i = 0; i < 20_000; i++) {
      const bytes = Buffer.concat([block.subarray(0, headerBytes), random(block.subarray(headerBytes))])
      try {
        ledger.decodeBlock(bytes)
      } catch (err) {
        if (err instanceof GatewayError && err.code === 'bad-record') continue
        t.fail(`seed ${seed}: ${bytes.toString('hex')}: ${err}`)
        break
      }
    }
  })
})

t.test('what was written before requests could name devices', async t => {
  const oldForm = (name: string) => loadSchema(`history/${name}`)
  t.test('is a request for all devices in the ledger', async t => {
    const request = {
      messageId: 'm1', service: '', payload: Buffer.from('x'), ttlMs: 1, platforms: ['ios'], exceptDevices: ['pad'],
    }
    const block = foreignBlock(oldForm('ledger-2'),
      [{ userId: 'u1', atMs: 5, fact: { 'ledgerline.DownlinkRequested': request } }])
    t.strictSame(ledger.decodeBlock(block),
      [{ userId: 'u1', atMs: 5, fact: { type: 'DownlinkRequested', ...request, devices: [], outboxBytesMax: 0, receipts: false, offlineAfterMs: 0, replaces: '' } }])
  })
  t.test('is a command for all devices in downlinks', async t => {
    const command = {
      ...toOneUser,
      exceptDevices: ['pad'],
    }
    t.strictSame(downlinks.decodeBlock(foreignBlock(oldForm('downlinks-1'), [command])), [{ ...command, devices: [], app: '', roomId: '', ...byDefault }])
  })
  t.test('is a downlink for all devices in a saved state', async t => {
    const kept = {
      messageId: 'm1',
      service: '',
      payload: Buffer.from('x'),
      requestedAtMs: 1,
      expiresAtMs: 2,
      platforms: [],
      exceptDevices: ['pad'],
    }
    const state = { offset: 7, userSeq: 3, sessionsBegun: 0, sessions: [], connections: [], requests: ['m1'], waiting: [kept] }
    const older = oldForm('user-state-1')
    const header = Buffer.alloc(headerBytes)
    writeHeader(fingerprintOf(older), header, 0)
    const type = avsc.Type.forSchema(older as avsc.Schema, { wrapUnions: true })
    const { waiting } = wholeCodec.decode(Buffer.concat([header, type.toBuffer(state)]))
    t.strictSame(waiting.map(each => ({ ...each })), [{ ...kept, devices: [] }])
  })
})

t.test('what was written before outboxes had a bound in bytes', async t => {
  t.test('is a request without one in the ledger', async t => {
    const request = {
      messageId: 'm1', service: '', payload: Buffer.from('x'), ttlMs: 1, platforms: [], exceptDevices: [], devices: ['pad'],
    }
    const again = { requestId: 'r1', deviceId: 'pad', seq: 3, messageId: 'm1', service: '', payload: Buffer.from('x'), ttlMs: 1 }
    const block = foreignBlock(loadSchema('history/ledger-3'), [
      { userId: 'u1', atMs: 5, fact: { 'ledgerline.DownlinkRequested': request } },
      { userId: 'u1', atMs: 6, fact: { 'ledgerline.DownlinkRedelivered': again } },
    ])
    t.strictSame(ledger.decodeBlock(block), [
      { userId: 'u1', atMs: 5, fact: { type: 'DownlinkRequested', ...request, outboxBytesMax: 0, receipts: false, offlineAfterMs: 0, replaces: '' } },
      { userId: 'u1', atMs: 6, fact: { type: 'DownlinkRedelivered', ...again, outboxBytesMax: 0, by: '', reason: '', receipts: false } },
    ])
  })
})

t.test('what was written before operators had keys says neither who nor why', async t => {
  const drain = { drainId: 'd1', percent: 50, withinMs: 1_000 }
  const block = foreignBlock(loadSchema('history/nodes-2'), [
    { nodeId: 'n1', epoch: 1, atMs: 5, fact: { 'ledgerline.NodeDrainRequested': drain } },
  ])
  t.strictSame(streams.nodes.decodeBlock(block), [
    { nodeId: 'n1', epoch: 1, atMs: 5, fact: { type: 'NodeDrainRequested', ...drain, by: '', reason: '' } },
  ])
  const again = { requestId: 'r1', deviceId: 'pad', seq: 3, messageId: 'm1', service: '', payload: Buffer.from('x'), ttlMs: 1 }
  const entries = [
    { userId: 'u1', atMs: 5, fact: { 'ledgerline.KickRequested': { requestId: 'k1', connectionId: '', reason: 'enough' } } },
    { userId: 'u1', atMs: 6, fact: { 'ledgerline.DownlinkRedelivered': again } },
  ]
  t.match(ledger.decodeBlock(foreignBlock(loadSchema('history/ledger-3'), entries)), [
    { fact: { type: 'KickRequested', reason: 'enough', by: '' } }, { fact: { by: '', reason: '' } },
  ])
})

t.test('a connection that was opened before later ones took over does not', async t => {
  const { type: _, takesOver: __, ...fact } = opened('c1')
  const block = foreignBlock(loadSchema('history/ledger-6'), [{ userId: 'u1', atMs: 5, fact: { 'ledgerline.ConnectionOpened': fact } }])
  t.match(ledger.decodeBlock(block), [{ fact: { type: 'ConnectionOpened', connectionId: 'c1', takesOver: false } }])
})

t.test('what was written before there were rooms is in none', async t => {
  const received = { connectionId: 'c1', seq: 1, service: '', payload: Buffer.from('x'), priority: 0 }
  const block = foreignBlock(loadSchema('history/ledger-4'),
    [{ userId: 'u1', atMs: 5, fact: { 'ledgerline.UplinkReceived': received } }])
  t.strictSame(ledger.decodeBlock(block), [{ userId: 'u1', atMs: 5, fact: { type: 'UplinkReceived', ...received, roomId: '' } }])
  const uplink = {
    userId: 'u1',
    userSeq: 1,
    deviceId: 'd',
    platform: '',
    sessionId: 's',
    seq: 1,
    connectionId: 'c',
    service: '',
    payload: Buffer.from('x'),
    priority: 0,
    receivedAtMs: 1,
  }
  t.strictSame(streams.uplinks.decodeBlock(foreignBlock(loadSchema('history/uplinks-2'), [{ ...uplink, app: 'shop' }])),
    [{ ...uplink, userId: userKey('shop', 'u1'), roomId: '' }])
})

t.test('what was saved of a user before business could put him into rooms has none', async t => {
  const older = loadSchema('history/head-1')
  const header = Buffer.alloc(headerBytes)
  writeHeader(fingerprintOf(older), header, 0)
  const saved = {
    offset: 7,
    userSeq: 3,
    sessionsBegun: 1,
    connectionsBegun: 2,
    messagesBegun: 0,
    requestsFirst: 0,
    requestsEnd: 0,
    sessions: [],
    connections: [1, 1],
    messages: [],
    waiting: [],
    forgotten: false,
    bans: true,
  }
  const type = avsc.Type.forSchema(older as avsc.Schema, { wrapUnions: true })
  t.strictSame({ ...headCodec.decode(Buffer.concat([header, type.toBuffer(saved)])) },
    { ...saved, memberships: false, ...nothingTold })
})

t.test('what was written before business services heard of it tells them nothing', async t => {
  const old = loadSchema('history/ledger-5')
  const opened = { ...facts[0] as object, type: undefined, presence: undefined }
  const closed = { ...facts[1] as object, type: undefined, presenceGraceMs: undefined }
  const entries = [
    { userId: 'u1', atMs: 5, fact: { 'ledgerline.ConnectionOpened': opened } },
    { userId: 'u1', atMs: 6, fact: { 'ledgerline.ConnectionClosed': closed } },
  ]
  t.match(ledger.decodeBlock(foreignBlock(old, entries)), [
    { fact: { type: 'ConnectionOpened', connectionId: 'c'.repeat(16), presence: false } },
    { fact: { type: 'ConnectionClosed', told: true, presenceGraceMs: 0 } },
  ])
  t.test('and so does what was saved of a user', async t => {
    const head = {
      offset: 7,
      userSeq: 3,
      sessionsBegun: 1,
      connectionsBegun: 2,
      messagesBegun: 1,
      requestsFirst: 0,
      requestsEnd: 0,
      sessions: [],
      connections: [1, 1],
      messages: [1, 1],
      waiting: [1, 1],
      forgotten: false,
      bans: true,
      memberships: true,
    }
    t.strictSame({ ...headCodec.decode(saved('head-2', head)) }, { ...head, ...nothingTold })
    const message = {
      messageId: 'm1',
      service: '',
      payloadBytes: 1,
      payload: Buffer.from('x'),
      requestedAtMs: 1,
      expiresAtMs: 2,
      platforms: [],
      exceptDevices: [],
      devices: [],
    }
    t.strictSame({ ...messageCodec.decode(saved('message-1', message)) }, { ...message, receipts: false })
    const session = {
      deviceId: 'phone',
      ordinal: 1,
      platform: 'ios',
      sessionId: 's1',
      connectionId: '',
      touchedAtMs: 5,
      uplinkSeq: 3,
      answers: [1],
      answersMax: 4,
      nextSeq: 2,
      ackedSeq: 1,
      toldSeq: 1,
      missed: 0,
      numbered: 0,
      outbox: [],
    }
    t.strictSame({ ...sessionCodec.decode(saved('session-1', session)) }, { ...session, toldOnline: false })
  })
})

/** A part as an earlier version saved it. */
function saved (form: string, fields: object): Buffer {
  const older = loadSchema(`history/${form}`)
  const header = Buffer.alloc(headerBytes)
  writeHeader(fingerprintOf(older), header, 0)
  return Buffer.concat([header, avsc.Type.forSchema(older as avsc.Schema, { wrapUnions: true }).toBuffer(fields)])
}

t.test('what was saved of a connection before it said why it ends says nothing of it', async t => {
  const older = loadSchema('history/connection-1')
  const header = Buffer.alloc(headerBytes)
  writeHeader(fingerprintOf(older), header, 0)
  const saved = {
    connectionId: 'c1',
    nodeId: 'n1',
    deviceId: 'phone',
    sessionId: 's1',
    sessionOrdinal: 1,
    missed: 0,
    downlinkSeq: 3,
    open: true,
    resumed: true,
    tokenId: 't1',
    renewals: 2,
  }
  const type = avsc.Type.forSchema(older as avsc.Schema, { wrapUnions: true })
  t.strictSame({ ...connectionCodec.decode(Buffer.concat([header, type.toBuffer(saved)])) },
    { ...saved, endCode: '', endReason: '', endBy: '', takesOver: false })
})

t.test('a report that was written before nodes told what they do says nothing of it', async t => {
  const report = { connections: 3, eventLoopUtilization: 0.5, rssBytes: 7, memoryBytesMax: 8 }
  const block = foreignBlock(loadSchema('history/nodes-3'), [
    { nodeId: 'n1', epoch: 1, atMs: 5, fact: { 'ledgerline.NodeReported': report } },
  ])
  t.strictSame(streams.nodes.decodeBlock(block), [
    { nodeId: 'n1', epoch: 1, atMs: 5, fact: { type: 'NodeReported', ...noReport, ...report } },
  ])
})

t.test('a command that was written before it could name a room is one to users', async t => {
  const command = {
    ...toOneUser,
    exceptDevices: [],
    devices: ['phone'],
    app: 'shop',
  }
  t.strictSame(streams.downlinks.decodeBlock(foreignBlock(loadSchema('history/downlinks-3'), [command])),
    [{ ...command, roomId: '', ...byDefault }])
})

t.test('facts of rooms that were written before nodes told what they delivered are read', async t => {
  const joined = { nodeId: 'n1', nodeEpoch: 1, interest: 2 }
  const block = foreignBlock(loadSchema('history/rooms-1'), [
    { roomId: 'r', atMs: 5, fact: { 'ledgerline.NodeJoined': joined } },
  ])
  t.strictSame(streams.rooms.decodeBlock(block), [{ roomId: 'r', atMs: 5, fact: { type: 'NodeJoined', ...joined } }])
})

t.test('facts of rooms that were written before rooms could fall silent are read', async t => {
  const told = { nodeId: 'n1', nodeEpoch: 1, interest: 2, roomSeq: 3, members: 4, behind: 0 }
  const block = foreignBlock(loadSchema('history/rooms-2'), [
    { roomId: 'r', atMs: 5, fact: { 'ledgerline.PostsDelivered': told } },
  ])
  t.strictSame(streams.rooms.decodeBlock(block), [{ roomId: 'r', atMs: 5, fact: { type: 'PostsDelivered', ...told } }])
})

t.test('a room that was saved before it knew when it was used is as old as its last post', async t => {
  const head = saved('room-head-1', {
    offset: 7, roomSeq: 3, keptAfter: 2, requestsFirst: 0, requestsEnd: 0, sources: [], nodes: false, closed: false, closeReason: '',
  })
  t.strictSame(roomStates.partsOf(head), ['m3'])
  t.equal(maybeSilent(head, 1), true)
  const post = roomPostCodec.encode({ messageId: 'm', from: '', service: '', payload: Buffer.of(1), postedAtMs: 500 })
  const state = roomStates.stateOf({ head, parts: new Map([['m3', post]]) })
  t.match(state, { offset: 7n, usedAtMs: 500, tail: { roomSeq: 3, keptAfter: 2 } })
  t.strictSame(state.times.all, [])
})

t.test('a ledger that was written before downlinks could be recalled is read', async t => {
  const due = { messageId: 'm1', requestedAtMs: 1, payload: Buffer.from('x') }
  t.strictSame(ledger.decodeBlock(foreignBlock(loadSchema('history/ledger-7'), [
    { userId: 'u1', atMs: 5, fact: { 'ledgerline.HandOverDue': due } },
  ])), [{ userId: 'u1', atMs: 5, fact: { type: 'HandOverDue', ...due } }])
})

t.test('what was written before the end of a connection said who had asked for it says nobody', async t => {
  const { by, type, ...end } = closed('c1', { code: 'kicked', reason: 'enough' })
  t.strictSame(ledger.decodeBlock(foreignBlock(loadSchema('history/ledger-9'), [
    { userId: 'u1', atMs: 5, fact: { 'ledgerline.ConnectionClosed': end } },
  ])), [{ userId: 'u1', atMs: 5, fact: { type, ...end, by: '' } }])
  const { by: nobody, ...row } = rowOf('u1', 'c1')
  const before = foreignBlock(loadSchema('history/connections-3'), [{ ...row, app: '' }])
  t.strictSame(streams.connections.decodeBlock(before), [{ ...row, by: '' }])
  const ban = { banId: 'b1', deviceId: '', tokenId: '', untilMs: 0, reason: 'spam', bannedAtMs: 5 }
  t.strictSame(bansCodec.decode(saved('bans-1', { bans: [ban] })).bans.map(ban => ({ ...ban })), [{ ...ban, by: '' }])
})

t.test('a ledger that was written before a recall could tell devices is read', async t => {
  const recalled = { messageId: 'm1', requestId: 'r1', by: '', reason: '' }
  t.strictSame(ledger.decodeBlock(foreignBlock(loadSchema('history/ledger-8'), [
    { userId: 'u1', atMs: 5, fact: { 'ledgerline.DownlinkRecalled': recalled } },
  ])), [{
    userId: 'u1',
    atMs: 5,
    fact: { type: 'DownlinkRecalled', ...recalled, noticeId: '', noticeTtlMs: 0, outboxBytesMax: 0, receipts: false },
  }])
})

t.test('a command that was written before it could replace another one replaces none', async t => {
  const command = {
    ...toOneUser,
    exceptDevices: [],
    devices: [],
    app: '',
    roomId: '',
    receipts: false,
    offlineAfterMs: 5,
  }
  t.strictSame(downlinks.decodeBlock(foreignBlock(loadSchema('history/downlinks-5'), [command])), [{ ...command, replaces: '' }])
})

t.test('what nodes said before there were broadcasts means the same', async t => {
  const stopped = { nodeId: 'n1', epoch: 1, atMs: 5, fact: { 'ledgerline.NodeStopped': {} } }
  t.strictSame(streams.nodes.decodeBlock(foreignBlock(loadSchema('history/nodes-4'), [stopped])),
    [{ nodeId: 'n1', epoch: 1, atMs: 5, fact: { type: 'NodeStopped' } }])
})

t.test('what nodes reported before they told what they count means the same', async t => {
  const { counted, ...report } = noReport
  const reported = { nodeId: 'n1', epoch: 1, atMs: 5, fact: { 'ledgerline.NodeReported': { ...report, connections: 3 } } }
  t.strictSame(streams.nodes.decodeBlock(foreignBlock(loadSchema('history/nodes-5'), [reported])),
    [{ nodeId: 'n1', epoch: 1, atMs: 5, fact: { type: 'NodeReported', ...report, connections: 3, counted: [] } }])
})

t.test('what nodes said before they told what operators ask for means the same', async t => {
  const cancelled = { app: '', messageId: 'm1', by: 'k7', reason: 'enough' }
  const entry = { nodeId: 'n1', epoch: 1, atMs: 5, fact: { 'ledgerline.BroadcastCancelled': cancelled } }
  t.strictSame(streams.nodes.decodeBlock(foreignBlock(loadSchema('history/nodes-6'), [entry])),
    [{ nodeId: 'n1', epoch: 1, atMs: 5, fact: { type: 'BroadcastCancelled', ...cancelled } }])
})

t.test('what was written before there were apps is of the default one', async t => {
  const uplink = {
    userId: 'u1',
    userSeq: 1,
    deviceId: 'd',
    platform: '',
    sessionId: 's',
    seq: 1,
    connectionId: 'c',
    service: '',
    payload: Buffer.from('x'),
    priority: 0,
    receivedAtMs: 1,
  }
  t.strictSame(streams.uplinks.decodeBlock(foreignBlock(loadSchema('history/uplinks-1'), [uplink])),
    [{ ...uplink, roomId: '' }])
  const rejected = { userId: 'u1', command: Buffer.from('x'), code: 'bad-record', reason: '', rejectedAtMs: 1 }
  t.strictSame(streams.downlinksRejected.decodeBlock(foreignBlock(loadSchema('history/downlinks-rejected-1'), [rejected])), [rejected])
  const ended = {
    userId: 'u1',
    connectionId: 'c',
    deviceId: 'd',
    platform: '',
    client: '',
    sessionId: 's',
    transport: 'tcp',
    address: '',
    nodeId: 'n',
    nodeEpoch: 1,
    openedAtMs: 1,
    closedAtMs: 2,
    code: 'disconnected',
    reason: '',
    writtenSeq: 0,
    ackedSeq: 0,
    framesIn: 1,
    framesOut: 1,
    bytesIn: 1,
    bytesOut: 1,
    uplinks: 0,
    downlinksWritten: 0,
    downlinksAcked: 0,
    roundTripMs: -1,
    resumedFrom: '',
    resumedTo: '',
  }
  t.strictSame(streams.connections.decodeBlock(foreignBlock(loadSchema('history/connections-2'), [ended])), [{ ...ended, by: '' }])
  const command = {
    ...toOneUser,
    exceptDevices: [],
    devices: ['d'],
  }
  t.strictSame(downlinks.decodeBlock(foreignBlock(loadSchema('history/downlinks-2'), [command])),
    [{ ...command, app: '', roomId: '', ...byDefault }])
})

t.test('a user of an app stays one where another schema than ours has him', async t => {
  const newer = changed(streams.downlinksRejected.schema, schema => { schema.fields.push({ name: 'more', type: 'int' }) })
  const rejected = { userId: 'u1', command: Buffer.from('x'), code: 'bad-record', reason: '', rejectedAtMs: 1 }
  t.strictSame(streams.downlinksRejected.decodeBlock(foreignBlock(newer, [{ ...rejected, app: 'shop', more: 1 }])),
    [{ ...rejected, userId: userKey('shop', 'u1') }])
})

t.test('the parts of saved states are those that are pinned here, or their old form is in schemas/history', async t => {
  const pinned = {
    head: 'c3258e1c9c804c3e',
    session: '919cbca14893a789',
    connection: '6dc917bbab526324',
    message: '0bbda31bd1ec8f9c',
    forgotten: '77ce9ddca3b3ba9a',
    bans: 'be059b6f27fdfe34',
  }
  const now = Object.keys(pinned).map(name =>
    [name, fingerprintOf(loadSchema(`user-state/${name}`)).toString(16).padStart(16, '0')])
  t.strictSame(Object.fromEntries(now), pinned)
})

t.test('and so are those of saved rooms', async t => {
  const pinned = {
    head: '3c95156d848bcf41',
    nodes: '9707e2d890ee897f',
    post: '2618be94cc1c1d0d',
    times: '91e920134f727846',
  }
  const now = Object.keys(pinned).map(name =>
    [name, fingerprintOf(loadSchema(`room-state/${name}`)).toString(16).padStart(16, '0')])
  t.strictSame(Object.fromEntries(now), pinned)
})

t.test('the schema of each stream is the one that is pinned here, or its old form is in schemas/history', async t => {
  const pinned = {
    connections: 'c6d5ec1057b815ce',
    downlinks: 'bc93427fc670db9e',
    'downlinks.rejected': '7f95cbb51a77fce7',
    ledger: '94ae71adb9a4b957',
    nodes: '2b6f55cb42d59888',
    offline: '970f13dac846ae09',
    posts: '9bf84f814e271ea3',
    presence: 'ada3e8bd3de0ef81',
    receipts: '7c94dd41102a0142',
    rooms: 'aa2b8aedf2fc989d',
    undelivered: '2af53765a07914ef',
    uplinks: '105a26bac0e7a9b5',
  }
  const now = [...Object.values(streams)].map(({ name, schema }) =>
    [name, fingerprintOf({ type: 'array', items: schema }).toString(16).padStart(16, '0')])
  t.strictSame(Object.fromEntries(now), pinned)
})
