import avsc from 'avsc'
import fc from 'fast-check'
import t from 'tap'
import { userKey, userOf } from '../../schemas/apps.js'
import { singleObjectFormat } from '../../ledger/kafka/format.js'
import { loadHistory, loadSchema } from '../../schemas/avsc-files.js'
import { GatewayError } from '../../schemas/errors.js'
import { fingerprintOf, headerBytes, writeHeader } from '../../schemas/single-object.js'
import {
  connections, downlinks, downlinksRejected, ledger, nodes, offline, posts, presence, receipts, rooms,
  undelivered, uplinks, type RecordStream,
} from '../../schemas/streams.js'
import { mutate } from './mutations.js'
import { anyEntries, anyRoomEntries, facts, nodeFacts, roomFacts } from './stream-samples.js'

const samples: [RecordStream<any>, any[]][] = [
  [ledger, facts.map(fact => ({ userId: 'user-1', atMs: 1700000000000, fact }))],
  [nodes, nodeFacts.map(fact => ({ nodeId: 'n1', epoch: 1700000000000, atMs: 1700000000001, fact }))],
  [uplinks, [{
    userId: 'user-1',
    userSeq: 12,
    deviceId: 'phone',
    platform: 'ios',
    sessionId: 's1',
    seq: 3,
    connectionId: 'c'.repeat(16),
    service: '',
    payload: Buffer.from('hi'),
    priority: -1,
    receivedAtMs: 1700000000000,
    roomId: 'chat:7',
  }].flatMap(withUserOfApp)],
  [downlinks, [{
    messageId: 'm1',
    userIds: ['user-1', 'user-2'],
    service: 'chat',
    payload: Buffer.from('hi'),
    ttlMs: 60000,
    delivery: 'signal',
    platforms: [],
    exceptDevices: ['tablet'],
    devices: ['phone', 'tablet'],
    app: 'shop',
    roomId: '',
    receipts: false,
    offlineAfterMs: 0,
    replaces: '',
  }, {
    messageId: 'm2',
    userIds: [],
    service: '',
    payload: Buffer.from('hi'),
    ttlMs: 0,
    delivery: 'durable',
    platforms: [],
    exceptDevices: [],
    devices: [],
    app: '',
    roomId: 'chat:7',
    receipts: true,
    offlineAfterMs: -1,
    replaces: '',
  }]],
  [downlinksRejected, [{
    userId: 'user-1', command: Buffer.of(1, 2), code: 'bad-record', reason: 'ends early', rejectedAtMs: 1700000000000,
  }].flatMap(withUserOfApp)],
  [undelivered, [{
    webhook: 'crm',
    stream: 'uplinks',
    key: 'user-1',
    messageId: 'msg_1',
    record: Buffer.of(1, 2),
    status: 422,
    reason: 'it answers with 422',
    attempts: 3,
    firstAtMs: 1700000000000,
    undeliveredAtMs: 1700000000001,
  }, {
    webhook: 'crm',
    stream: 'posts',
    key: 'shop\u001froom-1',
    messageId: 'msg_2',
    record: Buffer.alloc(0),
    status: 0,
    reason: '',
    attempts: 1,
    firstAtMs: 1,
    undeliveredAtMs: 2,
  }]],
  [connections, [{
    userId: 'user-1',
    connectionId: 'c'.repeat(16),
    deviceId: 'phone',
    platform: 'ios',
    client: 'app/1',
    sessionId: 's1',
    transport: 'tcp',
    address: '10.0.0.1:80',
    nodeId: 'n1',
    nodeEpoch: 1700000000000,
    openedAtMs: 1700000000001,
    closedAtMs: 1700000000002,
    code: 'kicked',
    reason: 'operator',
    writtenSeq: 1,
    ackedSeq: 0,
    framesIn: 2,
    framesOut: 3,
    bytesIn: 400,
    bytesOut: 500,
    uplinks: 3,
    downlinksWritten: 2,
    downlinksAcked: 1,
    roundTripMs: 40,
    resumedFrom: 'c0',
    resumedTo: '',
    by: 'k1',
  }].flatMap(withUserOfApp)],
  [presence, [{
    userId: 'user-1',
    presenceSeq: 3,
    deviceId: 'phone',
    platform: 'ios',
    connectionId: 'c'.repeat(16),
    change: 'offline',
    userChanged: true,
    cause: 'connection-lost',
    atMs: 1700000000000,
  }].flatMap(withUserOfApp)],
  [receipts, [{
    userId: 'user-1',
    receiptSeq: 2 ** 40,
    messageId: 'm1',
    service: 'chat',
    deviceId: 'phone',
    seq: 7,
    outcome: 'dropped',
    reason: 'outbox-full',
    requestedAtMs: 1700000000000,
    settledAtMs: 1700000000001,
  }].flatMap(withUserOfApp)],
  [offline, [{
    userId: 'user-1',
    offlineSeq: 1,
    change: 'due',
    messageId: 'm1',
    service: 'chat',
    payload: Buffer.from('hi'),
    deviceIds: ['phone', 'tablet'],
    reason: '',
    requestedAtMs: 1700000000000,
    expiresAtMs: 1700003600000,
    atMs: 1700000010000,
  }].flatMap(withUserOfApp)],
  [rooms, roomFacts.map(fact => ({ roomId: 'chat:7', atMs: 1700000000000, fact }))],
  [posts, ['chat:7', userKey('shop', 'chat:7')].map(roomId => ({
    roomId,
    roomSeq: 2 ** 40,
    messageId: 'ann/12',
    from: 'ann',
    service: '',
    payload: Buffer.from('hi'),
    postedAtMs: 1700000000000,
  }))],
]

