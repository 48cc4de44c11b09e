/** Listens on every address of the machine, and on none that could be told. */
export function isWildcard (host: string): boolean {
  return host === '0.0.0.0' || host === '::'
}

/**
 * Endpoints as the asker can reach them. A node that listens on every address and was told none knows only that the
 * asker has just reached it by `host`: that, not a loopback address, stands in the URLs that it made up itself.
 *
 * @param host the `Host` of the request: what the asker reached HTTP by, and WebSocket with it, a port mapping included
 * @param madeUp URLs of this node's own that nobody configured
 */
export function reachable (endpoints: readonly string[], host: string, madeUp: ReadonlySet<string>): string[] {
  return endpoints.map(endpoint => madeUp.has(endpoint) ? withHost(endpoint, host) : endpoint)
}

function withHost (endpoint: string, host: string): string {
  const asked = URL.canParse(`http://${host}`) ? new URL(`http://${host}`) : undefined
  if (!asked || asked.hostname === '') return endpoint
  const [, scheme, port, path] = /^([a-z]+):\/\/.*:(\d+)(.*)$/.exec(endpoint)!
  // TCP has a port of its own, of which the request tells nothing.
  return scheme === 'tcp' || scheme === 'tls'
    ? `${scheme}://${asked.hostname}:${port}${path}`
    : `${scheme}://${asked.host}${path}`
}
