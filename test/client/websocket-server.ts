import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { WebSocketServer } from 'ws'
import { decodeFrame, encodeFrame } from '../../schemas/frame-codec.js'
import type { Frame, ServerFrame } from '../../schemas/frames.js'
import { connected } from './given.js'

/** Sends one downlink to whoever connects, and acks uplinks. */
export async function givenWebSocketServer (t: { teardown (done: () => unknown): void }) {
  const frames: Frame[] = []
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 })
  t.teardown(() => {
    for (const socket of server.clients) socket.terminate()
    server.close()
  })
  server.on('connection', socket => {
    const send = (frame: ServerFrame) => {
      const bytes = Buffer.alloc(4096)
      socket.send(bytes.subarray(0, encodeFrame(frame, bytes, 0)))
    }
    socket.on('message', (data: Buffer) => {
      const frame = decodeFrame(data, 0, data.length)
      frames.push(frame)
      if (frame.op === 'connect') {
        send(connected)
        send({ op: 'downlink', seq: 1, messageId: 'm ☃', service: '', payload: Buffer.from('x'), requestedAtMs: 0 })
      } else if (frame.op === 'uplink') {
        send({ op: 'uplinkAck', seq: frame.seq, userSeqs: [frame.seq] })
      }
    })
  })
  await once(server, 'listening')
  return { url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`, frames }
}
