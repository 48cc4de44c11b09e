import type { Connection } from '../../actors/connection/connection.js'
import type { AppsOfEdge, Joined } from '../../actors/connection/edge-context.js'
import { tickMs } from '../../actors/connection/lifetime.js'
import { appOf } from '../../schemas/apps.js'
import type { Entry, LoginPolicy } from '../../schemas/facts.js'
import type { App, Apps } from '../apps.js'

/** Connections whose tokens an app has no keys for any more end within so long: not all of them come back at once. */
const otherKeysWithinMs = 5_000

/** The connections of this edge by their app, and what the apps want otherwise than everybody. */
export class EdgeApps implements AppsOfEdge {
  readonly #connections = new Map<string, Set<Connection>>()
  readonly #apps: Apps
  readonly #ticks: () => number
  readonly #uplinks = new Map<string, number>()

  /** @param ticks the clock of the connections */
  constructor (apps: Apps, ticks: () => number) {
    this.#apps = apps
    this.#ticks = ticks
    apps.onChange(before => { this.#changed(before) })
  }

  loginPolicyOf (userKey: string): LoginPolicy | undefined { return this.#apps.get(appOf(userKey))?.loginPolicy }

  join (connection: Connection, userKey: string): Joined {
    const app = appOf(userKey)
    if (!this.#apps.has(app)) return 'unknown'
    const connections = this.#of(app)
    if (connections.size >= (this.#apps.get(app)?.quotas.connections ?? Infinity)) return 'full'
    connections.add(connection)
    return 'joined'
  }

  left (connection: Connection): void {
    this.#connections.get(appOf(connection.userId))?.delete(connection)
  }

  /** How many each app has; the default one under the empty name. */
  connections (): ReadonlyMap<string, number> { return this.#byApp(app => this.#connections.get(app)?.size ?? 0) }

  /** How many each app has given to the ledger. */
  uplinks (): ReadonlyMap<string, number> { return this.#byApp(app => this.#uplinks.get(app) ?? 0) }

  /** @param entries of one user, on their way to the ledger */
  appended (entries: readonly Entry[]): void {
    const count = entries.reduce((sum, { fact: { type } }) => sum + (type === 'UplinkReceived' ? 1 : 0), 0)
    if (count === 0) return
    const app = appOf(entries[0]!.userId)
    this.#uplinks.set(app, (this.#uplinks.get(app) ?? 0) + count)
  }

  #byApp (count: (app: string) => number): ReadonlyMap<string, number> {
    return new Map(['', ...this.#apps.all.map(({ name }) => name)].map(app => [app, count(app)]))
  }

  #of (app: string): Set<Connection> {
    let connections = this.#connections.get(app)
    if (!connections) this.#connections.set(app, connections = new Set())
    return connections
  }

  #changed (before: ReadonlyMap<string, App>): void {
    for (const [name, app] of before) {
      const now = this.#apps.get(name)
      if (!now) this.#endAll(name)
      else if (hasLostAn(app, now)) this.#expireSoon(name)
    }
  }

  #endAll (app: string): void {
    for (const connection of this.#of(app)) {
      connection.tell({ type: 'fail', code: 'bad-token', reason: notServed })
    }
  }

  /** Which issuer a connection's token was of is not kept, so all come with a token once more. */
  #expireSoon (app: string): void {
    const now = this.#ticks()
    const ticks = Math.ceil(otherKeysWithinMs / tickMs)
    for (const { life } of this.#of(app)) life.expireBy(now + Math.floor(Math.random() * ticks))
  }
}

const notServed = 'this application is not served here any more'

function hasLostAn (before: App, now: App): boolean {
  const kept = new Set(now.issuers.map(issuer => JSON.stringify(issuer)))
  return before.issuers.some(issuer => !kept.has(JSON.stringify(issuer)))
}
