import { type Client, createClient, type Ended } from '../client/node.js'
import type { Network } from './network.js'
import { Member } from './rooms/member.js'
import { Sending } from './sending.js'
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
  readonly dialect: Dialect
  /** A fresh one, by its own name. */
  readonly token: (tokenId: string) => string
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
  /** Ids of what was asked to be pushed to its user so far. */
  readonly asked: () => Iterable<string>
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

/** Of a device whose user has left it for good. */
export interface SignOut {
  readonly connectionId: string
  /** Of the application, until then. */
  readonly runs: number
}

/** Waits so much longer while the pace is 0. */
const idleMs = 1_000
/** Of downlinks, those that the application takes long over. */
const slowShare = 0.08
/** Of downlinks, those at which its listener fails, once or always. */
const failedShare = 0.01
const hopeless = /\b\d*13$/
/** Of downlinks whose numbers are remembered. */
const numbersMax = 200

/** An application on the SDK, on a device that is switched off and on. No two sends are alike. */
export class Device {
  readonly runs: Run[] = []
  readonly complaints: string[] = []
  readonly member: Member
  /** By number in the session as it is: the ids of the downlinks that came last. */
  readonly bySeq = new Map<number, string>()
  readonly signOuts: SignOut[] = []
  /** Ids of what may have been pushed before it had a session: it need not get them. */
  readonly excused = new Set<string>()
  /** What it was told, by kind and code, and how often. */
  readonly told = new Map<string, number>()
  host: Host
  connectionId = ''
  /** Of the node that it is connected to; empty while it is not. */
  nodeAddress = ''
  isConnected = false
  hasConnected = false
  isQuiet = false
  /** How often it was ended by a kick. */
  kicked = 0
  #client: Client | undefined
  #disk: Disk
  #disks = 0
  #isSignedOut = false
  readonly #sending: Sending
  #tokens = 0

  constructor (readonly world: World, readonly network: Network, readonly options: DeviceOptions) {
    this.member = new Member(options.rooms)
    this.#disk = this.#newDisk()
    this.#sending = new Sending(this, what => { this.#trace(what) })
    this.host = this.#boot()
  }

  get name (): string { return `${this.options.userId}/${this.options.deviceId}` }

  get sent (): Sending['sent'] { return this.#sending.sent }

  get forbidden (): Sending['forbidden'] { return this.#sending.forbidden }

  get unacked (): number { return this.#client?.unackedUplinks ?? 0 }

  /** The post of a room up to which its storage says that all is done; -1 for none. */
  placeIn (roomId: string): number { return Number(this.#disk.kept.get(`room/${roomId}`) ?? -1) }

  /** The application ends where it stands. @param loses what its storage has said to be written, in part */
  crash (loses = false): void {
    this.#isAway()
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

  /** Its user leaves for good, and what is kept here goes. @returns false where there is no application */
  signOut (): boolean {
    if (!this.#client) return false
    this.host.later(0, 'signs out', () => {
      const client = this.#client
      if (!client) return
      this.#client = undefined
      this.#isSignedOut = true
      this.#isAway()
      this.hasConnected = false
      this.member.end()
      this.signOuts.push({ connectionId: this.connectionId, runs: this.runs.length })
      this.#disk = this.#newDisk()
      client.close({ endSession: true })
    })
    return true
  }

  /** Somebody signs in again, where nobody has since. */
  signIn (): void {
    const { host } = this
    host.later(0, 'may sign in', () => {
      if (!this.#isSignedOut) return
      this.#isSignedOut = false
      this.#beginLater(host, 0, 1_000)
    })
  }

  /** Sends so many at once. @param isPlain none of them is a post */
  flood (count: number, isPlain = false): void {
    const { host } = this
    host.later(0, 'sends far too much', () => {
      for (let left = count; left > 0 && this.#client; left--) this.#send(this.#client, isPlain)
    })
  }

  #boot (clockOffsetMs = 0): Host {
    const { options: { address } } = this
    const host = this.world.host(this.name, address)
    host.clockOffsetMs = clockOffsetMs
    this.#isSignedOut = false
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
    client.on('connecting', () => { this.#trace('connect') })
    client.on('connected', ({ connectionId, resumed, endpoint }) => {
      if (!this.hasConnected) for (const messageId of this.options.asked()) this.excused.add(messageId)
      this.#isAt(connectionId, endpoint)
      this.isConnected = this.hasConnected = true
      if (!resumed) this.bySeq.clear()
      this.#trace('connected')
    })
    client.on('migrated', ({ connectionId, endpoint }) => {
      this.#isAt(connectionId, endpoint)
      this.#trace('connected')
    })
    client.on('migrating', () => { this.#isTold('migrate') })
    client.on('kicked', ({ code }) => { this.#isTold(`kick ${code}`) })
    client.on('refused', ({ code }) => { this.#isTold(`uplinkRefused ${code}`) })
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
      this.#trace(`downlinkAck ${seq}`)
    })
    this.member.begin(client, host, this.#disk.kept, what => { this.#trace(what) })
    client.connect()
  }

  #token (): string { return this.options.token(`${this.name} ${++this.#tokens}`) }

  #newDisk (): Disk {
    return new Disk(new Random(this.world.seed, `disk ${this.#disks++} of ${this.name}`))
  }

  #isAt (connectionId: string, endpoint: string): void {
    this.connectionId = connectionId
    this.nodeAddress = new URL(endpoint).hostname
  }

  #isAway (): void {
    this.isConnected = false
    this.nodeAddress = ''
  }

  #saw (run: Run, seq: number, messageId: string): void {
    run.seen.push(messageId)
    this.#trace(`downlink ${messageId}`)
    this.bySeq.set(seq, messageId)
    if (this.bySeq.size > numbersMax) this.bySeq.delete(this.bySeq.keys().next().value!)
  }

  #disconnected (host: Host, client: Client, { code, reason, willReconnect }: Ended): void {
    if (client !== this.#client) return // its user has signed out
    this.#isAway()
    this.#isTold(`disconnected ${code}`)
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

  #send (client: Client, isPlain = false): void {
    this.#sending.send(client, isPlain, () => client === this.#client)
  }

  /** Under the names of frames. */
  #trace (what: string): void { this.world.trace.add(`${this.world.nowUs} ${this.name} ${what}`) }

  #isTold (what: string): void {
    this.told.set(what, (this.told.get(what) ?? 0) + 1)
    this.#trace(what)
  }
}
