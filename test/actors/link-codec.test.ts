import avsc from 'avsc'
import fc from 'fast-check'
import t from 'tap'
import { batchHead, decodeBatch, LinkBatch } from '../../actors/link-batch.js'
import type { LinkMessage } from '../../actors/link-codec.js'
import { loadSchema } from '../../schemas/avsc-files.js'
import { GatewayError } from '../../schemas/errors.js'
import { fingerprintOf } from '../../schemas/single-object.js'
import { mutate } from '../schemas/mutations.js'

const schema = loadSchema('links')
/** Batches without anything new go out as nodes of the versions before read them. */
const first = loadSchema('history/links-1')
const second = loadSchema('history/links-2')
const third = loadSchema('history/links-3')
const fourth = loadSchema('history/links-4')
const fifth = loadSchema('history/links-5')
const sixth = loadSchema('history/links-6')
const batchType = avsc.Type.forSchema(schema as avsc.Schema, { wrapUnions: 'always' })
const head = batchHead('n1')

/** What a node `n2` reads of `n1`: a downlink comes without what only user actors need. */
const to = { nodeId: 'n2', connectionId: 'c1' }
const signal = { service: 'chat', payload: Buffer.from('hi'), encoded: new Map() }
const samples: LinkMessage[] = [
  { type: 'welcome', ...to, resumed: true, uplinkSeq: 1, downlinkSeq: 2, lastSeq: 3, missed: 2 ** 40 },
  { type: 'ackUplinks', ...to, seq: 70, userSeqs: [1, 64, 8192] },
  { type: 'ackUplinks', ...to, seq: 1, userSeqs: [] },
  { type: 'refuseUplink', ...to, expectedSeq: 5, code: 'gap' },
  {
    type: 'deliver',
    ...to,
    seq: 9,
    downlink: { messageId: 'm1', service: '', payload: Buffer.from([0, 255]), requestedAtMs: 1700000000000 },
  },
  { type: 'closeConnection', ...to, code: 'kicked', reason: 'ü', by: '' },
  { type: 'gone', ...to },
  { type: 'signal', ...to, signal, signalId: 7 },
  { type: 'signal', nodeId: 'n2', connectionId: 'c2', signal, signalId: 7 },
  {
    type: 'resync',
    userId: 'user-1',
    partition: 3,
    nodeId: 'n1',
    connectionId: 'c1',
    welcomed: false,
    uplinkSeq: 0,
    downlinkSeq: 0,
    bytesMax: 131072,
  },
  { type: 'notHere', nodeId: 'n1', connectionId: 'c1', signalId: 7 },
]

/** What nodes of the first version do not know. */
const secondSamples: LinkMessage[] = [
  { type: 'closeConnection', ...to, code: 'internal', reason: 'the state of this user can not be used', by: '' },
  {
    type: 'askRequest', userId: 'user-1', partition: 3, nodeId: 'n1', askId: 9, messageId: 'm1', content: 0xffffffff, asOf: 7n,
  },
  { type: 'requestKnown', nodeId: 'n2', askId: 9, known: 'conflict' },
  { type: 'closeConnection', ...to, code: 'banned', reason: 'spam', by: '' },
  { type: 'askBans', userId: 'user-1', partition: 3, nodeId: 'n1', askId: 9, asOf: 7n },
  { type: 'bansKnown', nodeId: 'n2', askId: 9, bans: [] },
  {
    type: 'bansKnown',
    nodeId: 'n2',
    askId: 9,
    bans: [{ banId: 'b1', deviceId: '', tokenId: 't-ě', untilMs: 0, reason: 'spam', bannedAtMs: 1700000000000, by: '' }],
  },
]

