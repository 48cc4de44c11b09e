import { connect as connectTcp, type Socket } from 'node:net'
import { WebSocket } from 'ws'
import { takeFrames } from '../../gateway/edge/tcp-frames.js'
import { decodeFrameJson, encodeFrame, encodeFrameJson } from '../../schemas/frame-codec.js'
import type { ClientFrame, Connected, Downlink, Frame, Migrate } from '../../schemas/frames.js'
import { tokenFor } from './node-process.js'

/** One connection as its client sees it. */
interface Line {
  send (frame: ClientFrame): void
  /** Closes without a word. */
  destroy (): void
}

interface Where { readonly http: string, readonly tcp: string }

export interface BusyClientOptions {
  readonly userId: string
  readonly deviceId: string
  readonly transport: 'tcp' | 'ws'
  /** Of its uplinks; 0 where it is left out. */
  readonly priority?: number
  /** Uplinks that may be unacked. */
  readonly outstanding: number
  /** How often it looks whether it may send more; 10 where it is left out. */
  readonly everyMs?: number
  /** Codes of errors that it may see; those of a node that ends or crashes where it is left out. */
  readonly tolerated?: ReadonlySet<string> | undefined
}

/** Far less than the silence that ends a connection. */
const pingEveryMs = 30_000

const ofEndingNodes: ReadonlySet<string> = new Set(['migrating', 'internal'])

/**
 * A client that keeps protocol.md 3 and nothing else: an outbox that is sent again from the server's `uplinkSeq`, a
 * cursor over the downlinks, and no other way to tell that something came twice.
 */
export class BusyClient {
  readonly userId: string
  readonly deviceId: string
  readonly transport: 'tcp' | 'ws'
  readonly sessionId: string
  readonly #priority: number
  readonly #outstanding: number
  readonly #everyMs: number
  readonly #tolerated: ReadonlySet<string>

  #line: Line | undefined
  /** While it is asked to go elsewhere: the connection there, before its `connected`. */
  #next: Line | undefined
  #moving: NodeJS.Timeout | undefined
  /** A connection to go to ended before its `connected`: the server may take its opening yet. */
  #mayBeSuperseded = false
  /** Where it was told to connect. */
  #where: Where | undefined
  /** What its last `connect` said. */
  #askedCursor = 0
  #opened: ((outcome: Connected | undefined) => void) | undefined
  #pump: NodeJS.Timeout | undefined
  #resumeSending: NodeJS.Timeout | undefined
  #outbox: Array<{ seq: number, payload: string }> = []
  #nextSeq = 1
  #waitsUntilMs = 0
  #heardAtMs = 0
  #pingedAtMs = 0

  /** What its application knows: `userSeq` of the acked uplinks; 0 where only a `connected` has acked it. */
  readonly acked = new Map<number, number>()
  /** Downlinks as the application got them. */
  readonly seen: Array<{ seq: number, messageId: string }> = []
  readonly refusals: Array<{ code: string, retryAfterMs: number }> = []
  /** Whatever no client must ever see. */
  readonly complaints: string[] = []
  connected: Connected | undefined
  connections = 0
  /** How often it moved because it was asked to, and how often it was without a connection. */
  moves = 0
  cuts = 0
  signals = 0
  cursor = 0
  /** It makes new uplinks. */
  busy = true

  constructor (options: BusyClientOptions) {
    const { userId, deviceId, transport, priority = 0, outstanding, everyMs = 10, tolerated = ofEndingNodes } = options
    this.#priority = priority
    this.#everyMs = everyMs
    this.#tolerated = tolerated
    this.userId = userId
    this.deviceId = deviceId
    this.transport = transport
    this.sessionId = `${userId}/${deviceId}`
    this.#outstanding = outstanding
  }

  /** How long it has heard nothing while it waits for an answer, ms. */
  get silentMs (): number {
    const waits = this.#line !== undefined && (!this.isOpen || this.unacked > 0)
    return waits ? Date.now() - this.#heardAtMs : 0
  }

