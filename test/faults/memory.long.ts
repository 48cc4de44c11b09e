import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { encodeFrame, opcodes } from '../../schemas/frame-codec.js'
import type { Frame } from '../../schemas/frames.js'
import { type NodeProcess, request, startProcess, tokenFor, until } from './node-process.js'

const clients = 500
const uplinksOfEach = 20_000

t.test('A node with a heap of 192 MB, which 500 clients flood with the smallest uplinks', async t => {
  const node = await startProcess(t, t.testdir(), {
    NODE_OPTIONS: '--max-old-space-size=192',
    LEDGERLINE_UPLINK_WINDOW: '4096',
    LEDGERLINE_OVERLOAD_WAIT_MS: '0', // it is their memory that is looked at
  })
  const flood = Buffer.concat(Array.from({ length: uplinksOfEach }, (_, i) =>
    framed({ op: 'uplink', seq: i + 1, service: '', payload: Buffer.alloc(8), priority: 0, roomId: '' })))
  for (let i = 0; i < clients; i++) {
    const { socket } = await connected(t, node, `user${i}`)
    socket.pause() // it never reads again
    socket.write(flood)
  }
  await until(async () => {
    const { text } = await request(node, '/metrics')
    return Number(/^ledgerline_uplinks_total (\d+)/m.exec(text)![1]) > 1_500_000
  })
  t.equal((await request(node, '/healthz')).status, 200, 'lives on, and answers')
  t.strictSame(node.lines.filter(({ level }) => level >= 50), [])
})

t.test('A node whose memory is nearly used', async t => {
  const node = await startProcess(t, t.testdir(), { LEDGERLINE_MEMORY_BYTES_MAX: String(200 << 20) })
  const said = (msg: string) => node.lines.some(line => line['condition'] === 'memory' && line.msg === msg)
  const userIds = Array.from({ length: 400 }, (_, i) => `user${i}`)
  await Promise.all(userIds.map(userId => connected(t, node, userId)))
  const payload = 'x'.repeat(48 << 10)
  for (let round = 0, isOpen = true; isOpen; round++) {
    await request(node, '/v1/downlinks', { messageId: `m${round}`, to: { userIds }, payload })
    isOpen = (await connected(t, node, `early${round}`)).opcode === opcodes.connected
  }
  t.ok(said('trouble has begun'), 'says so, and sends new clients away')
  await until(() => said('trouble has ended'), 50)
  t.equal((await connected(t, node, 'late')).opcode, opcodes.connected, 'takes them again once what filled it is gone')
  t.strictSame(node.lines.filter(({ level }) => level >= 50), [])
})

/** A client to which the node has answered, with a frame of this opcode. */
async function connected (t: Test, node: NodeProcess, userId: string): Promise<{ socket: Socket, opcode: number }> {
  const socket = connect({ host: '127.0.0.1', port: Number(new URL(node.tcp).port) })
  t.teardown(() => { socket.destroy() })
  socket.on('error', () => {})
  socket.write(framed({
    op: 'connect', token: await tokenFor(userId), deviceId: 'phone', platform: '', client: '', sessionId: 's1', downlinkSeq: 0,
  }))
  const [answer] = await once(socket, 'data')
  return { socket, opcode: answer[4] }
}

function framed (frame: Frame): Buffer {
  const bytes = Buffer.alloc(1_024)
  const end = encodeFrame(frame, bytes, 4)
  bytes.writeUInt32BE(end - 4)
  return Buffer.from(bytes.subarray(0, end))
}
