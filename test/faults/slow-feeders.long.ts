import { connect, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { encodeFrame } from '../../schemas/frame-codec.js'
import { makeCertificates, opensslMissing } from '../cluster/certificates.js'
import { rawFrame, text, upgradeRequest } from '../gateway/edge/raw-websocket.js'
import { complaintsOf } from '../lasting.js'
import { goodNeighbour, memoryOf, mib } from './neighbour.js'
import { apiKey, type NodeProcess, request, startProcess, tokenFor, until } from './node-process.js'

/*
  Clients that send a byte a second, at every place where something has begun: the node must end them all, by a time or
  by a floor of bytes, hold little for each of them, and serve whoever else is there.
*/

/** Nine kinds: 2,025 altogether. */
const feedersOfEach = 225

/** Generous for 2,000 sockets: some 20 KB for each, and what V8 has not collected. */
const grownBytesMax = 200 << 20

interface Kind {
  readonly what: string
  readonly port: 'http' | 'tcp'
  /** What it sends at once, before its bytes drip. */
  begins (i: number): Buffer | Promise<Buffer>
  /** Somewhere in what it is told before its end; undefined where it is told nothing. */
  readonly told: RegExp | undefined
}

const lines = (...all: string[]) => Buffer.from(`${all.join('\r\n')}\r\n`)
const halfFrame = Buffer.of(0, 0, 4, 0)
const halfMessage = Buffer.of(text, 0xfe, 4, 0, 0, 0, 0, 0)
const upgrade = upgradeRequest('ledgerline.v1.json')

async function hello (userId: string): Promise<{ tcp: Buffer, ws: Buffer }> {
  const token = await tokenFor(userId)
  const bytes = Buffer.alloc(2_048)
  const end = encodeFrame({
    op: 'connect', token, deviceId: 'phone', sessionId: 's1', platform: '', client: '', downlinkSeq: 0,
  }, bytes, 4)
  bytes.writeUInt32BE(end - 4)
  const json = JSON.stringify({ op: 'connect', token, deviceId: 'phone', sessionId: 's1' })
  return { tcp: bytes.subarray(0, end), ws: rawFrame(text, Buffer.from(json)) }
}

const kinds: readonly Kind[] = [
  {
    what: 'the header of a request',
    port: 'http',
    begins: () => Buffer.concat([lines('GET /healthz HTTP/1.1', 'host: a'), Buffer.from('x-slow: ')]),
    told: /^HTTP\/1\.1 408 /,
  },
  {
    what: 'the body of a request',
    port: 'http',
    begins: () => lines('POST /v1/downlinks HTTP/1.1', 'host: a', `authorization: Bearer ${apiKey}`,
      'content-type: application/json', 'content-length: 60000', ''),
    told: /HTTP\/1\.1 408 /,
  },
  {
    what: 'an upgrade',
    port: 'http',
    begins: () => upgrade.subarray(0, -10),
    told: /^HTTP\/1\.1 408 /,
  },
  { what: 'connect over WebSocket', port: 'http', begins: () => Buffer.concat([upgrade, halfMessage]), told: /handshake-timeout/ },
  { what: 'connect over TCP', port: 'tcp', begins: () => halfFrame, told: /handshake-timeout/ },
  {
    what: 'a frame over WebSocket',
    port: 'http',
    begins: async i => Buffer.concat([upgrade, (await hello(`ws${i}`)).ws, halfMessage]),
    told: /heartbeat-timeout/,
  },
  {
    what: 'a frame over TCP',
    port: 'tcp',
    begins: async i => Buffer.concat([(await hello(`tcp${i}`)).tcp, halfFrame]),
    told: /heartbeat-timeout/,
  },
]

/** The first half of what begins a handshake. */
const halfHello = Buffer.concat([Buffer.from('1603010200010001fc0303', 'hex'), Buffer.alloc(64, 7)])

const overTls: readonly Kind[] = (['http', 'tcp'] as const).map(port =>
  ({ what: `a TLS handshake on the ${port} port`, port, begins: () => halfHello, told: undefined }))

interface Feeder { readonly kind: Kind, readonly socket: Socket, received: string, ended: boolean }

async function startFeeders (t: Test, node: NodeProcess, some: readonly Kind[]): Promise<Feeder[]> {
  const feeders: Feeder[] = []
  for (const kind of some) {
    const { port } = new URL(node[kind.port])
    for (let i = 0; i < feedersOfEach; i++) {
      const bytes = await kind.begins(i)
      const socket = connect({ host: '127.0.0.1', port: Number(port), noDelay: true })
      const feeder: Feeder = { kind, socket, received: '', ended: false }
      socket.setEncoding('latin1').on('data', part => { feeder.received += String(part) })
      socket.on('error', () => {}).on('end', () => { feeder.ended = true }).on('close', () => { feeder.ended = true })
      socket.write(bytes)
      feeders.push(feeder)
    }
  }
  const dripping = setInterval(() => {
    for (const { socket, ended } of feeders) if (!ended && socket.writable) socket.write('a')
  }, 1_000)
  t.teardown(() => {
    clearInterval(dripping)
    for (const { socket } of feeders) socket.destroy()
  })
  return feeders
}

/** Whatever they are, they are ended, told why, and cost others nothing. */
async function withstands (t: Test, node: NodeProcess, some: readonly Kind[]): Promise<void> {
  const neighbour = await goodNeighbour(t, node)
  const before = memoryOf(node)
  const feeders = await startFeeders(t, node, some)
  await neighbour.goesOnUntil(() => feeders.every(({ ended }) => ended))
  t.equal(neighbour.trouble, '', 'the neighbour is acked all the time')
  for (const kind of some) {
    const mine = feeders.filter(feeder => feeder.kind === kind)
    t.equal(mine.filter(({ ended }) => ended).length, feedersOfEach, `who feeds ${kind.what} is ended`)
    const { told } = kind
    const answers = mine.map(({ received }) => received)
    if (told) t.strictSame(answers.filter(answer => !told.test(answer)), [], `and told: ${kind.what}`)
    else t.ok(answers.every(answer => answer === ''))
  }
  const { peakBytes } = memoryOf(node)
  t.ok(peakBytes - before.peakBytes < grownBytesMax,
    `memory: ${mib(before.peakBytes)} before, ${mib(peakBytes)} at most, for ${feeders.length} feeders`)
  t.comment(`${feeders.length} feeders: memory ${mib(before.peakBytes)} to ${mib(peakBytes)} at most; ` +
    `neighbour: ${neighbour.acked} acks, the slowest after ${neighbour.slowestMs.toFixed(0)} ms`)
  // The certificate of a test ends within days, which a node says at its start.
  const complaints = complaintsOf(node.lines).filter(({ condition }) => condition !== 'certificate')
  t.strictSame(complaints, [], 'none of it is in the log')
}

t.test('Clients that send a byte a second', async t => {
  const node = await startProcess(t, t.testdir(), { LEDGERLINE_HEARTBEAT_MS: '3600000' })
  await withstands(t, node, kinds)
  await until(async () => /^ledgerline_connections 1$/m.test((await request(node, '/metrics')).text), 100)
  const { text: metrics } = await request(node, '/metrics')
  t.match(metrics, new RegExp(`^ledgerline_slow_frames_total ${2 * feedersOfEach}$`, 'm'))
})

t.test('Clients that begin a TLS handshake, and send a byte of it a second', { skip: opensslMissing() ?? false }, async t => {
  const { server } = await makeCertificates(t)
  const node = await startProcess(t, t.testdir(), { LEDGERLINE_TLS_CERT: server.cert, LEDGERLINE_TLS_KEY: server.key })
  await withstands(t, node, overTls)
})
