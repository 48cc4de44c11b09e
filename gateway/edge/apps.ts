import type { Connection } from '../../actors/connection/connection.js'
import type { AppsOfEdge } from '../../actors/connection/edge-context.js'
import { appOf } from '../../schemas/apps.js'
import type { Entry, LoginPolicy } from '../../schemas/facts.js'
import type { Apps } from '../apps.js'

/** The connections of this edge by their app, and what the apps want otherwise than everybody. */
export class EdgeApps implements AppsOfEdge {
  readonly #connections = new Map<string, Set<Connection>>()
  readonly #apps: Apps
  /** By app: given to the ledger. */
  readonly uplinks = new Map<string, number>()

  constructor (apps: Apps) {
    this.#apps = apps
    for (const app of ['', ...apps.all.map(({ name }) => name)]) {
      this.#connections.set(app, new Set())
      this.uplinks.set(app, 0)
    }
  }

  loginPolicyOf (userKey: string): LoginPolicy | undefined { return this.#apps.get(appOf(userKey))?.loginPolicy }

  join (connection: Connection, userKey: string): boolean {
    const app = appOf(userKey)
    const connections = this.#connections.get(app)!
    if (connections.size >= (this.#apps.get(app)?.quotas.connections ?? Infinity)) return false
    connections.add(connection)
    return true
  }

  left (connection: Connection): void {
    this.#connections.get(appOf(connection.userId))?.delete(connection)
  }

  /** How many each app has; the default one under the empty name. */
  connections (): ReadonlyMap<string, number> {
    return new Map(Array.from(this.#connections, ([app, { size }]) => [app, size]))
  }

  /** @param entries of one user, on their way to the ledger */
  appended (entries: readonly Entry[]): void {
    const count = entries.reduce((sum, { fact: { type } }) => sum + (type === 'UplinkReceived' ? 1 : 0), 0)
    if (count === 0) return
    const app = appOf(entries[0]!.userId)
    this.uplinks.set(app, this.uplinks.get(app)! + count)
  }
}
