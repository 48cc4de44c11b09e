import { setTimeout as wait } from 'node:timers/promises'
import { startGenerator } from '../load/generator.js'

// Tables that follow the ledger (routing, presence) and user actors are up to date by then.
const connectedSettleMs = 300

/**
 * Starts the peer's server and a load generator, opens connections, runs `use`, and stops both whatever happens.
 *
 * @template T
 * @param {import('./measurements.js').Context} ctx
 * @param {{ connections: number, setup?: object }} wants `setup` is for the protocol
 * @param {(load: { ask: Function }, server: import('../peers/peers.js').Running) => Promise<T>} use
 * @returns {Promise<T>}
 */
export async function withConnections ({ peer, options, dataDir }, { connections, setup = {} }, use) {
  const server = await peer.start({ ...options, dataDir })
  try {
    const load = await startGenerator({ protocol: peer.protocol, target: server.target, ...setup })
    try {
      await load.ask('open', { count: connections })
      await wait(connectedSettleMs)
      return await use(load, server)
    } finally {
      await load.stop()
    }
  } finally {
    await server.stop()
  }
}

/** Lengths of a window, for the load generator. */
export function windowOf (server, { warmMs, windowMs }) {
  return { serverPid: server.pid, warmMs, windowMs }
}
