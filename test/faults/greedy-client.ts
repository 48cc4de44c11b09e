import { once } from 'node:events'
import { connect } from 'node:net'
import type { Test } from 'tap'
import { encodeFrame, opcodes } from '../../schemas/frame-codec.js'
import type { Frame } from '../../schemas/frames.js'
import { type NodeProcess, tokenFor } from './node-process.js'

export interface GreedyOptions {
  readonly userId: string
  readonly deviceId?: string
  /** The seq of each uplink by how many were sent before; 1, 2, 3 and so on where it is left out. */
  readonly seqOf?: (sent: number) => number
  readonly payloadBytes: number
  /** False for one that reads nothing once it is connected. */
  readonly reads?: boolean
}

export interface GreedyClient {
  /** Uplinks that its socket has taken. */
  readonly sent: number
  /** The node has closed it. */
  readonly isClosed: boolean
  begin (): void
  /** What is under way is finished. */
  stop (): void
  leave (): void
}

/** A connected client that sends uplinks as fast as its socket takes them, once it has begun. */
export async function greedyClient (t: Test, node: NodeProcess, options: GreedyOptions): Promise<GreedyClient> {
  const { userId, deviceId = 'phone', seqOf = sent => sent + 1, payloadBytes, reads = true } = options
  const socket = connect({ host: '127.0.0.1', port: Number(new URL(node.tcp).port) })
  t.teardown(() => { socket.destroy() })
  socket.on('error', () => {})
  let isClosed = false
  socket.on('close', () => { isClosed = true })
  const token = await tokenFor(userId)
  socket.write(framed({ op: 'connect', token, deviceId, platform: '', client: '', sessionId: deviceId, downlinkSeq: 0 }))
  const [answer] = await once(socket, 'data') as [Buffer]
  if (answer[4] !== opcodes.connected) throw new Error(`${userId} got opcode ${answer[4]} for its connect`)
  if (reads) socket.resume()
  else socket.pause()
  const payload = Buffer.alloc(payloadBytes, 'x')
  const atOnce = Math.max(1, Math.floor(64_000 / (payloadBytes + 32)))
  let sent = 0
  let goesOn = true
  const pump = () => {
    if (!goesOn || socket.destroyed) return
    const frames = Array.from({ length: atOnce }, (_, i) =>
      framed({ op: 'uplink', seq: seqOf(sent + i), service: '', payload, priority: 0, roomId: '' }))
    socket.write(Buffer.concat(frames), () => {
      sent += atOnce
      pump()
    })
  }
  return {
    get sent () { return sent },
    get isClosed () { return isClosed },
    begin: pump,
    stop () { goesOn = false },
    leave () { socket.destroy() },
  }
}

function framed (frame: Frame): Buffer {
  const scratch = Buffer.alloc('payload' in frame ? frame.payload.length + 1_024 : 2_048)
  const end = encodeFrame(frame, scratch, 4)
  scratch.writeUInt32BE(end - 4)
  return scratch.subarray(0, end)
}
