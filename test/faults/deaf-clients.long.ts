import { connect, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { takeFrames } from '../../gateway/edge/tcp-frames.js'
import { encodeFrame } from '../../schemas/frame-codec.js'
import type { Frame } from '../../schemas/frames.js'
import { rawFrame, text, upgradeRequest } from '../gateway/edge/raw-websocket.js'
import { complaintsOf } from '../lasting.js'
import { goodNeighbour, memoryOf, mib } from './neighbour.js'
import { type NodeProcess, request, startProcess, tokenFor, until } from './node-process.js'

async function connectBytes (userId: string, transport: 'tcp' | 'ws'): Promise<Buffer> {
  const token = await tokenFor(userId)
  if (transport === 'ws') {
    const hello = rawFrame(text, Buffer.from(JSON.stringify({ op: 'connect', token, deviceId: 'd', sessionId: 's' })))
    return Buffer.concat([upgradeRequest('ledgerline.v1.json'), hello])
  }
  const bytes = Buffer.alloc(2_048)
  const end = encodeFrame({
    op: 'connect', token, deviceId: 'd', sessionId: 's', platform: '', client: '', downlinkSeq: 0,
  }, bytes, 4)
  bytes.writeUInt32BE(end - 4)
  return bytes.subarray(0, end)
}

async function metric (node: NodeProcess, name: string): Promise<number> {
  const { text: metrics } = await request(node, '/metrics')
  return Number(new RegExp(`^ledgerline_${name.replace(/[{}"]/g, '\\$&')} (\\d+)$`, 'm').exec(metrics)?.[1] ?? 0)
}

function dial (t: Test, node: NodeProcess, transport: 'tcp' | 'ws'): Socket {
  const { port } = new URL(transport === 'tcp' ? node.tcp : node.http)
  const socket = connect({ host: '127.0.0.1', port: Number(port) })
  t.teardown(() => { socket.destroy() })
  socket.on('error', () => {})
  return socket
}

t.test('200 clients that read nothing are ended with what waits for them bounded', async t => {
  const node = await startProcess(t, t.testdir())
  const neighbour = await goodNeighbour(t, node)
  const userIds = Array.from({ length: 200 }, (_, i) => `deaf${i}`)
  for (const [i, userId] of userIds.entries()) {
    const transport = i % 2 ? 'tcp' : 'ws'
    const socket = dial(t, node, transport)
    socket.write(await connectBytes(userId, transport))
  }
  await until(async () => await metric(node, 'connections') === 201, 50)
  const before = memoryOf(node)
  let bytes = 0
  // Signals are stored nowhere: the disk has no part in it.
  const payload = 'x'.repeat(40_000)
  await neighbour.goesOnUntil(async () => {
    const { status } = await request(node, '/v1/downlinks', { to: { userIds }, payload, delivery: 'signal' })
    t.equal(status, 202)
    bytes += payload.length
    return await metric(node, 'connections_closed_total{code="slow-consumer"}') === userIds.length
  })
  t.equal(neighbour.trouble, '', 'the neighbour is acked all the time')
  const { peakBytes } = memoryOf(node)
  t.comment(`${mib(bytes)} to each; memory ${mib(before.peakBytes)} to ${mib(peakBytes)} at most; ` +
    `the neighbour's slowest ack after ${neighbour.slowestMs.toFixed(0)} ms`)
  // 1 MiB and a frame for each, were nothing of it shared.
  t.ok(peakBytes - before.peakBytes < (200 * 1.1 + 150) * 2 ** 20)
  t.strictSame(complaintsOf(node.lines), [])
})

t.test('50 clients that ack nothing keep a bounded outbox each, and are told what they missed', async t => {
  const node = await startProcess(t, t.testdir())
  const neighbour = await goodNeighbour(t, node)
  const userIds = Array.from({ length: 50 }, (_, i) => `silent${i}`)
  const frames = new Map<string, Frame[]>()
  const open = async (userId: string) => {
    const socket = dial(t, node, 'tcp')
    const mine: Frame[] = []
    let rest: Buffer = Buffer.alloc(0)
    socket.on('data', chunk => {
      rest = Buffer.concat([rest, chunk])
      const { partial } = takeFrames(rest, 65_536, mine)
      rest = partial ? Buffer.from(partial) : Buffer.alloc(0)
    })
    socket.write(await connectBytes(userId, 'tcp'))
    await until(() => mine.length > 0)
    frames.set(userId, mine)
    return socket
  }
  const sockets = await Promise.all(userIds.map(open))
  const before = memoryOf(node)
  const outboxMax = 1_000
  const pushes = 1_200
  let sent = 0
  await neighbour.goesOnUntil(async () => {
    for (let i = 0; i < 20; i++) {
      const { status } = await request(node, '/v1/downlinks', { to: { userIds }, payload: `number ${++sent}` })
      t.equal(status, 202)
    }
    return sent === pushes
  })
  await until(() => userIds.every(userId => frames.get(userId)!.filter(({ op }) => op === 'downlink').length === pushes), 50)
  t.equal(neighbour.trouble, '', 'the neighbour is acked all the time')
  const { peakBytes } = memoryOf(node)
  t.comment(`memory ${mib(before.peakBytes)} to ${mib(peakBytes)} at most; the neighbour's slowest ack after ` +
    `${neighbour.slowestMs.toFixed(0)} ms`)
  t.ok(peakBytes - before.peakBytes < 300 << 20)
  const dropped = await metric(node, 'downlinks_settled_total{outcome="dropped",reason="outbox-full"}')
  t.equal(dropped, userIds.length * (pushes - outboxMax))
  for (const socket of sockets) socket.destroy()
  await until(async () => await metric(node, 'connections') === 1, 50)
  await Promise.all(userIds.map(open))
  for (const userId of userIds) t.match(frames.get(userId)![0], { op: 'connected', missed: pushes - outboxMax })
  t.strictSame(complaintsOf(node.lines), [])
})
