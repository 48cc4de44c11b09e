import http from 'node:http'
import { syncBuiltinESMExports } from 'node:module'
import net from 'node:net'
import { Network } from './network.js'
import { Server, Socket } from './sockets.js'
import type { World } from './world.js'

const realClearInterval = clearInterval

/** Has everything that listens or connects in this process do so in a simulated network. */
export function replaceNetwork (world: World): Network {
  const network = new Network(world)
  for (const stream of [process.stdout, process.stderr]) stream.write('') // a real socket each, made when it is used first
  const connect = (options: { host?: string, port?: number | string }, done?: () => void): Socket => {
    const socket = new Socket()
    if (done) socket.once('connect', done)
    return socket.connect(network, options.host ?? '', Number(options.port))
  }
  Object.assign(net, {
    connect,
    createConnection: connect,
    createServer: (_options?: unknown, listener?: (socket: Socket) => void) => new Server(network, listener),
    Socket,
  })
  Object.assign(http.Agent.prototype, { createConnection: connect })
  const { createServer } = http
  Object.assign(http, {
    createServer: (...args: Parameters<typeof createServer>) => listening(createServer(...args), network),
  })
  syncBuiltinESMExports()
  return network
}

/** A real HTTP server, whose sockets are simulated ones. */
function listening (server: http.Server, network: Network): http.Server {
  const below = new Server(network)
  const sockets = new Set<Socket>()
  let closed: (() => void) | undefined
  const isOver = (): void => {
    if (sockets.size > 0 || !closed) return
    closed()
    closed = undefined
    server.emit('close')
  }
  below.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => {
      sockets.delete(socket)
      isOver()
    })
    server.emit('connection', socket)
  })
  below.on('error', error => { server.emit('error', error) })
  below.on('listening', () => {
    server.emit('listening')
    stopChecking(server)
  })
  return Object.defineProperties(Object.assign(server, {
    listen (...args: unknown[]) {
      const done = args.at(-1)
      if (typeof done === 'function') server.once('listening', done as () => void)
      below.listen(args[0] as { port: number })
      return server
    },
    address: () => below.address(),
    close (done?: () => void) {
      closed = () => done?.()
      below.close()
      below.once('close', isOver)
      return server
    },
  }), { listening: { get: () => below.listening } })
}

/** Node's own clock for requests that do not come to an end: of the real time, which is none of ours. */
function stopChecking (server: http.Server): void {
  for (const symbol of Object.getOwnPropertySymbols(server)) {
    if (symbol.description !== 'http.server.connectionsCheckingInterval') continue
    realClearInterval((server as unknown as Record<symbol, NodeJS.Timeout>)[symbol])
  }
}