/** The same also of a user of an app, whose key has both. */
function withUserOfApp<T extends { userId: string }> (item: T): T[] {
  return [item, { ...item, userId: userKey('shop', item.userId) }]
}

/** The same items as avsc wants them: a union's value in the name of its branch, and a key in two parts. */
function forAvsc (item: any): any {
  if (item.roomSeq !== undefined) {
    const { app, userId: roomId } = userOf(item.roomId)
    return { ...item, app, roomId }
  }
  if (item.webhook !== undefined) {
    const { app, userId: key } = userOf(item.key)
    return { ...item, app, key }
  }
  if (item.fact === undefined) return item.userId === undefined ? item : { ...item, ...userOf(item.userId) }
  const { type, ...fields } = item.fact
  return { ...item, fact: { [`ledgerline.${type}`]: fields } }
}

function blockType (stream: RecordStream<any>): avsc.Type {
  return avsc.Type.forSchema({ type: 'array', items: stream.schema } as avsc.Schema, { wrapUnions: 'always' })
}

function block (stream: RecordStream<any>, bodyHex: string): Buffer {
  return Buffer.concat([stream.encodeBlock([]).subarray(0, 10), Buffer.from(bodyHex, 'hex')])
}

for (const [stream, items] of samples) {
  t.test(`a block of ${stream.name}`, async t => {
    t.test('is the header and what avsc writes', async t => {
      const bytes = stream.encodeBlock(items)
      t.equal(bytes.readBigUInt64LE(2), fingerprintOf({ type: 'array', items: stream.schema }))
      t.equal(bytes.subarray(10).toString('hex'), blockType(stream).toBuffer(items.map(forAvsc)).toString('hex'))
    })
    t.test('reads back, empty too', async t => {
      t.strictSame(stream.decodeBlock(stream.encodeBlock(items)), items)
      t.strictSame(stream.decodeBlock(stream.encodeBlock([])), [])
    })
    t.test('reads back from bytes that are no Buffer', async t => {
      t.same(stream.decodeBlock(Uint8Array.from(stream.encodeBlock(items))), items)
    })
    t.test('is refused wherever it is cut off', async t => {
      const bytes = Buffer.from(stream.encodeBlock(items))
      for (let end = 0; end < bytes.length; end++) {
        t.throws(() => stream.decodeBlock(bytes.subarray(0, end)), { code: 'bad-record' })
      }
      t.throws(() => stream.decodeBlock(Buffer.concat([bytes, Buffer.alloc(1)])), { code: 'bad-record' })
    })
    t.test('is refused with bad-record alone after any mutation', async t => {
      const seed = Number(process.env['SEED'] ?? 19700101)
      const random = mutate(seed)
      const original = Buffer.from(stream.encodeBlock(items))
      for (let i = 0; i < 20_000; i++) {
        const bytes = random(original)
        try {
          stream.decodeBlock(bytes)
        } catch (err) {
          if (err instanceof GatewayError && err.code === 'bad-record') continue
          t.fail(`seed ${seed}: ${bytes.toString('hex')}: ${err}`)
          break
        }
      }
    })
    t.test('may also be one record, without a header', async t => {
      const bytes = Buffer.concat([Buffer.alloc(5), stream.encodeRecord(items[0])])
      t.strictSame(stream.decodeRecord(bytes, 5), items[0])
      t.throws(() => stream.decodeRecord(bytes.subarray(0, -1), 5), { code: 'bad-record' })
    })
  })
}

