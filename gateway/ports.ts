import { once } from 'node:events'
import { createServer } from 'node:net'
import type { Config } from './config.js'

/** The kernel's queue of connections not yet accepted; Linux cuts it to net.core.somaxconn. */
export const acceptBacklog = 4096

/**
 * Finds out whether the node will be able to listen, before it opens or writes anything.
 *
 * @throws as `listen` does: EADDRINUSE, EACCES, EADDRNOTAVAIL, ENOTFOUND
 */
export async function checkPorts ({ host, httpPort, tcpPort, roles }: Config): Promise<void> {
  for (const port of roles.includes('edge') ? [httpPort, tcpPort] : [httpPort]) {
    const server = createServer().listen({ host, port })
    await once(server, 'listening')
    server.close()
    await once(server, 'close')
  }
}