const post = {
  roomSeq: 7, messageId: 'ann/12', from: 'ann', service: '', payload: Buffer.from('hi'), postedAtMs: 1700000000000, encoded: new Map(),
}
/** What nodes of the second version do not know: rooms. */
const thirdSamples: LinkMessage[] = [
  { type: 'roomPosts', nodeId: 'n2', roomId: 'chat:7', posts: [post, { ...post, roomSeq: 8, from: '', messageId: 'mě' }] },
  {
    type: 'roomTail',
    nodeId: 'n2',
    roomId: 'chat:7',
    interest: 3,
    roomSeq: 7,
    keptAfter: 6,
    posts: [post],
    closed: false,
    reason: '',
  },
  {
    type: 'roomTail',
    nodeId: 'n2',
    roomId: 'chat:7',
    interest: 3,
    roomSeq: 7,
    keptAfter: 7,
    posts: [],
    closed: true,
    reason: 'over',
  },
  { type: 'roomSignal', nodeId: 'n2', roomId: 'chat:7', service: 'typing', payload: Buffer.from([0, 255]) },
  {
    type: 'askRoom',
    roomId: 'chat:7',
    partition: 3,
    nodeId: 'n1',
    nodeEpoch: 1700000000000,
    interest: 3,
    afterSeq: 5,
    bytesMax: 131072,
  },
  { type: 'askRoomInfo', roomId: 'chat:7', partition: 3, nodeId: 'n1', askId: 9, asOf: 7n },
  { type: 'roomKnown', nodeId: 'n2', askId: 9, roomSeq: 7, keptAfter: 5, nodes: ['n1', 'n2'], closed: false },
  {
    type: 'askPost', roomId: 'chat:7', partition: 3, nodeId: 'n1', askId: 9, messageId: 'm1', content: 0xffffffff, asOf: 7n,
  },
  { type: 'signalRoom', roomId: 'chat:7', partition: 3, service: 'typing', payload: Buffer.from('x') },
  { type: 'askMembers', nodeId: 'n2', askNodeId: 'n1', askId: 9, roomId: 'chat:7', after: 'c1', limit: 100 },
  {
    type: 'membersKnown',
    nodeId: 'n2',
    askId: 9,
    members: [{ userId: 'shop\u001fann', deviceId: 'phone', connectionId: 'c2' }],
    total: 7,
  },
  { type: 'memberships', ...to, version: 3, rooms: [{ roomId: 'chat:ř', rights: 'rw' }, { roomId: 'news', rights: 'r' }] },
  { type: 'memberships', ...to, version: 4, rooms: [] },
  { type: 'askMemberships', userId: 'user-1', partition: 3, nodeId: 'n1', askId: 9, asOf: 7n },
  {
    type: 'membershipsKnown', nodeId: 'n2', askId: 9, rooms: [{ roomId: 'news', rights: 'w', grantedAtMs: 1700000000000 }],
  },
]

/** What the third does not know: groups of readers. */
const fourthSamples: LinkMessage[] = [
  {
    type: 'askAck',
    nodeId: 'n2',
    askNodeId: 'n1',
    askId: 9,
    app: 'shop',
    group: 'orders',
    stream: 'uplinks',
    partition: 3,
    next: 1021n,
    index: 4,
    epoch: 1234,
  },
  { type: 'ackKnown', nodeId: 'n2', askId: 9, code: 'not-leased' },
]

/** What the fourth does not know: what has become of a downlink, posts for who is no member, traces. */
const fifthSamples: LinkMessage[] = [
  { type: 'askRecalled', userId: 'user-1', partition: 3, nodeId: 'n1', askId: 9, messageId: 'm1', asOf: 7n },
  { type: 'recalledKnown', nodeId: 'n2', askId: 9, outcome: 'ended' },
  { type: 'askPosts', roomId: 'chat:7', partition: 3, nodeId: 'n1', askId: 9, afterSeq: 5, postsMax: 100, asOf: 7n },
  {
    type: 'postsKnown',
    nodeId: 'n2',
    askId: 9,
    keptAfter: 5,
    posts: [{
      roomSeq: 6,
      messageId: 'm1',
      from: 'ann',
      service: 'chat',
      payload: Buffer.from([0, 255]),
      postedAtMs: 1700000000000,
      encoded: new Map(),
    }],
  },
  {
    type: 'traced',
    nodeId: 'n2',
    userKeys: ['ann', 'shop\u001fbob'],
    messageId: 'm1',
    traceparent: '00-0123456789abcdef0123456789abcdef-0123456789abcdef-01',
  },
]

/** What the fifth does not know: who asked for a close. */
const sixthSamples: LinkMessage[] = [
  { type: 'closeConnection', ...to, code: 'banned', reason: 'spam', by: 'k7' },
  { type: 'askPostTime', roomId: 'chat:7', partition: 3, nodeId: 'n1', askId: 9, roomSeq: 5, asOf: 7n },
  { type: 'postTimeKnown', nodeId: 'n2', askId: 9, roomSeq: 70, postedAtMs: 1700000000000 },
]

