import { lastAcks } from './clients.js'
import { Connection } from '../load/connections.js'
import { out } from '../load/outgoing.js'

const sweepMs = 20
/** Between an ack and the next uplink: with 200 clients about a thousand uplinks a second. */
const restMs = 200
const reconnectMs = 200
const refusedMs = 500
/** A client that hears nothing for so long, though it waits for an answer, connects anew. */
const silentMsMax = 10_000

/**
 * Clients that keep on: one uplink on the way each, a connection that ends is followed by another one, to the next
 * edge, and the uplink without an ack is sent again there. One sent twice gets its first answer twice.
 */
export class ResumingClients {
  /** @param {{ ports: number[] }} target of all edges, running or not */
  constructor (target, protocol, count) {
    this.target = target
    this.protocol = protocol
    this.list = Array.from({ length: count }, (_, index) => ({
      index,
      tries: 0,
      port: 0,
      conn: undefined,
      isOpen: false,
      openedAtMs: 0,
      acked: 0,
      dueAtMs: 0,
      sentAtMs: 0,
      /** When the last acked uplink was first sent. */
      ackedSentAtMs: 0,
    }))
    this.refusals = 0
    this.timer = setInterval(() => this.#sweep(), sweepMs)
  }

  /** Whether every client was acked an uplink that it first sent after this time. */
  flowsSince (ms) {
    return this.list.every(({ ackedSentAtMs }) => ackedSentAtMs > ms)
  }

  async close () {
    clearInterval(this.timer)
    await lastAcks(this.list.flatMap(({ conn, isOpen }) => isOpen ? conn : []))
    for (const { conn } of this.list) conn?.socket.destroy()
  }

  #sweep () {
    const nowMs = performance.now()
    for (const client of this.list) {
      if (nowMs < client.dueAtMs) continue
      const { conn } = client
      if (!conn) this.#connect(client, nowMs)
      else if (client.isOpen && conn.acked === conn.sent) this.#send(client, nowMs)
      else this.#leave(client, nowMs)
    }
  }

  #connect (client, nowMs) {
    const { ports } = this.target
    client.port = ports[(client.index + client.tries++) % ports.length]
    const conn = new Connection(client.index, this.protocol, () => this.#opened(client), err => {
      if (client.conn === conn) this.#failed(client, err)
    })
    conn.sent = conn.acked = client.acked
    conn.driver = { progress: (_conn, acks) => { if (acks > 0) this.#acked(client) } }
    client.conn = conn
    client.isOpen = false
    client.dueAtMs = nowMs + silentMsMax
    conn.connect(client.port)
  }

  #opened (client) {
    client.isOpen = true
    client.openedAtMs = performance.now()
    client.dueAtMs = client.openedAtMs
  }

  #send (client, nowMs) {
    client.conn.protocol.putUplink(client.conn)
    out.flush(client.conn.socket)
    if (client.sentAtMs <= client.ackedSentAtMs) client.sentAtMs = nowMs
    client.dueAtMs = nowMs + silentMsMax
  }

  #acked (client) {
    client.acked = client.conn.acked
    client.ackedSentAtMs = client.sentAtMs
    client.dueAtMs = performance.now() + restMs
  }

  #failed (client, err) {
    if (!err.message.includes('refused:')) return this.#leave(client, performance.now())
    this.refusals++
    client.conn.sent = client.conn.acked
    client.dueAtMs = performance.now() + refusedMs
  }

  #leave (client, nowMs) {
    client.conn.socket.destroy()
    client.conn = undefined
    client.isOpen = false
    client.dueAtMs = nowMs + reconnectMs
  }
}
