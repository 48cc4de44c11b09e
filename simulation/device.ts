import { createHmac } from 'node:crypto'
import { type Client, type ClientError, createClient, type Ended } from '../client/node.js'
import type { Network } from './network.js'
import { mayBeForbidden, Member, roomsClaim } from './rooms/member.js'
import { Disk } from './storage.js'
import { Random } from './random.js'
import type { Host, World } from './world.js'

/** How a device speaks to its node: over TCP, or over WebSocket in one of its two dialects. */
export const dialects = ['tcp', 'avro', 'json'] as const
export type Dialect = typeof dialects[number]

export interface DeviceOptions {
  readonly userId: string
  readonly deviceId: string
  readonly address: string
  readonly ipConfig: readonly string[]
  readonly jwtSecret: string
  readonly dialect: Dialect
  /** How long a token is good, ms; Infinity for ever. */
  readonly tokenMs: number
  /** Says itself of each downlink when it has done with it, and takes others meanwhile. */
  readonly acksItself: boolean
  /** Which it wants to be in. */
  readonly rooms: readonly string[]
  /** Ms between two sends, about. */
  readonly sendEveryMs: number
  /** What everybody's pace is multiplied with just now. */
  readonly pace: () => number
  /** Whether somebody has asked for this end, so that the person at the device has to sign in again. */
  readonly mayEnd: (device: Device, code: string) => boolean
}

/** What one run of the application was given. */
export interface Run {
  /** Message ids, in the order in which they came. */
  readonly seen: string[]
  readonly signals: Array<{ readonly messageId: string, readonly connectionId: string }>
  missed: number
  /** Ids of those that its listener could do nothing with. */
  readonly skipped: string[]
}

/** Waits so much longer while the pace is 0. */
const idleMs = 1_000
/** Of downlinks, those that the application takes long over. */
const slowShare = 0.08
/** Of downlinks, those at which its listener fails, once or always. */
const failedShare = 0.01
const hopeless = /\b\d*13$/
/** Of uplinks, those that are posts in a room. */
const postShare = 0.15
/** Of posts in a room that it was not let into, those that are tried: each costs the session, and a connection. */
const strangerShare = 0.15
/** Of downlinks whose numbers are remembered. */
const numbersMax = 200

/** An application on the SDK, on a device that is switched off and on. No two sends are alike. */
export class Device {
  readonly runs: Run[] = []
  /** By payload: what `send` resolved with; undefined while it has not. */
  readonly sent = new Map<string, { readonly seq: number, readonly userSeq: number | undefined } | undefined>()
  /** Payloads of posts that it had no right to make. */
  readonly forbidden = new Set<string>()
  readonly complaints: string[] = []
  readonly member: Member
  /** By number in the session as it is: the ids of the downlinks that came last. */
  readonly bySeq = new Map<number, string>()
  host: Host
  connectionId = ''
  isConnected = false
  hasConnected = false
  isQuiet = false
  /** How often it was ended by a kick. */
  kicked = 0
  #client: Client | undefined
  readonly #disk: Disk
  #count = 0
  #tokens = 0

  constructor (readonly world: World, readonly network: Network, readonly options: DeviceOptions) {
    this.member = new Member(options.rooms)
    this.#disk = new Disk(new Random(world.seed, `disk of ${this.name}`))
    this.host = this.#boot()
  }

  get name (): string { return `${this.options.userId}/${this.options.deviceId}` }