/** What nodes of the version before do not know: who asked for a ban. */
const newSamples: LinkMessage[] = [
  {
    type: 'bansKnown',
    nodeId: 'n2',
    askId: 9,
    bans: [
      { banId: 'b1', deviceId: '', tokenId: '', untilMs: 7, reason: 'spam', bannedAtMs: 70, by: 'k7' },
      { banId: 'b2', deviceId: 'd', tokenId: '', untilMs: 0, reason: '', bannedAtMs: 7, by: '' },
    ],
  },
]

const anySeq = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER - 1 })
const anyPayload = fc.uint8Array({ maxLength: 300 }).map(bytes => Buffer.from(bytes))
const anyText = fc.string({ unit: 'binary', maxLength: 80 })
const at = { nodeId: fc.constant('n2'), connectionId: anyText }
/** Contents by number: one number has one content for as long as its process lives. */
const contents = [0, 1, 2, 1000].map(bytes => ({ ...signal, payload: Buffer.alloc(bytes, bytes) }))

const anyMessage: fc.Arbitrary<LinkMessage> = fc.oneof(
  fc.record({
    type: fc.constant('welcome' as const),
    ...at,
    resumed: fc.boolean(),
    uplinkSeq: anySeq,
    downlinkSeq: anySeq,
    lastSeq: anySeq,
    missed: anySeq,
  }),
  fc.record({ type: fc.constant('ackUplinks' as const), ...at, seq: anySeq, userSeqs: fc.array(anySeq) }),
  fc.record({
    type: fc.constant('refuseUplink' as const), ...at, expectedSeq: anySeq, code: fc.constant('gap' as const),
  }),
  fc.record({
    type: fc.constant('deliver' as const),
    ...at,
    seq: anySeq,
    downlink: fc.record({ messageId: anyText, service: anyText, payload: anyPayload, requestedAtMs: anySeq })
      .map(sent => ({ ...sent })), // the prototype of fast-check's own is null
  }),
  fc.record({
    type: fc.constant('closeConnection' as const),
    ...at,
    by: anyText,
    code: fc.constantFrom('superseded' as const, 'kicked' as const, 'protocol' as const),
    reason: anyText,
  }),
  fc.record({ type: fc.constant('gone' as const), ...at }),
  fc.record({ type: fc.constant('signal' as const), ...at, signalId: fc.nat(3) })
    .map(message => ({ ...message, signal: contents[message.signalId]! })),
  fc.record({
    type: fc.constant('resync' as const),
    userId: anyText,
    partition: fc.nat(1000),
    nodeId: fc.constant('n1'),
    connectionId: anyText,
    welcomed: fc.boolean(),
    uplinkSeq: anySeq,
    downlinkSeq: anySeq,
    bytesMax: anySeq,
  }),
  fc.record({ type: fc.constant('notHere' as const), nodeId: fc.constant('n1'), connectionId: anyText, signalId: anySeq })
).map(message => ({ ...message })) // with a prototype

function encode (messages: readonly LinkMessage[]): Buffer {
  const batch = new LinkBatch(head)
  for (const message of messages) batch.add(message, Infinity)
  return batch.finish()
}

/** The same as avsc wants it: wrapped in the name of its branch, and each signal's content before its first use. */
function byAvsc (messages: readonly LinkMessage[]): Buffer {
  const known = new Set<number>()
  const items = messages.flatMap(message => {
    const { type, nodeId, ...fields } = message as any
    const branch = fields.by ? 'askedClose' : fields.bans?.some(({ by }: any) => by !== '') ? 'askedBans' : type
    const name = `ledgerline.${branch[0].toUpperCase()}${branch.slice(1)}`
    const numbers = { asOf: Number(fields.asOf ?? 0), next: Number(fields.next ?? 0) }
    const item = { [name]: { ...fields, ...fields.downlink, ...numbers } }
    if (message.type !== 'signal' || known.has(message.signalId)) return [item]
    known.add(message.signalId)
    const { signalId, signal: { service, payload } } = message
    return [{ 'ledgerline.SignalContent': { signalId, service, payload } }, item]
  })
  return batchType.toBuffer({ fromNodeId: 'n1', messages: items })
}

