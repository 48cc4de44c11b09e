import { connect, type Socket } from 'node:net'
import type { Test } from 'tap'
import { encodeFrame } from '../../schemas/frame-codec.js'
import type { Frame } from '../../schemas/frames.js'

const writeBytes = 64 << 10
const restMs = 20

export interface FloodOptions {
  readonly users?: number
  readonly devicesOfUser?: number
  readonly payloadBytes?: number
}

export interface Flood {
  /** Connections that were begun so far. */
  readonly opened: number
  /** All that the node said, for whoever looks for a word in it. */
  readonly said: string
  stop (): void
}

/**
 * Clients that go on whatever they are told, so what is behind a refused uplink is dropped, and that come back at once
 * wherever they are put out.
 */
export async function startFlood (
  t: Test, tcpPort: number, tokenFor: (userId: string) => Promise<string>,
  { users = 40, devicesOfUser = 1, payloadBytes = 120 }: FloodOptions = {}
): Promise<Flood> {
  const payload = Buffer.alloc(payloadBytes)
  const sockets = new Set<Socket>()
  let stopped = false
  let opened = 0
  let said = ''
  const open = (token: string, deviceId: string): void => {
    if (stopped) return
    const socket = connect({ host: '127.0.0.1', port: tcpPort })
    sockets.add(socket)
    socket.on('error', () => {})
    socket.setEncoding('latin1').on('data', text => { if (said.length < 1 << 20) said += String(text) })
    socket.once('close', () => {
      sockets.delete(socket)
      setTimeout(open, restMs, token, deviceId)
    })
    socket.write(framed({
      op: 'connect', token, deviceId, platform: '', client: '', sessionId: `s${++opened}`, downlinkSeq: 0,
    }))
    let next = 1
    const pump = () => {
      if (socket.destroyed || !socket.writable) return
      const bytes = Buffer.concat(Array.from({ length: Math.ceil(writeBytes / payload.length) }, () =>
        framed({ op: 'uplink', seq: next++, service: '', payload, priority: 0, roomId: '' })))
      socket.write(bytes, () => { setTimeout(pump, restMs) })
    }
    pump()
  }
  const stop = () => {
    stopped = true
    for (const socket of sockets) socket.destroy()
  }
  t.teardown(stop)
  const tokens = await Promise.all(Array.from({ length: users }, (_, i) => tokenFor(`flood${i}`)))
  for (const token of tokens) for (let i = 0; i < devicesOfUser; i++) open(token, `phone${i}`)
  return { get opened () { return opened }, get said () { return said }, stop }
}

const scratch = Buffer.alloc(65_540)

function framed (frame: Frame): Buffer {
  const end = encodeFrame(frame, scratch, 4)
  scratch.writeUInt32BE(end - 4)
  return Buffer.from(scratch.subarray(0, end))
}
