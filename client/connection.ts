import { errors, isErrorCode } from '../schemas/errors.js'
import type {
  ClientFrame, Connect, Connected, Downlink, Frame, Migrate, Signal, UplinkAck, UplinkRefused,
} from '../schemas/frames.js'
import { openTransport } from './transport.js'
import type { Transport, TransportEnd } from './transport.js'

export interface ConnectionHandlers {
  readonly connected: (connection: Connection, frame: Connected) => void
  readonly received: (connection: Connection, frame: UplinkAck | UplinkRefused | Downlink | Signal | Migrate) => void
  readonly ended: (connection: Connection, end: ConnectionEnd) => void
  /** Highest downlink seq that the application has done with; it rides on every ping. */
  readonly downlinkSeq: () => number
}

export interface ConnectionEnd {
  readonly code: string
  readonly reason: string
  readonly terminal: boolean
  readonly isKick: boolean
  readonly retryAfterMs: number
  /** Where a redirect sends us; empty otherwise. */
  readonly endpoints: readonly string[]
}

/** No answer to a ping, or to `connect`, for so long: dead (protocol.md 3, Heartbeat). */
const deadMs = 10_000

/** One attempt to connect and, when it succeeds, the connection: handshake, heartbeat, how it ended. */
export class Connection {
  readonly endpoint: string
  /** 0 until it is connected. */
  uplinkWindow = 0
  /** Resolves once the socket is gone. */
  readonly closed: Promise<void>
  #resolveClosed = () => {}
  readonly #handlers: ConnectionHandlers
  #transport: Transport | undefined
  #heartbeatMs = 0
  #sentAtMs = 0
  #heardAtMs = 0
  #pingedAtMs = -1
  #timer: ReturnType<typeof setTimeout> | undefined
  #end: ConnectionEnd | undefined
  #hasEnded = false

  constructor (endpoint: string, hello: Connect, handlers: ConnectionHandlers) {
    this.endpoint = endpoint
    this.#handlers = handlers
    this.closed = new Promise(resolve => { this.#resolveClosed = resolve })
    this.#timer = setTimeout(() => this.fail('handshake-timeout', `no answer for ${deadMs} ms`), deadMs)
    const opening = openTransport(endpoint, {
      opened: () => { this.send(hello) },
      received: frame => { this.#receive(frame) },
      closed: end => { this.#closed(end) },
    })
    opening.then(transport => {
      this.#transport = transport
      if (this.#end) transport.destroy()
    }, (err: Error) => this.#closed({ closeCode: 0, reason: err.message, retryAfterMs: 0 }))
  }

  send (frame: ClientFrame): void {
    this.#transport?.send(frame)
    this.#sentAtMs = performance.now()
  }

  /** Says goodbye; `ended` follows. */
  leave (endSession: boolean): void {
    this.#end ??= ended('disconnected', 'left')
    this.send({ op: 'disconnect', endSession })
    clearTimeout(this.#timer)
    if (this.#transport === undefined) return this.fail('disconnected', 'left')
    this.#transport.close()
    this.#timer = setTimeout(() => this.#transport?.destroy(), 1000)
  }

  /** Ends it for a reason of ours, to be tried again. */
  fail (code: string, reason: string): void {
    this.#end ??= ended(code, reason)
    if (this.#transport) this.#transport.destroy()
    else this.#closed({ closeCode: 0, reason, retryAfterMs: 0 })
  }

  #receive (frame: Frame): void {
    if (this.#hasEnded) return
    this.#heardAtMs = performance.now()
    switch (frame.op) {
      case 'connected': return this.#connected(frame)
      case 'uplinkAck': case 'uplinkRefused': case 'downlink': case 'signal': case 'migrate':
        return this.#handlers.received(this, frame)
      case 'kick':
        this.#end ??= { ...ended(frame.code, frame.reason), terminal: true, isKick: true }
        break
      case 'redirect': {
        const { code, endpoints, retryAfterMs } = frame
        this.#end ??= { ...ended(code, 'redirected'), endpoints, retryAfterMs }
        break
      }
      case 'error':
        this.#end ??= ended(frame.code, frame.message)
        break
    }
  }

  #connected (frame: Connected): void {
    this.uplinkWindow = frame.uplinkWindow
    this.#heartbeatMs = frame.heartbeatMs
    clearTimeout(this.#timer)
    this.#beat()
    this.#handlers.connected(this, frame)
  }

  /** Pings when nothing was sent for `heartbeatMs`, and gives up when nothing comes back. */
  #beat (): void {
    const nowMs = performance.now()
    const isWaiting = this.#pingedAtMs > this.#heardAtMs
    if (isWaiting && nowMs - this.#pingedAtMs >= deadMs) {
      this.fail('heartbeat-timeout', `no answer to a ping for ${deadMs} ms`)
      return
    }
    if (nowMs - this.#sentAtMs >= this.#heartbeatMs) {
      this.send({ op: 'ping', downlinkSeq: this.#handlers.downlinkSeq() })
      if (!isWaiting) this.#pingedAtMs = this.#sentAtMs
    }
    const idleMs = this.#sentAtMs + this.#heartbeatMs - nowMs
    const answerMs = this.#pingedAtMs > this.#heardAtMs ? this.#pingedAtMs + deadMs - nowMs : Infinity
    this.#timer = setTimeout(() => this.#beat(), Math.max(10, Math.min(idleMs, answerMs)))
  }

  #closed ({ closeCode, reason, retryAfterMs }: TransportEnd): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    clearTimeout(this.#timer)
    this.#resolveClosed()
    const unsaid = closeCode >= 4000 ? ended(codeOf(closeCode), reason) : ended('connection-lost', reason)
    const end = this.#end ?? { ...unsaid, terminal: closeCode >= 4500 }
    this.#handlers.ended(this, { ...end, retryAfterMs: Math.max(end.retryAfterMs, retryAfterMs) })
  }
}

function ended (code: string, reason: string): ConnectionEnd {
  const terminal = isErrorCode(code) && (errors[code].close ?? 0) >= 4500
  return { code, reason, terminal, isKick: false, retryAfterMs: 0, endpoints: [] }
}

function codeOf (closeCode: number): string {
  return Object.entries(errors).find(([, { close }]) => close === closeCode)?.[0] ?? `close-${closeCode}`
}
