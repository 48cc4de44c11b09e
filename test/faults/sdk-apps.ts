import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient, inFile } from '../../client/node.js'
import type { Client } from '../../client/node.js'

/*
  Many applications on the SDK in one process, each with a user and a storage of its own. Each sends 1, 2, 3..., a few
  at a time, and works a little on each downlink. Started by SdkTraffic, which asks and is answered over IPC.
*/

export interface AppsOptions {
  readonly ipConfig: string
  readonly transport: 'ws' | 'tcp'
  readonly deviceId: string
  /** Users and their tokens. */
  readonly tokens: ReadonlyArray<readonly [userId: string, token: string]>
  /** Of the storages. */
  readonly directory: string
  /** An application sends 1 to `uplinksMax` uplinks at once, and again so much later. */
  readonly uplinkEveryMs: number
  readonly uplinksMax: number
}

/** What an application knows of itself, in short. */
export interface AppState {
  readonly userId: string
  readonly deviceId: string
  readonly isConnected: boolean
  readonly sent: number
  readonly accepted: number
  readonly seen: number
  /** How often it was told that a connection ended, or an attempt failed. */
  readonly disconnected: number
  readonly migrated: number
}

/** And in full. */
export interface AppStory extends AppState {
  /** Sends that resolved, in the order of that: what was sent, and what it resolved with. */
  readonly resolved: ReadonlyArray<readonly [sent: number, seq: number, userSeq: number | null]>
  /** Message ids of downlinks, in the order in which they came. */
  readonly downlinks: readonly string[]
  /** What must not happen: sends that were rejected, downlinks that were missed, an end of the client. */
  readonly complaints: readonly string[]
  /** Why it was not connected, codes and reasons, or its storage was slow; and how often. */
  readonly ends: Readonly<Record<string, number>>
}

export type Order =
  | { readonly do: 'begin', readonly options: AppsOptions }
  | { readonly do: 'work', readonly busy: boolean }
  /** The time of day is another one. */
  | { readonly do: 'jump', readonly ms: number }
  | { readonly do: 'states' }
  | { readonly do: 'stories' }
  | { readonly do: 'close' }

class App {
  readonly resolved: Array<[number, number, number | null]> = []
  readonly downlinks: string[] = []
  readonly complaints: string[] = []
  readonly ends: Record<string, number> = {}
  sent = 0
  isConnected = false
  disconnected = 0
  migrated = 0
  readonly #client: Client

  constructor (readonly userId: string, token: string, { ipConfig, transport, deviceId, directory }: AppsOptions) {
    this.#client = createClient({
      ipConfig, transport, deviceId, getToken: () => token, storage: inFile(join(directory, `${userId}-${deviceId}`)),
    })
    this.#client.on('connected', () => { this.isConnected = true })
    this.#client.on('migrated', () => { this.migrated++ })
    this.#client.on('disconnected', ({ code, reason, willReconnect }) => {
      this.isConnected = false
      this.disconnected++
      const why = `${code}: ${reason}`
      this.#note(why)
      if (!willReconnect && code !== 'disconnected') this.complaints.push(`ended by ${why}`)
    })
    this.#client.on('missed', ({ count }) => { this.complaints.push(`missed ${count}`) })
    this.#client.on('storageFailed', ({ error }) => {
      // A disk that has too much to do for ten seconds fails nothing for good: what was to be written is written later.
      if (/^Error: no answer for/.test(String(error))) this.#note(String(error))
      else this.complaints.push(String(error))
    })
    this.#client.on('accepted', ({ seq }) => { this.complaints.push(`${seq} of an earlier run`) })
    this.#client.on('downlink', async ({ messageId }) => {
      await sleep(50 * Math.random())
      this.downlinks.push(messageId)
    })
    this.#client.connect()
  }

  #note (why: string): void { this.ends[why] = (this.ends[why] ?? 0) + 1 }

  send (): void {
    const sent = ++this.sent
    this.#client.send(`${this.userId} ${sent}`).then(
      ({ seq, userSeq }) => { this.resolved.push([sent, seq, userSeq ?? null]) },
      err => { this.complaints.push(`send of ${sent}: ${err.code} ${err.message}`) })
  }

  state (deviceId: string): AppState {
    const { userId, isConnected, sent, disconnected, migrated } = this
    const [accepted, seen] = [this.resolved.length, this.downlinks.length]
    return { userId, deviceId, isConnected, sent, accepted, seen, disconnected, migrated }
  }

  story (deviceId: string): AppStory {
    const { resolved, downlinks, complaints, ends } = this
    return { ...this.state(deviceId), resolved, downlinks, complaints, ends }
  }

  async close (): Promise<void> {
    await this.#client.close()
  }
}

let apps: App[] = []
let deviceId = ''
let isBusy = false

const timeOfDay = Date.now
let jumpedMs = 0
Date.now = () => timeOfDay() + jumpedMs

/** Each at its own moment of the interval, so that there is no beat that all follow. */
async function work (app: App, { uplinkEveryMs, uplinksMax }: AppsOptions): Promise<void> {
  await sleep(uplinkEveryMs * Math.random())
  for (; ; await sleep(uplinkEveryMs)) {
    if (!isBusy) continue
    for (let left = Math.ceil(uplinksMax * Math.random()); left > 0; left--) app.send()
  }
}

async function follow (order: Order): Promise<unknown> {
  switch (order.do) {
    case 'begin':
      deviceId = order.options.deviceId
      apps = order.options.tokens.map(([userId, token]) => new App(userId, token, order.options))
      for (const app of apps) work(app, order.options)
      return
    case 'work': isBusy = order.busy; return
    case 'jump': jumpedMs += order.ms; return
    case 'states': return apps.map(app => app.state(deviceId))
    case 'stories': return apps.map(app => app.story(deviceId))
    case 'close': await Promise.all(apps.map(async app => await app.close()))
  }
}

process.on('message', async ({ id, order }: { id: number, order: Order }) => {
  process.send!({ id, answer: await follow(order) })
})
process.on('disconnect', () => process.exit())
