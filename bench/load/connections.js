import { connect } from 'node:net'
import { bareWs } from './protocols/ws.js'
import { ledgerlineOverTcp, ledgerlineOverWebSocket } from './protocols/ledgerline.js'
import { mqtt } from './protocols/mqtt.js'
import { out } from './outgoing.js'
import { socketIo } from './protocols/socketio.js'

const openingMax = 64
const openMsMax = 30_000
const readBytes = 1 << 18

/**
 * How a protocol is spoken. All functions put what they send into `out`; the caller flushes.
 *
 * @typedef {object} Protocol
 * @property {(conn: Connection) => void} start after the socket (or WebSocket) opened; ends in `conn.open()`
 * @property {(conn: Connection) => void} putUplink the connection's next uplink
 * @property {(conn: Connection, room: string) => void} [putJoin] where there are rooms; ends in one more `conn.joined`
 * @property {(conn: Connection, room: string) => void} [putPost] a message for everybody in the room
 * @property {(conn: Connection, bytes: Buffer, end: number) => number} read takes whole frames from `bytes`, moves the
 *   connection's counters, returns where the first incomplete frame begins
 * @property {(conn: Connection) => void} readEnd after each read, for answers that can wait for its end
 *
 * @typedef {Omit<Protocol, 'read'> & { path: string, subprotocol?: string,
 *   message: (conn: Connection, bytes: Buffer, start: number, stop: number) => void }} MessageProtocol
 */

const protocols = {
  'ledgerline-tcp': ledgerlineOverTcp,
  'ledgerline-ws': ledgerlineOverWebSocket,
  'socket.io': socketIo,
  ws: bareWs,
  mqtt,
}

/** @returns {Protocol} */
export function protocolNamed (name, target, payload, options = {}) {
  return protocols[name](target, payload, options)
}

// One read buffer for all sockets: a chunk is used up before the next one is read.
const shared = Buffer.allocUnsafeSlow(readBytes)
const onread = { buffer: shared, callback (bytes) { return this.conn.readable(bytes) } }

/** One client connection: its counters, and what it could not read yet. */
export class Connection {
  sent = 0
  /** Uplinks acked; acks are cumulative or in order in every protocol here. */
  acked = 0
  /** Rooms that it is a member of. */
  joined = 0
  /** Downlinks, signals or posts received. */
  delivered = 0
  downlinkSeq = 0
  downlinkAckedSeq = 0
  upgraded = false
  rest = undefined
  /** Told of progress after every read: `progress(conn, acks, deliveries)`. */
  driver = undefined

  constructor (index, protocol, opened, failed) {
    this.index = index
    this.protocol = protocol
    this.opened = opened
    this.failed = failed
  }

  connect (port) {
    this.socket = connect({ host: '127.0.0.1', port, noDelay: true, onread })
    this.socket.conn = this
    this.socket.on('connect', onConnect)
    this.socket.on('error', onError)
    this.socket.on('close', onClose)
  }

  readable (length) {
    let bytes = shared
    let end = length
    if (this.rest) {
      bytes = Buffer.concat([this.rest, shared.subarray(0, length)])
      end = bytes.length
      this.rest = undefined
    }
    const acked = this.acked
    const delivered = this.delivered
    const used = this.protocol.read(this, bytes, end)
    if (used < end) this.rest = Buffer.from(bytes.subarray(used, end))
    this.protocol.readEnd(this)
    this.driver?.progress(this, this.acked - acked, this.delivered - delivered)
    out.flush(this.socket)
    return true
  }

  open () {
    this.opened(this)
  }

  fail (reason) {
    this.failed(new Error(`connection ${this.index}: ${reason}`))
  }
}

function onConnect () {
  this.conn.protocol.start(this.conn)
  out.flush(this)
}

function onError (err) {
  this.conn.fail(err.message)
}

function onClose () {
  this.conn.fail('closed')
}

/** Connections go to the servers of a target in turn, where it has several `ports`. */
function portFor ({ port, ports = [port] }, index) {
  return ports[index % ports.length]
}

/** A growing set of connections to one target that fails as a whole with the first one. */
export class Connections {
  list = []
  /** Fails the whole set. */
  fail = () => {}
  /** Rejects with the first failure. */
  failure = new Promise((_resolve, reject) => { this.fail = reject })

  constructor (target, protocol) {
    this.target = target
    this.protocol = protocol
    this.failure.catch(() => {})
  }

  /** Opens connections until there are `count`, `openingMax` at a time, so that no accept queue overflows. */
  async open (count) {
    const timer = setTimeout(() => this.fail(new Error(`${this.list.length} of ${count} open after ` +
      `${openMsMax} ms`)), openMsMax)
    const all = new Promise(resolve => {
      let open = this.list.length
      const opened = () => {
        open++
        if (this.list.length < count) next()
        else if (open === count) resolve()
      }
      const next = () => {
        const conn = new Connection(this.list.length, this.protocol, opened, this.fail)
        this.list.push(conn)
        conn.connect(portFor(this.target, conn.index))
      }
      for (let i = 0; i < openingMax && this.list.length < count; i++) next()
    })
    try {
      await Promise.race([all, this.failure])
    } finally {
      clearTimeout(timer)
    }
  }

  drive (driver) {
    for (const conn of this.list) conn.driver = driver
  }
}
