import { once } from 'node:events'
import { createServer, isIPv6, type Server } from 'node:net'
import type { Config } from './config.js'
import { ConfigError } from './setting.js'

/** The kernel's queue of connections not yet accepted; Linux cuts it to net.core.somaxconn. */
export const acceptBacklog = 4096

interface Place {
  /** The variable that the port is from. */
  readonly variable: string
  readonly host: string
  /** 0: any that is free. */
  readonly port: number
}

/** Where the node will listen. */
function placesOf (
  { host, httpPort, tcpPort, apiHost, apiPort, metricsHost, metricsPort, roles }: Config
): readonly Place[] {
  return [
    { variable: 'LEDGERLINE_HTTP_PORT', host, port: httpPort },
    ...roles.includes('edge') ? [{ variable: 'LEDGERLINE_TCP_PORT', host, port: tcpPort }] : [],
    ...apiPort === undefined ? [] : [{ variable: 'LEDGERLINE_API_PORT', host: apiHost, port: apiPort }],
    ...metricsPort === undefined ? [] : [{ variable: 'LEDGERLINE_METRICS_PORT', host: metricsHost, port: metricsPort }],
  ]
}

/**
 * Looks for two listeners of the node at one place, as far as that can be told without looking up names.
 *
 * @throws ConfigError that names every two of them
 */
export function portsDiffer (config: Config): void {
  const places = placesOf(config).filter(({ port }) => port !== 0)
  ConfigError.throwAll(places.flatMap((place, i) => places.slice(0, i)
    .filter(other => other.port === place.port && overlap(other.host, place.host))
    .map(other => new ConfigError(`${place.variable}: got ${place.port} at ${place.host}, want another port than ` +
      `${other.variable}, which has it at ${other.host}; 0 picks a free one`))))
}

/** Whether a port of one is a port of the other, too. */
function overlap (host: string, other: string): boolean {
  const addresses = addressesOf(other)
  return addressesOf(host).some(address => addresses.includes(address) ||
    addresses.some(another => takesIn(address, another) || takesIn(another, address)))
}

function addressesOf (host: string): readonly string[] {
  const name = host.toLowerCase()
  return name === 'localhost' ? ['127.0.0.1', '::1'] : [name]
}

/** `::` listens on both kinds of addresses, `0.0.0.0` on those of IPv4. */
function takesIn (all: string, address: string): boolean {
  return all === '::' || (all === '0.0.0.0' && !isIPv6(address))
}

/**
 * Finds out whether the node will be able to listen, before it opens or writes anything.
 *
 * @throws as `listen` does: EADDRINUSE, EACCES, EADDRNOTAVAIL, ENOTFOUND
 */
export async function checkPorts (config: Config): Promise<void> {
  const servers: Server[] = []
  try {
    for (const { host, port } of placesOf(config)) { // all at once: names of two of ours may be of one address
      const server = createServer().listen({ host, port })
      servers.push(server)
      await once(server, 'listening')
    }
  } finally {
    const open = servers.filter(({ listening }) => listening)
    await Promise.all(open.map(server => new Promise(resolve => { server.close(resolve) })))
  }
}
