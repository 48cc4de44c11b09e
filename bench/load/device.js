/*
  A device over TCP with Avro bodies that takes what a gateway does to it, as the protocol says: refused uplinks it
  sends again after the wait, and from an end it comes back. It speaks by hand, as the other clients here.
*/
import { connect } from 'node:net'
import { out } from './outgoing.js'
import { op, token, uplinkTail } from './protocols/ledgerline.js'
import { bytesOf, long, readVarint, readVarintAt, varintBytes } from './protocols/varint.js'

const backoffMs = 1_000
/** What may wait in this process for one device; the kernel has as much again. */
const writableBytesMax = 128 << 10
/** Uplinks in one turn: a gateway that reads as fast as they are written would leave no time for anything else. */
const burstMax = 64
/** A longer payload is handed to the kernel from where it is, whoever sends it. */
const copiedBytesMax = 4 << 10

/**
 * @typedef {object} DeviceOptions
 * @property {number} port
 * @property {string} secret
 * @property {boolean} [namesRooms] see `uplinkTail`
 * @property {string} userId
 * @property {string} [deviceId]
 * @property {Buffer} payload of every uplink
 * @property {number} [priority] of every uplink, 0 by default
 * @property {boolean} [reads] false: it takes nothing of what the gateway says, acks included
 * @property {boolean} [acksDownlinks]
 * @property {number} [window] uplinks without an ack at any time; at most what the gateway names
 * @property {(device: Device, seq: number) => void} [acked] everything up to `seq` is
 */
