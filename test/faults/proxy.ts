import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

/** What stands between clients and a node, and can cut them off. */
export interface Proxy {
  readonly port: number
  /** Connections of clients that are open. */
  readonly size: number
  /** @param few as many of them, drawn by `random`; all by default */
  cut (few?: number, random?: () => number): void
}

/**
 * @param portOf where a connection that comes now goes to; one that comes while that is not known is closed
 */
export async function startProxy (
  t: { teardown (done: () => unknown): void }, portOf: () => number | undefined
): Promise<Proxy> {
  const clients = new Set<Socket>()
  const server = createServer({ noDelay: true }, client => {
    const port = portOf()
    if (port === undefined) return client.destroy()
    const upstream = connect({ host: '127.0.0.1', port, noDelay: true })
    for (const socket of [client, upstream]) socket.on('error', () => { /* 'close' follows */ })
    clients.add(client)
    client.pipe(upstream)
    upstream.pipe(client)
    client.once('close', () => {
      clients.delete(client)
      upstream.destroy()
    })
    upstream.once('close', () => { client.destroy() })
  })
  const cut = (few = clients.size, random = () => 0) => {
    const left = [...clients]
    for (let n = 0; n < few && left.length > 0; n++) left.splice(Math.floor(random() * left.length), 1)[0]!.destroy()
  }
  server.listen({ host: '127.0.0.1', port: 0, backlog: 4096 })
  t.teardown(() => {
    server.close()
    cut()
  })
  await once(server, 'listening')
  return { port: (server.address() as { port: number }).port, get size () { return clients.size }, cut }
}
