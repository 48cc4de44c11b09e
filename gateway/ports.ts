import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import type { Config } from './config.js'

/** The kernel's queue of connections not yet accepted; Linux cuts it to net.core.somaxconn. */
export const acceptBacklog = 4096

/**
 * Finds out whether the node will be able to listen, before it opens or writes anything.
 *
 * @throws as `listen` does: EADDRINUSE, EACCES, EADDRNOTAVAIL, ENOTFOUND
 */
export async function checkPorts (
  { host, httpPort, tcpPort, apiHost, apiPort, metricsHost, metricsPort, roles }: Config
): Promise<void> {
  const places = [
    { host, port: httpPort },
    ...roles.includes('edge') ? [{ host, port: tcpPort }] : [],
    ...apiPort === undefined ? [] : [{ host: apiHost, port: apiPort }],
    ...metricsPort === undefined ? [] : [{ host: metricsHost, port: metricsPort }],
  ]
  const servers: Server[] = []
  try {
    for (const place of places) { // all at once: two of ours may have the same one
      const server = createServer().listen(place)
      servers.push(server)
      await once(server, 'listening')
    }
  } finally {
    const open = servers.filter(({ listening }) => listening)
    await Promise.all(open.map(server => new Promise(resolve => { server.close(resolve) })))
  }
}
