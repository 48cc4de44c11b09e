import { readdirSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { takeFrames } from '../../gateway/edge/tcp-frames.js'
import { encodeFrame } from '../../schemas/frame-codec.js'
import type { Frame } from '../../schemas/frames.js'
import { complaintsOf } from '../lasting.js'
import { type NodeProcess, request, startProcess, tokenFor, until } from './node-process.js'

/** Loopback has many addresses: each stands for one client, or one attacker. */
const attacker = '127.0.0.66'

t.test('An address that opens connections as fast as it can', async t => {
  const directory = t.testdir()
  const node = await startProcess(t, directory, { LEDGERLINE_ACCEPT_RATE: '100' }, { descriptors: 1_024 })
  const flood = startFlood(t, node)
  await until(() => flood.opened > 1_000)

  t.test('keeps nobody of another address out', async t => {
    for (let i = 0; i < 30; i++) t.equal((await firstAnswer(node, `user${i}`, `127.0.1.${i}`))?.op, 'connected')
  })

  t.test('holds few descriptors of the node, however long it goes on', async t => {
    const before = flood.opened
    let most = 0
    await until(() => {
      most = Math.max(most, readdirSync(`/proc/${node.pid}/fd`).length)
      return flood.opened > before + 3_000
    }, 100)
    t.ok(most < 700, `${most} at most, while ${flood.opened} were opened`)
    t.equal((await request(node, '/readyz')).status, 200)
  })

  t.test('is let in again once it stops', async t => {
    await flood.stop()
    await until(async () => (await firstAnswer(node, 'repentant', attacker))?.op === 'connected')
    t.strictSame(complaintsOf(node.lines), [], 'and none of it is in the log')
  })
})

/** Of these the node may not have said yet what becomes of them: the kernel's queue is not what is flooded here. */
const undecidedMax = 600

/** Up to 4,000 sockets a second that say nothing and never close by themselves, however clearly they are told to. */
function startFlood (t: Test, node: NodeProcess) {
  const port = Number(new URL(node.tcp).port)
  const sockets = new Set<Socket>()
  const undecided = new Set<Socket>()
  let opened = 0
  const openOne = () => {
    const socket = connect({ host: '127.0.0.1', port, localAddress: attacker, allowHalfOpen: true })
    sockets.add(socket)
    undecided.add(socket)
    socket.resume()
    socket.on('error', () => {})
    socket.once('connect', () => { opened++ })
    socket.once('end', () => { undecided.delete(socket) })
    socket.once('close', () => {
      undecided.delete(socket)
      sockets.delete(socket)
    })
    // The oldest goes, or this process would have no descriptor left.
    if (sockets.size > 4_000) sockets.values().next().value!.destroy()
  }
  const timer = setInterval(() => {
    for (let i = 0; i < 40 && undecided.size < undecidedMax; i++) openOne()
  }, 10)
  const stop = async () => {
    clearInterval(timer)
    for (const socket of sockets) socket.destroy()
    await until(() => sockets.size === 0)
  }
  t.teardown(stop)
  return { get opened () { return opened }, stop }
}

/** What the node answers to a client of `localAddress` that says who it is; undefined where it says nothing. */
async function firstAnswer (node: NodeProcess, userId: string, localAddress: string): Promise<Frame | undefined> {
  const bytes = Buffer.alloc(1_024)
  const end = encodeFrame({
    op: 'connect', token: await tokenFor(userId), deviceId: 'd', sessionId: 's', platform: '', client: '', downlinkSeq: 0,
  }, bytes, 4)
  bytes.writeUInt32BE(end - 4)
  const socket = connect({ host: '127.0.0.1', port: Number(new URL(node.tcp).port), localAddress })
  const frames: Frame[] = []
  let ended = false
  socket.write(bytes.subarray(0, end))
  socket.on('data', chunk => { takeFrames(chunk, 65_536, frames) })
  socket.on('error', () => {})
  socket.once('close', () => { ended = true })
  await until(() => frames.length > 0 || ended)
  socket.destroy()
  return frames[0]
}