t.test('a link batch', async t => {
  t.test('is the header and what avsc writes', async t => {
    const known = [...samples, ...secondSamples]
    const all = [...known, ...thirdSamples, ...fourthSamples, ...fifthSamples, ...sixthSamples, ...newSamples]
    for (const messages of [[], ...all.map(message => [message]), samples, known, all]) {
      const bytes = encode(messages)
      const has = (some: LinkMessage[]) => messages.some(message => some.includes(message))
      const [, oldest = first] = [
        [newSamples, schema] as const,
        [sixthSamples, sixth] as const,
        [fifthSamples, fifth] as const,
        [fourthSamples, fourth] as const,
        [thirdSamples, third] as const,
        [secondSamples, second] as const,
      ].find(([some]) => has(some)) ?? []
      t.equal(bytes.readBigUInt64LE(2), fingerprintOf(oldest))
      t.equal(bytes.subarray(10).toString('hex'), byAvsc(messages).toString('hex'))
    }
  })
  t.test('is as the schema says, byte for byte', async t => {
    const body = (...messages: LinkMessage[]) => encode(messages).subarray(10).toString('hex')
    t.equal(body(), '046e3100')
    t.equal(body(samples[1]!), '046e31' + '02' + '02' + '046331' + '8c01' + '06' + '02' + '8001' + '808001' + '00' + '00')
    t.equal(body(samples[7]!, samples[8]!), '046e31' + '06' +
      '0c' + '0e' + '0863686174' + '046869' + '0e' + '046331' + '0e' + '0e' + '046332' + '0e' + '00')
    t.equal(body(fourthSamples[1]!), '046e31' + '02' + '38' + '12' + '146e6f742d6c6561736564' + '00')
    t.equal(body(fifthSamples[1]!), '046e31' + '02' + '3c' + '12' + '04' + '00')
    t.equal(body(fifthSamples[2]!), '046e31' + '02' + '3e' + '0c636861743a37' + '06' + '12' + '0a' + 'c801' + '0e' + '00')
    t.equal(body(fifthSamples[3]!), '046e31' + '02' + '40' + '12' + '0a' + '02' +
      '0c' + '046d31' + '06616e6e' + '0863686174' + '0400ff' + '80a0abfef962' + '00' + '00')
    const traceparent = Buffer.from('00-0123456789abcdef0123456789abcdef-0123456789abcdef-01').toString('hex')
    const userKeys = '04' + '06616e6e' + '1073686f701f626f62' + '00'
    t.equal(body(fifthSamples[4]!), '046e31' + '02' + '42' + userKeys + '046d31' + '6e' + traceparent + '00')
    t.equal(body(sixthSamples[0]!), '046e31' + '02' + '44' + '046331' + '08' + '087370616d' + '046b37' + '00')
    t.equal(body(sixthSamples.at(-2)!), '046e31' + '02' + '46' + '0c636861743a37' + '06' + '12' + '0a' + '0e' + '00')
    t.equal(body(newSamples[0]!), '046e31' + '02' + '4a' + '12' + '04' +
      '046231' + '00' + '00' + '0e' + '087370616d' + '8c01' + '046b37' + '046232' + '0264' + '00' + '00' + '00' + '0e' + '00' + '00' + '00')
    t.equal(body(thirdSamples[3]!), '046e31' + '02' + '20' + '0c636861743a37' + '0c747970696e67' + '0400ff' + '00')
  })
  t.test('has the schema that every other node of the cluster reads', async t => {
    // Nodes of two versions talk to each other while one replaces the other: a change must be readable by both.
    t.equal(fingerprintOf(first).toString(16), 'bc35d2b49af04426')
    t.equal(fingerprintOf(second).toString(16), '898f4492b67cc4b')
    t.equal(fingerprintOf(third).toString(16), 'c52ef22c8b9aae10')
    t.equal(fingerprintOf(fourth).toString(16), 'eaf975e17c1a05bb')
    t.equal(fingerprintOf(fifth).toString(16), '8730e88e3043b435')
    t.equal(fingerprintOf(sixth).toString(16), 'f49c6bb0d6c2891b')
    t.equal(fingerprintOf(schema).toString(16), '986fa244fd589903')
  })
  t.test('reads back, empty too', async t => {
    const later = [...fourthSamples, ...fifthSamples, ...sixthSamples, ...newSamples]
    const all = [...samples, ...secondSamples, ...thirdSamples, ...later]
    t.strictSame(decodeBatch(encode(samples), 'n2'), { fromNodeId: 'n1', messages: samples })
    t.strictSame(decodeBatch(encode(all), 'n2'), { fromNodeId: 'n1', messages: all })
    t.strictSame(decodeBatch(encode([]), 'n2'), { fromNodeId: 'n1', messages: [] })
  })
  t.test('gives signals with one content one object', async t => {
    const [first, second] = decodeBatch(encode(samples.slice(7, 9)), 'n2').messages as any[]
    t.equal(first.signal, second.signal)
  })
  t.test('reads back whatever grows, and is what avsc writes', async t => {
    fc.assert(fc.property(fc.array(anyMessage, { maxLength: 100 }), messages => {
      const bytes = encode(messages)
      t.strictSame(decodeBatch(bytes, 'n2'), { fromNodeId: 'n1', messages })
      return bytes.subarray(10).equals(byAvsc(messages))
    }))
  })
  t.test('takes messages of any size and number', async t => {
    const sized = (bytes: number): LinkMessage =>
      ({ type: 'signal', ...to, signalId: bytes, signal: { ...signal, payload: Buffer.alloc(bytes, 1) } })
    for (let bytes = 2_000; bytes < 2_060; bytes++) { // one of them just fills the first buffer
      t.strictSame(decodeBatch(encode([sized(bytes)]), 'n2').messages, [sized(bytes)])
    }
    const large = [sized(10), sized(5_000), sized(1_000_000)]
    t.strictSame(decodeBatch(encode(large), 'n2').messages, large)
    for (const count of [63, 64, 8191, 8192]) {
      t.equal(decodeBatch(encode(new Array(count).fill(samples[6])), 'n2').messages.length, count)
    }
  })
  t.test('does not take what it has no room for, and goes on', async t => {
    const batch = new LinkBatch(head)
    const first = batch.add(samples[0]!, Infinity)
    t.equal(batch.add(samples[7]!, 10), 0)
    t.equal(batch.length, first)
    t.equal(batch.messages, 1)
    t.equal(batch.add(samples[7]!, Infinity), batch.length - first)
    t.strictSame(decodeBatch(batch.finish(), 'n2').messages, [samples[0], samples[7]])
  })
})

