import { connect } from 'node:net'
import type { Test } from 'tap'
import { encodeFrame } from '../../schemas/frame-codec.js'
import type { Frame } from '../../schemas/frames.js'

const flooders = 40

/** Clients that go on whatever they are told, so what is behind a refused uplink is dropped. @returns what ends them */
export async function startFlood (
  t: Test, tcpPort: number, tokenFor: (userId: string) => Promise<string>
): Promise<() => void> {
  const uplinksOfOne = 400
  const sockets = await Promise.all(Array.from({ length: flooders }, async (_, i) => {
    const socket = connect({ host: '127.0.0.1', port: tcpPort })
    t.teardown(() => { socket.destroy() })
    socket.on('error', () => {})
    socket.resume()
    socket.write(framed({
      op: 'connect',
      token: await tokenFor(`flood${i}`),
      deviceId: 'phone',
      platform: '',
      client: '',
      sessionId: 's1',
      downlinkSeq: 0,
    }))
    let next = 1
    const pump = () => {
      if (socket.destroyed) return
      const bytes = Buffer.concat(Array.from({ length: uplinksOfOne }, () =>
        framed({ op: 'uplink', seq: next++, service: '', payload: Buffer.alloc(120), priority: 0, roomId: '' })))
      socket.write(bytes, () => { setTimeout(pump, 20) })
    }
    pump()
    return socket
  }))
  return () => { for (const socket of sockets) socket.destroy() }
}

const scratch = Buffer.alloc(1_024)

function framed (frame: Frame): Buffer {
  const end = encodeFrame(frame, scratch, 4)
  scratch.writeUInt32BE(end - 4)
  return Buffer.from(scratch.subarray(0, end))
}
