import { connect } from 'node:net'
import t from 'tap'
import { encodeFrame } from '../../schemas/frame-codec.js'
import type { Frame } from '../../schemas/frames.js'
import { request, startProcess, tokenFor, until } from './node-process.js'

const clients = 500
const uplinksOfEach = 20_000

t.test('A node with a heap of 192 MB, which 500 clients flood with the smallest uplinks', async t => {
  const node = await startProcess(t, t.testdir(), {
    NODE_OPTIONS: '--max-old-space-size=192',
    LEDGERLINE_UPLINK_WINDOW: '4096',
  })
  const flood = Buffer.concat(Array.from({ length: uplinksOfEach }, (_, i) =>
    framed({ op: 'uplink', seq: i + 1, service: '', payload: Buffer.alloc(8), priority: 0 })))
  for (let i = 0; i < clients; i++) {
    const socket = connect({ host: '127.0.0.1', port: Number(new URL(node.tcp).port) })
    t.teardown(() => { socket.destroy() })
    socket.on('error', () => {})
    const token = await tokenFor(`user${i}`)

    socket.write(framed({
      op: 'connect', token, deviceId: 'phone', platform: '', client: '', sessionId: 's1', downlinkSeq: 0,
    }))
    socket.once('data', () => {
      socket.pause() // it never reads again
      socket.write(flood)
    })
  }
  await until(async () => {
    const { text } = await request(node, '/metrics')
    return Number(/^ledgerline_uplinks_total (\d+)/m.exec(text)![1]) > 1_500_000
  })
  t.equal((await request(node, '/healthz')).status, 200, 'lives on, and answers')
  t.strictSame(node.lines.filter(({ level }) => level >= 50), [])
})

function framed (frame: Frame): Buffer {
  const bytes = Buffer.alloc(1_024)
  const end = encodeFrame(frame, bytes, 4)
  bytes.writeUInt32BE(end - 4)
  return Buffer.from(bytes.subarray(0, end))
}