t.test('decodeBatch', async t => {
  t.test('gives payloads as views', async t => {
    const bytes = encode([samples[4]!])
    const [message] = decodeBatch(bytes, 'n2').messages as any[]
    bytes.fill(9)
    t.strictSame(message.downlink.payload, Buffer.from([9, 9]))
  })
  t.test('refuses a batch wherever it is cut off', async t => {
    const bytes = encode(samples)
    for (let end = 0; end < bytes.length; end++) {
      t.throws(() => decodeBatch(bytes.subarray(0, end), 'n2'), { code: 'bad-record' })
    }
    t.throws(() => decodeBatch(Buffer.concat([bytes, Buffer.alloc(1)]), 'n2'), { code: 'bad-record' })
  })
  const bad: [string, string][] = [
    ['the count that ends a process through avsc', '046e31' + 'feffffff0f00'],
    ['as many acks', '046e31' + '02' + '02' + '00' + '00' + 'feffffff0f00'],
    ['a branch that this build does not know', '046e31' + '02' + '14' + '00' + '00'],
    ['a signal without its content', '046e31' + '02' + '0e' + '046331' + '0e' + '00'],
  ]
  for (const [what, hex] of bad) {
    const bytes = Buffer.concat([encode([]).subarray(0, 10), Buffer.from(hex, 'hex')])
    t.throws(() => decodeBatch(bytes, 'n2'), { code: 'bad-record' }, `refuses ${what}`)
  }
  t.test('refuses what another schema wrote', async t => {
    const bytes = encode(samples)
    bytes[5]! ^= 1
    t.throws(() => decodeBatch(bytes, 'n2'), { code: 'bad-record', message: /another schema/ })
  })
  t.test('refuses any mutation with bad-record alone', async t => {
    const seed = Number(process.env['SEED'] ?? 19700101)
    const random = mutate(seed)
    const original = encode([...samples, ...thirdSamples])
    for (let i = 0; i < 20_000; i++) {
      const bytes = random(original)
      try {
        decodeBatch(bytes, 'n2')
      } catch (err) {
        if (err instanceof GatewayError && err.code === 'bad-record') continue
        t.fail(`seed ${seed}: ${bytes.toString('hex')}: ${err}`)
        break
      }
    }
  })
})
