import t, { type Test } from 'tap'
import { startTestNode, type TestNode, until, WebSocketClient } from '../node.js'
import {
  ackedUpTo, alive, connected, connectFrame, type Dialect, dialects, endsWith, speaker, type Speaker, TcpSpeaker,
  uplinks,
} from './dialects.js'
import { avro, long, type Sent, withLength } from './hand-avro.js'

const json = (dialect: Dialect) => dialect !== 'TCP' && dialect !== 'WebSocket Avro'
const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')
const huge = 2n ** 53n

interface Case {
  readonly is: string
  readonly code: string
  /** Opcode and body; absent where Avro cannot say it. */
  readonly avro?: Buffer
  readonly json?: string
}

/** After `connect`, on a session to which downlinks 1 to 2 were sent. */
const cases: Case[] = [
  { is: 'a frame of no bytes', code: 'bad-frame', avro: hex(''), json: '' },
  { is: 'an unknown opcode', code: 'bad-frame', avro: hex('7f 00'), json: '{"op":"downlinkNack","seq":1}' },
  { is: 'opcode 0', code: 'bad-frame', avro: hex('00'), json: '{"op":""}' },
  { is: 'no op', code: 'bad-frame', json: '{"seq":1}' },
  { is: 'an op of the prototype', code: 'bad-frame', json: '{"op":"constructor"}' },
  { is: 'text that is not JSON', code: 'bad-frame', json: '{"op":"ping"' },
  { is: 'JSON that is no object', code: 'bad-frame', json: '["ping"]' },
  { is: 'a body that ends early', code: 'bad-frame', avro: hex('03 02 08 6368'), json: '{"op":"uplink","seq":1}' },
  { is: 'bytes behind the body', code: 'bad-frame', avro: hex('07 02 00') },
  { is: 'a payload longer than its frame', code: 'bad-frame', avro: hex('03 02 00 c801 6162 00') },
  { is: 'a payload of negative length', code: 'bad-frame', avro: hex('03 02 00 01') },
  { is: 'a string that is not UTF-8', code: 'bad-frame', avro: hex('03 02 04 c328 00 00 00') },
  { is: 'half a surrogate pair', code: 'bad-frame', json: '{"op":"uplink","seq":1,"payload":"\\ud800"}' },
  { is: 'a boolean of 2', code: 'bad-frame', avro: hex('0f 02'), json: '{"op":"disconnect","endSession":2}' },
  { is: 'a long of 11 bytes', code: 'bad-frame', avro: hex('07 80808080808080808080 01') },
  {
    is: 'an int of more than 32 bits',
    code: 'bad-frame',
    avro: Buffer.concat([hex('03 02 00 00'), long(2 ** 31), hex('00')]),
    json: '{"op":"uplink","seq":1,"payload":"","priority":2147483648}',
  },
  { is: 'base64 that is none', code: 'bad-frame', json: '{"op":"uplink","seq":1,"payload":{"base64":"?"}}' },
  { is: 'base64 without its padding', code: 'bad-frame', json: '{"op":"uplink","seq":1,"payload":{"base64":"QQ"}}' },
  { is: 'base64 with bits left over', code: 'bad-frame', json: '{"op":"uplink","seq":1,"payload":{"base64":"QR=="}}' },
  {
    is: 'a service of more than 256 bytes',
    code: 'bad-frame',
    avro: Buffer.concat([hex('03 02'), long(257), Buffer.alloc(257, 'x'), hex('00 00 00')]),
    json: `{"op":"uplink","seq":1,"service":"${'😀'.repeat(65)}","payload":""}`,
  },
  { is: 'a service that is a number', code: 'bad-frame', json: '{"op":"uplink","seq":1,"service":7,"payload":""}' },
  { is: 'a seq of 1.5', code: 'bad-frame', json: '{"op":"uplink","seq":1.5,"payload":""}' },
  { is: 'a seq that is a string', code: 'bad-frame', json: '{"op":"uplink","seq":"1","payload":""}' },
  ...seqs('uplink seq', seq => Buffer.concat([hex('03'), long(seq), hex('00 00 00 00')]),
    seq => `{"op":"uplink","seq":${seq},"payload":""}`, [0n, -1n]),
  ...seqs('downlinkAck seq', seq => Buffer.concat([hex('07'), long(seq)]),
    seq => `{"op":"downlinkAck","seq":${seq}}`, [-1n, 3n, huge - 1n]),
  ...seqs('ping downlinkSeq', seq => Buffer.concat([hex('08'), long(seq), long(0)]),
    seq => `{"op":"ping","downlinkSeq":${seq}}`, [-1n, 3n, huge - 1n]),
  ...serverOnly(),
]