  get unacked (): number { return this.#client?.unackedUplinks ?? 0 }

  /** The post of a room up to which its storage says that all is done; -1 for none. */
  placeIn (roomId: string): number { return Number(this.#disk.kept.get(`room/${roomId}`) ?? -1) }

  /** The application ends where it stands. @param loses what its storage has said to be written, in part */
  crash (loses = false): void {
    this.isConnected = false
    this.#client = undefined
    this.member.end()
    this.host.crash()
    this.network.vanish(this.host, false)
    this.#disk.crash()
    if (loses) this.#disk.lose()
  }

  /** It ends at its next write, in the middle of it; not any more once it was started. */
  crashInWrite (): void { this.#disk.endInWrite(() => { this.crash() }) }

  start (): void {
    this.#disk.endInWrite(undefined)
    if (this.host.isDown) this.host = this.#boot(this.host.clockOffsetMs)
  }

  /** Sends far more than a connection may. */
  flood (count: number): void {
    const { host } = this
    host.later(0, 'sends far too much', () => {
      for (let left = count; left > 0 && this.#client; left--) this.#send(this.#client)
    })
  }

  #boot (clockOffsetMs = 0): Host {
    const { options: { address } } = this
    const host = this.world.host(this.name, address)
    host.clockOffsetMs = clockOffsetMs
    this.network.attach(host)
    this.#beginLater(host, 0, 3_000)
    this.#sendOn(host)
    return host
  }

  #beginLater (host: Host, fromMs: number, toMs: number): void {
    host.later(host.random.between(fromMs, toMs), 'begins', () => { this.#begin(host) })
  }

  #begin (host: Host): void {
    const { deviceId, ipConfig, dialect, acksItself } = this.options
    const run: Run = { seen: [], signals: [], missed: 0, skipped: [] }
    this.runs.push(run)
    const client = this.#client = createClient({
      ipConfig: [...ipConfig],
      ...dialect === 'tcp' ? { transport: 'tcp' } : { transport: 'ws', encoding: dialect },
      deviceId,
      ack: acksItself ? 'manual' : 'auto',
      handlerAttemptsMax: 2,
      getToken: () => this.#token(),
      storage: this.#disk.storage(host),
    })
    client.on('connected', ({ connectionId, resumed }) => {
      this.connectionId = connectionId
      this.isConnected = this.hasConnected = true
      if (!resumed) this.bySeq.clear()
      this.#trace('connected')
    })
    client.on('migrated', ({ connectionId }) => { this.connectionId = connectionId })
    client.on('disconnected', ended => { this.#disconnected(host, client, ended) })
    client.on('missed', ({ count }) => {
      run.missed += count
      this.#trace(`missed ${count}`)
    })
    client.on('signal', ({ roomId, payload }) => {
      if (roomId !== '') return
      run.signals.push({ messageId: Buffer.from(payload).toString(), connectionId: this.connectionId })
    })
    client.on('storageFailed', ({ error }) => { this.complaints.push(`its storage failed: ${String(error)}`) })
    client.on('callbackFailed', ({ callback, error }) => { this.complaints.push(`${callback}: ${String(error)}`) })
    client.on('failed', ({ messageId }) => { this.#trace(`failed ${messageId}`) })
    client.on('skipped', ({ messageId }) => {
      run.skipped.push(messageId)
      this.#trace(`skipped ${messageId}`)
    })
    client.on('downlink', async ({ seq, messageId, ack }) => {
      // Where acks are manual, those behind one at which a listener fails do not wait for it.
      const fails = hopeless.test(messageId) || (!acksItself && host.random.chance(failedShare))
      if (fails) throw new Error('that can not be done')
      const ms = host.random.chance(slowShare) ? host.random.between(100, 3_000) : host.random.between(0, 30)
      if (acksItself) this.#saw(run, seq, messageId)
      await new Promise(resolve => setTimeout(resolve, ms))
      if (acksItself) ack()
      else this.#saw(run, seq, messageId)
    })
    this.member.begin(client, host, this.#disk.kept, what => { this.#trace(what) })
    client.connect()
  }

  #token (): string {
    const { userId, jwtSecret, tokenMs } = this.options
    const expiresAtMs = this.world.wallMsOf(this.world.outside) + tokenMs
    return tokenOf(userId, `${this.name} ${++this.#tokens}`, jwtSecret, expiresAtMs)
  }

  #saw (run: Run, seq: number, messageId: string): void {
    run.seen.push(messageId)
    this.#trace(`downlink ${messageId}`)
    this.bySeq.set(seq, messageId)
    if (this.bySeq.size > numbersMax) this.bySeq.delete(this.bySeq.keys().next().value!)
  }

  #disconnected (host: Host, client: Client, { code, reason, willReconnect }: Ended): void {
    this.isConnected = false
    this.#trace(`disconnected ${code}`)
    if (willReconnect) return
    if (code === 'kicked') this.kicked++
    if (!this.options.mayEnd(this, code)) {
      this.complaints.push(`ended with ${code}: ${reason}`)
      return
    }
    // Somebody signs in again, on the same device, and what it has kept is still there.
    this.#client = undefined
    this.member.end()
    client.close().then(() => { this.#beginLater(host, 1_000, 6_000) })
  }

  #sendOn (host: Host): void {
    const { sendEveryMs, pace } = this.options
    const waitMs = pace() === 0 ? idleMs : host.random.between(0.2, 1.8) * sendEveryMs / pace()
    host.later(waitMs, 'sends', () => {
      if (this.isQuiet) return
      const client = this.#client
      if (client && pace() > 0) for (let left = 1 + host.random.below(3); left > 0; left--) this.#send(client)
      this.#sendOn(host)
    })
  }

  /** Under the names of frames. */
  #trace (what: string): void { this.world.trace.add(`${this.world.nowUs} ${this.name} ${what}`) }

  #roomToPostIn (): string | undefined {
    const { random } = this.host
    const roomId = random.chance(postShare) ? random.pick(this.options.rooms) : undefined
    if (roomId === undefined || !mayBeForbidden(roomId) || this.member.isIn(roomId)) return roomId
    return random.chance(strangerShare) ? roomId : undefined
  }

  #send (client: Client): void {
    const payload = `${this.name} ${++this.#count}`
    this.sent.set(payload, undefined)
    const unacked = client.unackedUplinks
    const roomId = this.#roomToPostIn()
    const sending = roomId === undefined ? client.send(payload) : client.room(roomId).post(payload)
    sending.then(
      ({ seq, userSeq }) => {
        this.sent.set(payload, { seq, userSeq: userSeq ?? undefined })
        this.#trace(`uplinkAck ${seq}`)
      },
      (err: ClientError) => {
        // It was not taken in; or the client has ended, and what it has kept goes out when somebody signs in again.
        // A client that has just begun knows a moment later what waits.
        const waiting = Math.max(unacked, client.unackedUplinks)
        if (err.code === 'outbox-full' && waiting >= outboxMax) this.sent.delete(payload)
        else if (err.code === 'forbidden' && mayBeForbidden(roomId)) this.forbidden.add(payload)
        else if (client === this.#client) this.complaints.push(`send of ${payload}: ${String(err)}`)
      })
  }
}

/** Of the SDK, by default. */
const outboxMax = 1_000

function tokenOf (userId: string, tokenId: string, secret: string, expiresAtMs: number): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const expires = expiresAtMs < Infinity ? { exp: Math.floor(expiresAtMs / 1_000) } : {}
  const claims = { sub: userId, jti: tokenId, rooms: roomsClaim, ...expires }
  const signed = `${part({ alg: 'HS256' })}.${part(claims)}`
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
}
