import { fileURLToPath } from 'node:url'
import { mosquittoMissing, startMosquitto } from './mosquitto.js'
import { startLedgerline } from './ledgerline.js'
import { serverFlags, startServer } from './process.js'

/**
 * What is compared, in the order of the tables.
 *
 * @typedef {object} Peer
 * @property {string} name
 * @property {string} label as printed
 * @property {string} protocol what the load generator speaks to it, see load/protocols
 * @property {(ctx: import('../options.js').Options & { dataDir: string }) => Promise<Running>} start
 * @property {() => string | undefined} missing why it can't run on this machine
 *
 * @typedef {object} Running
 * @property {number} pid of the process that serves, for /proc
 * @property {boolean} collects whether it takes SIGUSR2 as "collect garbage"
 * @property {() => Promise<number>} [collected] where it collects: bytes of its heap in use after that
 * @property {object} target what the load generator connects to: `port`, `controlPort`, and `apiKey`, `secret`
 * @property {() => Promise<void>} stop
 */

/** @type {Peer[]} */
export const peers = [
  { name: 'ledgerline-tcp', label: 'Ledgerline, TCP', protocol: 'ledgerline-tcp', start: startLedgerline('tcp') },
  { name: 'ledgerline-ws', label: 'Ledgerline, WebSocket', protocol: 'ledgerline-ws', start: startLedgerline('http') },
  { name: 'socket.io', label: 'Socket.IO 4', protocol: 'socket.io', start: script('socketio.js') },
  {
    name: 'socket.io-recovery',
    label: 'Socket.IO 4, recovery on',
    protocol: 'socket.io',
    start: script('socketio.js', '--recovery'),
  },
  { name: 'ws', label: 'bare ws', protocol: 'ws', start: script('ws.js') },
  { name: 'aedes', label: 'aedes, QoS 1', protocol: 'mqtt', start: script('aedes.js') },
  { name: 'mosquitto', label: 'mosquitto, QoS 1', protocol: 'mqtt', start: startMosquitto, missing: mosquittoMissing },
].map(peer => ({ missing: () => undefined, ...peer }))

function script (file, ...args) {
  return async options => {
    const path = fileURLToPath(new URL(file, import.meta.url))
    const { ready, collected, stop } = await startServer([process.execPath, ...serverFlags(options), path, ...args])
    return { pid: ready.pid, collects: true, collected, target: ready, stop }
  }
}
