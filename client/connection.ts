import type {
  ClientFrame, Connect, Connected, Downlink, Frame, Joined, Left, Migrate, Pong, Post, Signal, TokenAccepted, UplinkAck,
  UplinkRefused,
} from '../schemas/frames.js'
import type { Clock } from './clock.js'
import { reasonOf } from './client-error.js'
import { codeOf, isTerminal } from './end-codes.js'
import type { EndCode, OrNewer } from './end-codes.js'
import { deadMs, Heartbeat } from './heartbeat.js'
import type { HeartbeatInterval } from './heartbeat-interval.js'
import type { Address, Encoding, Platform } from './platform.js'
import { isJwt } from './tokens.js'
import type { Transport, TransportEnd } from './transport.js'
import { boundedWait } from './waits.js'

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

export type Received =
  UplinkAck | UplinkRefused | Downlink | Signal | Migrate | Pong | TokenAccepted | Joined | Left | Post

export interface ConnectionEnd {
  readonly code: OrNewer<EndCode>
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
  /** What one frame may take; Infinity until it is connected. */
  frameBytesMax = Infinity
  /** `connect` went out. */
  hasAsked = false
  /** Pings that went out, and that were answered. */
  pings = 0
  pongs = 0
  /** Resolves once the socket is gone. */
  readonly closed: Promise<void>
  #resolveClosed = () => {}
  readonly #options: ConnectionOptions
  readonly #heartbeat: Heartbeat
  #transport: Transport | undefined
  #connectedAtMs = -1
  #cancelTimer: () => void
  #end: Partial<ConnectionEnd> & { readonly code: OrNewer<EndCode>, readonly reason: string } | undefined
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
      opened: () => {
        this.hasAsked = true
        this.send(hello.frame)
      },
      received: frame => { this.#receive(frame) },
      closed: end => { this.#closed(end) },
    }).then(transport => {
      this.#transport = transport
      if (this.#end) transport.destroy()
    }, (err: Error) => this.#closed({ closeCode: 0, reason: err.message, retryAfterMs: 0 }))
  }

  send (frame: ClientFrame): void {
    if (frame.op === 'ping') this.pings++
    try {
      // Of a ping this alone knows how long the next silence will be.
      this.#transport?.send(frame.op === 'ping' ? { ...frame, silentMs: this.#options.interval.toTellMs } : frame)
    } catch (err) {
      return this.fail('internal', `${frame.op} can't be sent: ${reasonOf(err)}`)
    }
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
  fail (code: EndCode, reason: string): void {
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
    // A server that closes because it heard nothing ends a silence as much as a cut does.
    if (frame.op === 'error' && frame.code === 'heartbeat-timeout') this.#diedSilent()
    this.#heartbeat.heard()
    switch (frame.op) {
      case 'connected': return this.#connected(frame)
      case 'kick':
        this.#end ??= { code: frame.code, reason: frame.reason, terminal: true, isKick: true }
        break
      case 'redirect': {
        const { code, endpoints, retryAfterMs } = frame
        this.#end ??= { code, reason: 'redirected', endpoints, retryAfterMs }
        break
      }
      case 'error':
        this.#end ??= { code: frame.code, reason: frame.message, retryAfterMs: frame.retryAfterMs }
        break
      default: // what no server may send is passed over by whoever gets it
        if (frame.op === 'pong') this.pongs++
        this.#options.received(this, frame as Received)
    }
  }

  #connected (frame: Connected): void {
    if (this.#end) return
    this.uplinkWindow = Math.max(1, frame.uplinkWindow)
    this.frameBytesMax = frame.frameBytesMax
    this.#connectedAtMs = this.#options.clock.nowMs()
    this.#cancelTimer()
    this.#options.connected(this, frame)
    if (this.#end !== undefined) return
    this.#heartbeat.start()
    const { interval, downlinkSeq } = this.#options
    // What this network is known to bear may be more than the server bears without being told.
    if (interval.toTellMs > 0) this.send({ op: 'ping', downlinkSeq: downlinkSeq(), silentMs: 0 })
  }

  #diedSilent (): void {
    if (this.#connectedAtMs >= 0) this.#options.interval.died(this.#heartbeat.silentMs)
  }

  #stop (): void {
    this.#cancelTimer()
    this.#heartbeat.stop()
  }

  #closed ({ closeCode, reason, retryAfterMs }: TransportEnd): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    if (this.#end === undefined) this.#diedSilent()
    this.#stop()
    this.#resolveClosed()
    const said = this.#end ?? { code: closeCode >= 4000 ? codeOf(closeCode) : 'connection-lost', reason }
    this.#options.ended(this, {
      // Of what was no token at all the application may know better next time.
      terminal: isTerminal(said.code, closeCode) && (said.code !== 'bad-token' || isJwt(this.hello.frame.token)),
      isKick: false,
      endpoints: [],
      lastedMs: this.#connectedAtMs < 0 ? 0 : this.#options.clock.nowMs() - this.#connectedAtMs,
      ...said,
      retryAfterMs: boundedWait(said.retryAfterMs, boundedWait(retryAfterMs)),
    })
  }
}
