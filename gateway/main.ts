import type { Logger } from 'pino'
import { Closers } from './closers.js'
import type { Config } from './config.js'
import { openBase, openStores } from './startup/base.js'
import { joinNodes } from './startup/membership.js'
import { observeRoles } from './startup/observed.js'
import { startRoles } from './startup/roles.js'
import { openServers, type Servers } from './startup/servers.js'

export interface RunningNode extends Pick<Servers, 'http' | 'tcp' | 'api' | 'metrics'> {
  readonly nodeId: string
  /** Has its clients go to other nodes while it goes on; then ends what is left, saves everything and leaves. */
  stop (): Promise<void>
}

const crash = (error: Error): void => { queueMicrotask(() => { throw error }) }

/**
 * The composition root: builds one node of the roles that it is configured with, from its stores outwards.
 *
 * @param config secrets that it leaves open are those generated in the data directory (`ensureSecrets`)
 * @param fatal called where the node can't go on; by default the process crashes
 * @throws StoreError when the data directory can't be used; Error when a listener can't be opened, or Kafka or Redis
 *   can't be reached
 */
export async function startNode (
  config: Config, logger: Logger, fatal = crash, open = openStores
): Promise<RunningNode> {
  const closers = new Closers()
  try {
    const base = await openBase(config, logger, open, closers)
    const roles = await startRoles(base)
    observeRoles(base, roles)
    const servers = await openServers(base, roles)
    await joinNodes(base, roles, servers, fatal)
    const { http, tcp, api, metrics } = servers
    return { http, tcp, api, metrics, nodeId: base.identity.nodeId, stop: () => closers.close() }
  } catch (err) {
    await closers.close()
    throw err
  }
}