export class Device {
  /** The uplink that is sent next, and the last one that shall be sent by now. */
  next = 1
  due = 0
  acked = 0
  delivered = 0
  refused = 0
  /** How connections ended, by code; `lost` without one. */
  ended = new Map()
  bytesSent = 0
  isOpen = false
  #options
  #socket
  #window
  #tail
  #rest
  #sessions = 0
  #sessionId
  #downlinkSeq = 0
  #resumeAtMs = 0
  #left = false
  #goesOn = false
  #opened
  /** Resolves when it is connected for the first time; of one that does not read, when its socket is. */
  opened = new Promise(resolve => { this.#opened = resolve })

  /** @param {DeviceOptions} options */
  constructor (options) {
    this.#options = options
    this.#tail = uplinkTail(options.payload, options.priority ?? 0, options)
  }

  get #reads () { return this.#options.reads ?? true }

  connect () {
    const { port } = this.#options
    // Who never hears of acks can't go on where it was.
    if (!this.#reads || this.#sessionId === undefined) {
      this.#sessionId = `session-${++this.#sessions}-${process.pid}`
      this.due -= this.next - 1
      this.next = 1
    }
    this.#rest = undefined
    this.#window = Infinity
    const socket = connect({ host: '127.0.0.1', port, noDelay: true })
    this.#socket = socket
    if (this.#reads) socket.on('data', chunk => { this.#read(chunk) })
    else socket.pause()
    let cause = 'lost'
    socket.on('error', () => {})
    socket.on('close', () => { if (socket === this.#socket) this.#closed(cause) })
    socket.on('drain', () => { this.#pumpSoon() })
    socket.once('connect', () => {
      out.put(this.#frame(op.connect, Buffer.concat(
        [...this.#names().map(bytesOf), long(this.#downlinkSeq)])))
      out.flush(socket)
      if (!this.#reads) this.#open(1)
    })
    this.#causes = code => { cause = code }
  }

  #causes = () => {}

  /** Without a goodbye: the gateway hears of the end as of any other. */
  leave () {
    this.#left = true
    this.#socket?.destroy()
  }

  /** Sends what is due, as far as it may. */
  pump () {
    const socket = this.#socket
    if (!this.isOpen || performance.now() < this.#resumeAtMs) return
    let burst = burstMax
    while (this.#mayPut(socket) && burst-- > 0) this.#putUplink(this.next++)
    out.flush(socket)
    if (burst < 0) this.#pumpSoon()
  }

  /** In a later turn: 'drain' may come in the same one, again and again while the kernel takes all. */
  #pumpSoon () {
    if (this.#goesOn) return
    this.#goesOn = true
    setImmediate(() => {
      this.#goesOn = false
      this.pump()
    })
  }

  #mayPut ({ writableLength }) {
    return this.next <= this.due && this.next - this.acked <= this.#window && writableLength < writableBytesMax
  }

  #names () {
    const { userId, secret, deviceId = 'phone' } = this.#options
    return [token(userId, secret), deviceId, 'bench', 'ledgerline-bench/1', this.#sessionId]
  }

  #open (next) {
    this.next = next
    this.isOpen = true
    this.#opened()
    this.pump()
  }

  #closed (cause) {
    this.isOpen = false
    if (this.#left) return
    this.ended.set(cause, (this.ended.get(cause) ?? 0) + 1)
    const waitMs = Math.max(backoffMs, this.#resumeAtMs - performance.now())
    setTimeout(() => { if (!this.#left) this.connect() }, waitMs)
  }

  #putUplink (seq) {
    const seqBytes = varintBytes(seq)
    const length = 1 + seqBytes + this.#tail.length
    this.bytesSent += 4 + length
    const copies = this.#tail.length <= copiedBytesMax
    out.reserve(5 + seqBytes + (copies ? this.#tail.length : 0))
    out.at = out.bytes.writeUInt32BE(length, out.at)
    out.bytes[out.at++] = op.uplink
    for (let rest = seq * 2; ; rest >>>= 7) {
      out.bytes[out.at++] = rest >= 128 ? (rest & 0x7f) | 0x80 : rest
      if (rest < 128) break
    }
    if (copies) {
      out.put(this.#tail)
    } else {
      this.#socket.cork()
      out.flush(this.#socket)
      this.#socket.write(this.#tail)
      this.#socket.uncork()
    }
  }

  #frame (opcode, body) {
    const head = Buffer.alloc(5)
    head.writeUInt32BE(1 + body.length)
    head[4] = opcode
    return Buffer.concat([head, body])
  }

  #read (chunk) {
    const bytes = this.#rest ? Buffer.concat([this.#rest, chunk]) : chunk
    const ackedBefore = this.acked
    const seqBefore = this.#downlinkSeq
    let at = 0
    while (at + 4 <= bytes.length) {
      const stop = at + 4 + bytes.readUInt32BE(at)
      if (stop > bytes.length) break
      this.#message(bytes, at + 4)
      at = stop
    }
    this.#rest = at < bytes.length ? bytes.subarray(at) : undefined
    if (this.acked > ackedBefore) this.#options.acked?.(this, this.acked)
    if (this.#downlinkSeq > seqBefore && (this.#options.acksDownlinks ?? true)) {
      out.put(this.#frame(op.downlinkAck, long(this.#downlinkSeq)))
    }
    this.pump()
    out.flush(this.#socket)
  }

  #message (bytes, start) {
    const fields = new Fields(bytes, start + 1)
    switch (bytes[start]) {
      case op.connected: return this.#connected(fields)
      case op.uplinkAck: this.acked = readVarint(bytes, start + 1); break
      case op.uplinkRefused:
        this.refused++
        this.next = fields.long()
        fields.skipText()
        this.#waitFor(fields.long())
        break
      case op.downlink:
        this.#downlinkSeq = readVarint(bytes, start + 1)
        this.delivered++
        break
      case op.redirect: this.#causes('redirect'); this.#waitFor(backoffMs); break
      case op.kick: this.#causes(fields.text()); break
      case op.error:
        this.#causes(fields.text())
        fields.skipText()
        this.#waitFor(fields.long())
        break
    }
  }

  #connected (fields) {
    for (let i = 0; i < 3; i++) fields.skipText()
    fields.at++ // resumed
    this.acked = fields.long()
    this.#downlinkSeq = fields.long()
    fields.long() // missed
    fields.long() // heartbeatMs
    this.#window = Math.min(this.#options.window ?? Infinity, fields.long())
    this.#options.acked?.(this, this.acked)
    this.#open(this.acked + 1)
  }

  #waitFor (ms) {
    this.#resumeAtMs = performance.now() + (ms || backoffMs)
    setTimeout(() => { this.pump() }, ms || backoffMs)
  }
}

/** Reads the fields of a body one after the other. */
class Fields {
  constructor (bytes, at) {
    this.bytes = bytes
    this.at = at
  }

  long () {
    const { value, end } = readVarintAt(this.bytes, this.at)
    this.at = end
    return value
  }

  text () {
    const length = this.long()
    this.at += length
    return this.bytes.utf8Slice(this.at - length, this.at)
  }

  skipText () {
    const length = this.long()
    this.at += length
  }
}