/** Out of order where it is in `wrong`; not a number of ours where it is beyond 2^53. */
function seqs (
  what: string, inAvro: (seq: bigint) => Buffer, inJson: (seq: bigint) => string, wrong: bigint[]
): Case[] {
  const beyond = [huge, -huge, huge + 2n, 2n ** 63n - 1n, -(2n ** 63n)]
  return [...wrong, ...beyond].map(seq => ({
    is: `${what} ${seq}`,
    code: wrong.includes(seq) ? 'protocol' : 'bad-frame',
    avro: inAvro(seq),
    json: inJson(seq),
  }))
}

function serverOnly (): Case[] {
  const frames: Sent[] = [
    {
      op: 'connected',
      connectionId: 'c',
      nodeId: 'n',
      userId: 'u',
      resumed: false,
      uplinkSeq: 0,
      downlinkSeq: 0,
      missed: 0,
      heartbeatMs: 1,
      uplinkWindow: 1,
      frameBytesMax: 1,
      serverTimeMs: 1,
    },
    { op: 'uplinkAck', seq: 1, userSeqs: [1] },
    { op: 'uplinkRefused', expectedSeq: 1, code: 'gap', retryAfterMs: 0 },
    { op: 'downlink', seq: 1, messageId: 'm', service: '', payload: '', requestedAtMs: 1 },
    { op: 'pong', uplinkSeq: 0 },
    { op: 'signal', service: '', payload: '', roomId: '' },
    { op: 'migrate', withinMs: 1, endpoints: ['tcp://a:1'], reason: '' },
    { op: 'redirect', endpoints: [], retryAfterMs: 1, code: 'redirected' },
    { op: 'kick', code: 'kicked', reason: '' },
    { op: 'error', code: 'internal', message: '', retryAfterMs: 0 },
    { op: 'joined', roomId: 'r', roomSeq: 0, missed: 0 },
    { op: 'left', roomId: 'r', code: 'left', reason: '' },
    { op: 'post', roomId: 'r', roomSeq: 1, messageId: 'm', from: '', service: '', payload: '', postedAtMs: 1 },
  ]
  return frames.map(frame =>
    ({ is: `${frame.op}, which is for servers`, code: 'protocol', avro: avro(frame), json: JSON.stringify(frame) }))
}

/** Sends literal bytes or text as one frame; false where this dialect can't say it. */
function sendCase (client: Speaker, dialect: Dialect, { avro, json: text }: Case): boolean {
  if (json(dialect)) {
    if (text !== undefined) webSocketOf(client).send(text)
    return text !== undefined
  }
  if (avro && client instanceof TcpSpeaker) client.client.write(withLength(avro))
  else if (avro) webSocketOf(client).send(avro)
  return avro !== undefined
}

function webSocketOf (client: Speaker): WebSocketClient {
  return (client as unknown as { client: WebSocketClient }).client
}

/** A client that had nothing to do with it goes on, and the node has nothing to say of it. */
async function unharmed (t: Test, node: TestNode, bystander: Speaker): Promise<void> {
  await alive(t, bystander)
  t.strictSame(node.logged, [])
}