t.test('a block of the ledger, of which some keys are wanted', async t => {
  const [, entries] = samples[0]!
  const whose = ['ann', 'bob', 'cleo']
  const items = entries.map((entry, i) => ({ ...entry, userId: whose[i % whose.length] }))
  const bytes = Buffer.from(ledger.encodeBlock(items))

  t.test('gives the items of these, whatever facts stand between them', async t => {
    for (const keys of [['bob'], ['ann', 'cleo'], ['nobody'], whose]) {
      t.strictSame(ledger.decodeItemsOf!(bytes, new Set(keys)), items.filter(({ userId }) => keys.includes(userId)))
    }
    t.strictSame(ledger.decodeItemsOf!(ledger.encodeBlock([]), new Set(whose)), [])
  })
  t.test('is refused wherever it is cut off, whoever is wanted', async t => {
    for (let end = 0; end < bytes.length; end++) {
      t.throws(() => ledger.decodeItemsOf!(bytes.subarray(0, end), new Set(['nobody'])), { code: 'bad-record' })
    }
  })
  t.test('of an earlier version gives the same', async t => {
    for (const record of loadHistory().filter(({ name }: any) => name === 'Entry')) {
      const type = avsc.Type.forSchema({ type: 'array', items: record } as avsc.Schema, { wrapUnions: 'always' })
      const header = Buffer.alloc(headerBytes)
      writeHeader(fingerprintOf({ type: 'array', items: record }), header, 0)
      const fact = { 'ledgerline.DeliveryReported': { connectionId: 'c1', writtenSeq: 3, ackedSeq: 2 } }
      const body = type.toBuffer(whose.map(userId => ({ userId, atMs: 7, fact })))
      const found = ledger.decodeItemsOf!(Buffer.concat([header, body]), new Set(['bob']))
      t.match(found, [{ userId: 'bob', atMs: 7, fact: { type: 'DeliveryReported', ackedSeq: 2 } }])
      t.equal(found.length, 1)
    }
  })
})

t.test('ledger.encodeBlock', async t => {
  t.test('writes an entry as the schema says, byte for byte', async t => {
    const [, items] = samples[0]!
    t.equal(ledger.encodeBlock([items[4]]).subarray(10).toString('hex'),
      '020c757365722d3180a0abfef962082063636363636363636363636363636363121000')
  })
  t.test('writes what avsc writes, whatever grows', async t => {
    const type = blockType(ledger)
    fc.assert(fc.property(anyEntries, entries => {
      const bytes = ledger.encodeBlock(entries)
      t.strictSame(ledger.decodeBlock(bytes), entries)
      return bytes.subarray(10).equals(type.toBuffer(entries.map(forAvsc)))
    }))
  })
  t.test('asserts that an enum has the symbol', async t => {
    const opened: any = { userId: 'u', atMs: 1, fact: { ...facts[0], transport: 'udp' } }
    t.throws(() => ledger.encodeBlock([opened]), RangeError)
  })
  t.test('makes room for one entry of any size, and gives it back', async t => {
    const entry = (bytes: number) => [{ userId: 'u', atMs: 1, fact: { ...facts[2]!, payload: Buffer.alloc(bytes, 1) } }]
    for (const bytes of [4060, 4070, 4080, 4090, 5_000_000, 10]) {
      t.strictSame(ledger.decodeBlock(ledger.encodeBlock(entry(bytes) as any)), entry(bytes))
    }
    t.ok(ledger.encodeBlock([]).buffer.byteLength < 100_000)
  })
})

t.test('a record for business services is as its schema says, byte for byte', async t => {
  const bytesOf = (stream: RecordStream<any>) => {
    const [, [item]] = samples.find(([each]) => each === stream)!
    return stream.encodeRecord(item).toString('hex')
  }
  const [user, atMs] = ['0c757365722d31', '80a0abfef962']
  t.equal(bytesOf(presence), user + '06' + '0a70686f6e65' + '06696f73' + '20' + '63'.repeat(16) + '02' + '01' +
    '1e636f6e6e656374696f6e2d6c6f7374' + atMs + '00')
  t.equal(bytesOf(receipts), user + '808080808040' + '046d31' + '0863686174' + '0a70686f6e65' + '0e' +
    '0e64726f70706564' + '166f7574626f782d66756c6c' + atMs + '82a0abfef962' + '00')
  t.equal(bytesOf(offline), user + '02' + '00' + '046d31' + '0863686174' + '046869' +
    '040a70686f6e650c7461626c657400' + '00' + atMs + '80dae281fa62' + 'a0bcacfef962' + '00')
})

