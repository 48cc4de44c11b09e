import type {
  ClientFrame, Connect, Connected, Downlink, Frame, Migrate, Signal, UplinkAck, UplinkRefused,
} from '../schemas/frames.js'
import type { Clock } from './clock.js'
import { codeOf, isTerminal } from './end-codes.js'
import { deadMs, Heartbeat } from './heartbeat.js'
import type { HeartbeatInterval } from './heartbeat-interval.js'
import type { Address, Encoding, Platform } from './platform.js'
import type { Transport, TransportEnd } from './transport.js'

export interface ConnectionOptions {
  readonly platform: Platform
  readonly clock: Clock
  readonly encoding: Encoding
  readonly interval: HeartbeatInterval
  readonly connected: (connection: Connection, frame: Connected) => void
  readonly received: (connection: Connection, frame: Received) => void
  readonly ended: (connection: Connection, end: ConnectionEnd) => void
  /** What a ping acks. */
  readonly downlinkSeq: () => number
}

/** What a client says of itself when it connects. */
export interface Hello {
  readonly frame: Connect
  /** Highest uplink seq acked by then. */
  readonly uplinkSeq: number
}

export type Received = UplinkAck | UplinkRefused | Downlink | Signal | Migrate

export interface ConnectionEnd {
  readonly code: string
  readonly reason: string
  readonly terminal: boolean
  readonly isKick: boolean
  readonly retryAfterMs: number
  /** Where a redirect sends us; empty otherwise. */
  readonly endpoints: readonly string[]
  /** From `connected` on; 0 where it came to none. */
  readonly lastedMs: number
}

/** One attempt to connect and, when it succeeds, the connection: handshake, heartbeat, how it ended. */
export class Connection {
  readonly endpoint: string
  /** What it said of itself: what is acked and done with since then is news to the server. */
  readonly hello: Hello
  /** 0 until it is connected. */
  uplinkWindow = 0
  /** Resolves once the socket is gone. */
  readonly closed: Promise<void>
  #resolveClosed = () => {}
  readonly #options: ConnectionOptions
  readonly #heartbeat: Heartbeat
  #transport: Transport | undefined
  #connectedAtMs = -1
  #cancelTimer: () => void
  #end: Partial<ConnectionEnd> & { readonly code: string, readonly reason: string } | undefined
  #hasEnded = false

  constructor (address: Address, hello: Hello, options: ConnectionOptions) {
    const { platform, clock, encoding, interval, downlinkSeq } = options
    this.endpoint = address.url
    this.hello = hello
    this.#options = options
    this.closed = new Promise(resolve => { this.#resolveClosed = resolve })
    this.#heartbeat = new Heartbeat({
      clock,
      intervalMs: () => interval.ms,
      ping: () => this.send({ op: 'ping', downlinkSeq: downlinkSeq(), silentMs: 0 }),
      answered: silentMs => { interval.answered(silentMs) },
      dead: (reason, silentMs) => {
        interval.died(silentMs)
        this.fail('heartbeat-timeout', reason)
      },
      late: () => interval.late(),
    })
    this.#cancelTimer = clock.after(deadMs, () => this.fail('handshake-timeout', `no answer for ${deadMs} ms`))
    platform.openTransport(address, encoding, {
      opened: () => { this.send(hello.frame) },
      received: frame => { this.#receive(frame) },
      closed: end => { this.#closed(end) },
    }).then(transport => {
      this.#transport = transport
      if (this.#end) transport.destroy()
    }, (err: Error) => this.#closed({ closeCode: 0, reason: err.message, retryAfterMs: 0 }))
  }

  send (frame: ClientFrame): void {
    this.#transport?.send(frame)
    this.#heartbeat.sent()
  }

  /** Says goodbye; `ended` follows. */
  leave (endSession: boolean): void {
    this.#end ??= { code: 'disconnected', reason: 'left' }
    this.#stop()
    if (this.#transport === undefined) return this.fail('disconnected', 'left')
    this.send({ op: 'disconnect', endSession })
    this.#transport.close()
    this.#cancelTimer = this.#options.clock.after(1000, () => this.#transport?.destroy())
  }

  /** Ends it for a reason of ours, to be tried again. */
  fail (code: string, reason: string): void {
    this.#end ??= { code, reason, terminal: false }
    if (this.#transport) this.#transport.destroy()
    else this.#closed({ closeCode: 0, reason, retryAfterMs: 0 })
  }

  /** It may be dead: no answer within that time, and it is. */
  probe (withinMs: number): void {
    if (this.uplinkWindow > 0 && this.#end === undefined) this.#heartbeat.probe(withinMs)
  }

  #receive (frame: Frame): void {
    if (this.#hasEnded) return
    this.#heartbeat.heard()
    switch (frame.op) {
      case 'connected': return this.#connected(frame)
      case 'uplinkAck': case 'uplinkRefused': case 'downlink': case 'signal': case 'migrate':
        return this.#options.received(this, frame)
      case 'kick':
        this.#end ??= { code: frame.code, reason: frame.reason, terminal: true, isKick: true }
        break
      case 'redirect': {
        const { code, endpoints, retryAfterMs } = frame
        this.#end ??= { code, reason: 'redirected', endpoints, retryAfterMs }
        break
      }
      case 'error':
        this.#end ??= { code: frame.code, reason: frame.message }
        break
    }
  }

  #connected (frame: Connected): void {
    if (this.#end) return
    this.uplinkWindow = frame.uplinkWindow
    this.#connectedAtMs = this.#options.clock.nowMs()
    this.#cancelTimer()
    this.#options.connected(this, frame)
    if (this.#end === undefined) this.#heartbeat.start()
  }

  #stop (): void {
    this.#cancelTimer()
    this.#heartbeat.stop()
  }

  #closed ({ closeCode, reason, retryAfterMs }: TransportEnd): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.#stop()
    this.#resolveClosed()
    const said = this.#end ?? { code: closeCode >= 4000 ? codeOf(closeCode) : 'connection-lost', reason }
    this.#options.ended(this, {
      terminal: isTerminal(said.code, closeCode),
      isKick: false,
      endpoints: [],
      lastedMs: this.#connectedAtMs < 0 ? 0 : this.#options.clock.nowMs() - this.#connectedAtMs,
      ...said,
      retryAfterMs: Math.max(said.retryAfterMs ?? 0, retryAfterMs),
    })
  }
}