for (const dialect of dialects) {
  t.test(`A client of ${dialect} is closed, and nobody else, when it sends`, async t => {
    const node = await startTestNode(t, { LEDGERLINE_FRAME_BYTES_MAX: '4096' })
    const { client: bystander } = await connected(t, node, dialect, 'bystander')
    await until('the session of ann has downlinks', async () => (await node.push('ann', 'x')).status === 'queued')
    await node.push('ann', 'x')
    const { client: first } = await connected(t, node, dialect, 'ann')
    for (const seq of [1, 2]) t.match(await first.next(), { seq })
    await node.gone(() => { first.destroy() })

    for (const each of cases) {
      t.test(each.is, async t => {
        const { client } = await connected(t, node, dialect, 'ann')
        for (const seq of [1, 2]) t.match(await client.next(), { seq })
        if (!sendCase(client, dialect, each)) return
        await endsWith(t, client, each.code)
      })
    }

    t.test('anything before connect', async t => {
      for (const frame of [{ op: 'ping' }, ...uplinks(1, 1), { op: 'disconnect' }, { op: 'downlinkAck', seq: 0 }]) {
        const client = await speaker(t, node, dialect)
        client.send(frame)
        await endsWith(t, client, 'protocol')
      }
    })

    t.test('a second connect, behind the first or later', async t => {
      const { client } = await connected(t, node, dialect, 'eve')
      client.send(await connectFrame(node, 'eve'))
      await endsWith(t, client, 'protocol')
      const hasty = await speaker(t, node, dialect)
      hasty.sendAll([await connectFrame(node, 'eve'), await connectFrame(node, 'eve')])
      await endsWith(t, hasty, 'protocol')
    })

    t.test('a downlinkSeq that is ahead of what was ever sent to it', async t => {
      const ahead = await speaker(t, node, dialect)
      ahead.send(await connectFrame(node, 'ann', { downlinkSeq: 3 }))
      await endsWith(t, ahead, 'protocol')
      const { welcome } = await connected(t, node, dialect, 'ann', { downlinkSeq: 2 })
      t.match(welcome, { resumed: true, downlinkSeq: 2, missed: 0 })
    })

    t.test('a connect of wrong fields', async t => {
      const wrong: Array<Partial<Sent>> = [
        { downlinkSeq: -1 }, { downlinkSeq: Number.MAX_SAFE_INTEGER }, { downlinkSeq: 2 ** 53 },
        { token: 't'.repeat(16_385) }, { deviceId: '' }, { deviceId: 'd'.repeat(257) }, { deviceId: '😀'.repeat(65) }, { deviceId: 'a\u001bb' },
        { sessionId: '' }, { sessionId: 's'.repeat(257) }, { platform: 'p'.repeat(65) }, { client: 'c'.repeat(129) },
      ]
      for (const fields of wrong) {
        const client = await speaker(t, node, dialect)
        client.send(await connectFrame(node, 'ann', fields))
        await endsWith(t, client, 'bad-frame')
      }
    })

    t.test('what came before the bad frame counts', async t => {
      const { client } = await connected(t, node, dialect, 'mixed')
      client.sendAll(uplinks(1, 3))
      sendCase(client, dialect, cases[1]!)
      await endsWith(t, client, 'bad-frame')
      const { welcome } = await connected(t, node, dialect, 'mixed')
      t.equal(welcome.uplinkSeq, 3)
    })

    t.test('what comes behind the bad frame does not', async t => {
      const { client } = await connected(t, node, dialect, 'late')
      client.sendAll(uplinks(1, 2))
      await ackedUpTo(client, 2)
      sendCase(client, dialect, cases[1]!)
      client.sendAll(uplinks(3, 5))
      await endsWith(t, client, 'bad-frame')
      t.equal((await connected(t, node, dialect, 'late')).welcome.uplinkSeq, 2)
    })

    t.test('nothing of all that hurts a bystander', async t => { await unharmed(t, node, bystander) })
  })
}

t.test('A downlinkSeq of a device that nobody knows', async t => {
  t.test('is where the server goes on, as high as it may be', async t => {
    const node = await startTestNode(t)
    const { client, welcome } = await connected(t, node, 'TCP', 'high', { downlinkSeq: 2 ** 52 })
    t.match(welcome, { resumed: false, downlinkSeq: 2 ** 52 })
    for (const i of [1, 2]) {
      await node.push('high', 'x')
      t.equal((await client.next()).seq, 2 ** 52 + i)
    }
    t.strictSame(node.logged, [])
  })
})