t.test('a record of nodes is in the oldest schema that has what it says', async t => {
  const headers = { old: 'c30197d1824d2f0dbabd', ours: 'c3010addb157ea7964b9' }
  const old = avsc.Type.forSchema(loadSchema('history/nodes-6') as avsc.Schema, { wrapUnions: 'always' })
  for (const fact of nodeFacts) {
    const entry = { nodeId: 'n1', epoch: 1, atMs: 5, fact }
    const bytes = Buffer.from(singleObjectFormat.encode(nodes, entry))
    t.strictSame(singleObjectFormat.decode(nodes, bytes), entry)
    t.equal(bytes.toString('hex', 0, headerBytes), fact.type === 'OperatorAsked' ? headers.ours : headers.old, fact.type)
    if (fact.type !== 'OperatorAsked') t.ok(old.isValid(old.fromBuffer(bytes.subarray(headerBytes))), fact.type)
  }
})

t.test('a block of rooms', async t => {
  t.test('is as the schema says, byte for byte', async t => {
    const joined = { roomId: 'chat:7', atMs: 1, fact: roomFacts[2]! }
    t.equal(rooms.encodeBlock([joined]).subarray(10).toString('hex'),
      '02' + '0c636861743a37' + '02' + '02' + '046e31' + '80a0abfef962' + '0e' + '00')
  })
  t.test('is what avsc writes, whatever grows', async t => {
    const type = blockType(rooms)
    fc.assert(fc.property(anyRoomEntries, entries => {
      const bytes = rooms.encodeBlock(entries)
      t.strictSame(rooms.decodeBlock(bytes), entries)
      return bytes.subarray(10).equals(type.toBuffer(entries.map(forAvsc)))
    }))
  })
  t.test('of which one room is wanted gives the entries of that one', async t => {
    const entries = ['chat:7', 'chat:8'].flatMap(roomId => roomFacts.map(fact => ({ roomId, atMs: 1, fact })))
    const bytes = Buffer.from(rooms.encodeBlock(entries))
    t.strictSame(rooms.decodeItemsOf!(bytes, new Set(['chat:8'])), entries.slice(roomFacts.length))
  })
})

t.test('ledger.decodeBlock', async t => {
  const [, items] = samples[0]!
  const one = '0c757365722d3180a0abfef962082063636363636363636363636363636363' + '1210'
  t.test('takes an array in chunks, with and without their bytes', async t => {
    const size = one.length.toString(16) // two digits a byte, and zigzag doubles as well
    t.strictSame(ledger.decodeBlock(block(ledger, `02${one}01${size}${one}00`)), [items[4], items[4]])
  })
  t.test('gives payloads as views', async t => {
    const bytes = Buffer.from(ledger.encodeBlock([items[2]]))
    const [entry] = ledger.decodeBlock(bytes)
    t.equal((entry!.fact as any).payload.buffer, bytes.buffer)
  })
  const bad: [string, string][] = [
    ['the count that ends a process through avsc', 'feffffff0f00'],
    ['the same below zero', 'ffffffff0f0000'],
    ['the largest count there is', 'feffffffffffffffff01'],
    ['a fact that this build never wrote', '02' + one.replace('f96208', 'f9620c') + '00'],
    ['a time beyond 2^53', '02' + one.replace('80a0abfef962', '8080808080808020') + '00'],
  ]
  for (const [what, hex] of bad) {
    t.throws(() => ledger.decodeBlock(block(ledger, hex)), { code: 'bad-record' }, `refuses ${what}`)
  }
  t.test('refuses a schema that nobody registered', async t => {
    t.throws(() => ledger.decodeBlock(Buffer.from('c301000000000000000000', 'hex')),
      { code: 'bad-record', message: /0000000000000000 is not registered/ })
    t.throws(() => ledger.decodeBlock(uplinks.encodeBlock([])), { code: 'bad-record' })
  })
})

t.test('key is the user, the room or the node', async t => {
  const keys = new Map<RecordStream<any>, string>([[nodes, 'n1'], [rooms, 'chat:7'], [posts, 'chat:7']])
  for (const [stream, [item]] of samples) t.equal(stream.key(item), keys.get(stream) ?? 'user-1', stream.name)
  t.equal(downlinks.key({ ...samples[3]![1][0], userIds: [] }), '')
  t.equal(downlinks.key(samples[3]![1][1]), 'chat:7')
})