  get isOpen (): boolean { return this.connected !== undefined }
  get unacked (): number { return this.#outbox.length }
  get ackedSeq (): number { return this.#nextSeq - 1 - this.#outbox.length }

  /** Connects and resumes. @returns false where the node is not there, or went away before it answered */
  async open (where: Where): Promise<boolean> {
    if (this.#next) return false // that one decides
    const token = await tokenFor(this.userId)
    const line = this.transport === 'tcp' ? this.#openTcp(where) : this.#openWs(where)
    this.#line = line
    this.#where = where
    this.#heardAtMs = Date.now()
    const answer = await new Promise<Connected | undefined>(resolve => {
      this.#opened = resolve
      this.#connect(line, token)
    })
    if (!answer) return false
    this.#pump ??= setInterval(() => { this.#fill() }, this.#everyMs)
    return true
  }

  #connect (line: Line, token: string): void {
    this.#askedCursor = this.cursor
    line.send({
      op: 'connect',
      token,
      deviceId: this.deviceId,
      platform: 'test',
      client: 'busy-client',
      sessionId: this.sessionId,
      downlinkSeq: this.cursor,
    })
  }

  /** Connects elsewhere first, or again where it was told none, at a random moment of the time given; leaves then. */
  #migrate ({ withinMs, endpoints }: Migrate): void {
    const endpoint = endpoints[0]
    if (this.#moving) return
    this.#moving = setTimeout(async () => {
      const token = await tokenFor(this.userId)
      this.#moving = undefined
      if (!this.#line) return
      const http = endpoint?.replace(/^ws/, 'http').replace(/\/v1\/connect$/, '')
      const where = endpoint && http !== undefined ? { tcp: endpoint, http } : this.#where!
      const line = this.transport === 'tcp' ? this.#openTcp(where) : this.#openWs(where)
      this.#next = line
      this.#connect(line, token)
    }, Math.random() * withinMs)
  }

  /** Goes away without a word. */
  vanish (): void { this.#line?.destroy() }

  /** Says goodbye and waits until the server has closed. */
  async leave (): Promise<void> {
    clearInterval(this.#pump)
    const line = this.#line
    if (!line) return
    const closed = new Promise(resolve => { this.#opened = resolve })
    line.send({ op: 'disconnect', endSession: false })
    await closed
  }

  stop (): void {
    clearInterval(this.#pump)
    clearTimeout(this.#resumeSending)
    clearTimeout(this.#moving)
    this.#next?.destroy()
    this.#line?.destroy()
  }

  #fill (): void {
    if (this.isOpen && Date.now() - this.#pingedAtMs > pingEveryMs) {
      this.#pingedAtMs = Date.now()
      this.#line?.send({ op: 'ping', downlinkSeq: 0, silentMs: 0 })
    }
    if (!this.busy || !this.isOpen || Date.now() < this.#waitsUntilMs) return
    while (this.#outbox.length < this.#outstanding) {
      const seq = this.#nextSeq++
      const item = { seq, payload: `${this.sessionId} ${seq}` }
      this.#outbox.push(item)
      this.#send(item)
    }
  }

  #send ({ seq, payload }: { seq: number, payload: string }): void {
    this.#line?.send({ op: 'uplink', seq, service: '', payload: Buffer.from(payload), priority: this.#priority, roomId: '' })
  }

  #received (line: Line, frame: Frame): void {
    if (line === this.#next && frame.op === 'connected') {
      this.#line?.send({ op: 'disconnect', endSession: false })
      this.#line = line
      this.#next = undefined
      this.moves++
    }
    if (line !== this.#line) return
    this.#heardAtMs = Date.now()
    switch (frame.op) {
      case 'migrate': this.#migrate(frame); return
      // The user actor tells both ends at once: this one may hear first that the other has taken its place.
      case 'kick': if (frame.code === 'superseded' && (this.#next || this.#mayBeSuperseded)) return; break
      case 'connected': this.#resumed(frame); return
      case 'uplinkAck': this.#uplinksAcked(frame.seq, frame.userSeqs); return
      case 'uplinkRefused': this.#refused(frame); return
      case 'downlink': this.#downlink(frame); return
      case 'signal': this.signals++; return
      case 'pong': return
      case 'redirect':
      case 'error': if (this.#tolerated.has(frame.code)) return
    }
    this.complaints.push(JSON.stringify(frame))
  }

  #resumed (frame: Connected): void {
    const { uplinkSeq, downlinkSeq, missed, resumed } = frame
    if (uplinkSeq < this.ackedSeq) this.complaints.push(`acked up to ${this.ackedSeq}, now only ${uplinkSeq}`)
    if (uplinkSeq >= this.#nextSeq) this.complaints.push(`sent up to ${this.#nextSeq - 1}, accepted ${uplinkSeq}`)
    // While it moved it went on, and acked, on the connection that it had: the server may know of that.
    if (downlinkSeq < this.#askedCursor || downlinkSeq > this.cursor || missed !== 0) {
      this.complaints.push(`at downlink ${this.#askedCursor}, told ${downlinkSeq} with ${missed} missed`)
    }
    if (!resumed && this.connections > 0) this.complaints.push('the session is not known any more')
    this.connected = frame
    this.connections++
    this.#mayBeSuperseded = false
    this.#accept(uplinkSeq, [])
    for (const item of this.#outbox) this.#send(item)
    this.#opened?.(frame)
    this.#opened = undefined
  }

  #uplinksAcked (seq: number, userSeqs: readonly number[]): void {
    if (seq >= this.#nextSeq) this.complaints.push(`ack of ${seq}, which was never sent`)
    // A repeat gets its answer again: it must be the same one.
    for (let i = 0; i < userSeqs.length; i++) {
      const at = seq - userSeqs.length + 1 + i
      const known = this.acked.get(at)
      if (known !== undefined && known !== 0 && known !== userSeqs[i]) {
        this.complaints.push(`uplink ${at} had userSeq ${known}, now ${userSeqs[i]}`)
      }
    }
    this.#accept(seq, userSeqs)
  }

  #accept (seq: number, userSeqs: readonly number[]): void {
    for (let i = 0; i < userSeqs.length; i++) this.acked.set(seq - userSeqs.length + 1 + i, userSeqs[i]!)
    while (this.#outbox.length > 0 && this.#outbox[0]!.seq <= seq) {
      const accepted = this.#outbox.shift()!
      if (!this.acked.has(accepted.seq)) this.acked.set(accepted.seq, 0)
    }
  }

  #refused ({ expectedSeq, code, retryAfterMs }: Frame & { op: 'uplinkRefused' }): void {
    this.refusals.push({ code, retryAfterMs })
    const line = this.#line
    this.#waitsUntilMs = Date.now() + retryAfterMs
    clearTimeout(this.#resumeSending)
    this.#resumeSending = setTimeout(() => {
      if (line !== this.#line) return
      for (const item of this.#outbox) if (item.seq >= expectedSeq) this.#send(item)
    }, retryAfterMs)
  }

  #downlink ({ seq, messageId }: Downlink): void {
    if (seq <= this.cursor) {
      this.#line?.send({ op: 'downlinkAck', seq }) // no more than this connection has been sent
      return
    }
    if (seq !== this.cursor + 1) this.complaints.push(`downlink ${seq} after ${this.cursor}`)
    this.seen.push({ seq, messageId })
    this.cursor = seq
    this.#line?.send({ op: 'downlinkAck', seq })
  }

  #closed (line: Line): void {
    if (line === this.#next) {
      this.#next = undefined
      this.#mayBeSuperseded = true
    }
    if (line !== this.#line) return
    this.#line = undefined
    if (this.connected && !this.#next) this.cuts++
    this.connected = undefined
    clearTimeout(this.#resumeSending)
    this.#opened?.(undefined)
    this.#opened = undefined
  }

  #openTcp ({ tcp }: Where): Line {
    const { hostname, port } = new URL(tcp)
    const socket: Socket = connectTcp({ host: hostname, port: Number(port), noDelay: true })
    let rest = Buffer.alloc(0)
    const line: Line = {
      send (frame) {
        const bytes = Buffer.alloc(4096)
        const end = encodeFrame(frame, bytes, 4)
        bytes.writeUInt32BE(end - 4, 0)
        socket.write(bytes.subarray(0, end))
      },
      destroy () { socket.destroy() },
    }
    socket.on('data', chunk => {
      const frames: Frame[] = []
      const { partial, error } = takeFrames(Buffer.concat([rest, chunk]), 1 << 20, frames)
      if (error) this.complaints.push(error.message)
      rest = Buffer.from(partial ?? [])
      for (const frame of frames) this.#received(line, frame)
    })
    socket.on('error', () => {})
    socket.on('close', () => { this.#closed(line) })
    return line
  }

  #openWs ({ http }: Where): Line {
    const socket = new WebSocket(`${http.replace(/^http/, 'ws')}/v1/connect`, 'ledgerline.v1.json')
    const early: string[] = []
    const line: Line = {
      send (frame) {
        const text = encodeFrameJson(frame)
        if (socket.readyState === WebSocket.OPEN) socket.send(text)
        else if (socket.readyState === WebSocket.CONNECTING) early.push(text)
      },
      destroy () { socket.terminate() },
    }
    socket.on('open', () => { for (const text of early) socket.send(text) })
    socket.on('message', data => { this.#received(line, decodeFrameJson(String(data))) })
    socket.on('error', () => {})
    socket.on('close', () => { this.#closed(line) })
    return line
  }
}
