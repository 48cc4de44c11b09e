import { createHmac } from 'node:crypto'
import { type Client, createClient } from '../client/node.js'
import type { Network } from './network.js'
import { Disk } from './storage.js'
import { Random } from './random.js'
import type { Host, World } from './world.js'

export interface DeviceOptions {
  readonly userId: string
  readonly deviceId: string
  readonly address: string
  readonly ipConfig: readonly string[]
  readonly jwtSecret: string
  /** Ms between two sends, about. */
  readonly sendEveryMs: number
}

/** What one run of the application was given. */
export interface Run {
  /** Message ids, in the order in which they came. */
  readonly seen: string[]
  missed: number
}

/** An application on the SDK, on a device that is switched off and on. No two sends are alike. */
export class Device {
  readonly runs: Run[] = []
  /** By payload: what `send` resolved with; undefined while it has not. */
  readonly sent = new Map<string, { readonly seq: number, readonly userSeq: number | undefined } | undefined>()
  readonly complaints: string[] = []
  host: Host
  isConnected = false
  hasConnected = false
  isQuiet = false
  #client: Client | undefined
  readonly #disk: Disk
  #count = 0

  constructor (readonly world: World, readonly network: Network, readonly options: DeviceOptions) {
    this.#disk = new Disk(new Random(world.seed, `disk of ${this.name}`))
    this.host = this.#boot()
  }

  get name (): string { return `${this.options.userId}/${this.options.deviceId}` }

  get unacked (): number { return this.#client?.unackedUplinks ?? 0 }

  /** The application ends where it stands. */
  crash (): void {
    this.isConnected = false
    this.#client = undefined
    this.host.crash()
    this.network.vanish(this.host, false)
    this.#disk.crash()
  }

  start (): void { if (this.host.isDown) this.host = this.#boot() }

  #boot (): Host {
    const { options: { userId, deviceId, address, ipConfig, jwtSecret } } = this
    const host = this.world.host(this.name, address)
    this.network.attach(host)
    const run: Run = { seen: [], missed: 0 }
    this.runs.push(run)
    host.later(host.random.between(0, 3_000), 'begins', () => {
      const client = this.#client = createClient({
        ipConfig: [...ipConfig],
        transport: 'tcp',
        deviceId,
        getToken: () => tokenOf(userId, jwtSecret),
        storage: this.#disk.storage(host),
      })
      client.on('connected', () => {
        this.isConnected = this.hasConnected = true
        this.#trace('connected')
      })
      client.on('disconnected', ({ code, reason, willReconnect }) => {
        this.isConnected = false
        this.#trace(`disconnected ${code}`)
        if (!willReconnect) this.complaints.push(`ended with ${code}: ${reason}`)
      })
      client.on('missed', ({ count }) => {
        run.missed += count
        this.#trace(`missed ${count}`)
      })
      client.on('storageFailed', ({ error }) => { this.complaints.push(`its storage failed: ${String(error)}`) })
      client.on('callbackFailed', ({ callback, error }) => { this.complaints.push(`${callback}: ${String(error)}`) })
      client.on('downlink', async ({ messageId }) => {
        await new Promise(resolve => setTimeout(resolve, host.random.between(0, 30)))
        run.seen.push(messageId)
        this.#trace(`downlink ${messageId}`)
      })
      client.connect()
      this.#sendOn(host, client)
    })
    return host
  }

  #sendOn (host: Host, client: Client): void {
    const { sendEveryMs } = this.options
    host.later(host.random.between(0.2, 1.8) * sendEveryMs, 'sends', () => {
      if (this.isQuiet) return
      for (let left = 1 + host.random.below(3); left > 0; left--) this.#send(client)
      this.#sendOn(host, client)
    })
  }

  /** Under the names of frames. */
  #trace (what: string): void { this.world.trace.add(`${this.world.nowUs} ${this.name} ${what}`) }

  #send (client: Client): void {
    const payload = `${this.name} ${++this.#count}`
    this.sent.set(payload, undefined)
    client.send(payload).then(
      ({ seq, userSeq }) => {
        this.sent.set(payload, { seq, userSeq: userSeq ?? undefined })
        this.#trace(`uplinkAck ${seq}`)
      },
      err => { this.complaints.push(`send of ${payload}: ${String(err)}`) })
  }
}

function tokenOf (userId: string, secret: string): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const signed = `${part({ alg: 'HS256' })}.${part({ sub: userId })}`
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
}
