import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { serverFlags, startServer } from './process.js'

const apiKey = 'a-key-of-this-run-only'
const secret = 'a secret of this run only, 32 bytes or more'

const limitsOff = {
  LEDGERLINE_FRAME_RATE: '0',
  LEDGERLINE_ACCEPT_RATE: '0',
  LEDGERLINE_CONNECTIONS_MAX: '20000',
}

/**
 * Ledgerline as anybody would start it, on free ports (or those of `listeners`) and a fresh data directory, with the
 * limits off that a single address full of clients would meet (`limits: 'default'` leaves them on; `env` sets others).
 *
 * @param {'tcp' | 'http'} listener which of its listeners the load connects to
 */
export function startLedgerline (listener) {
  return async options => {
    if (!existsSync(options.program)) throw new Error('Ledgerline is not built: run `npx tsc` in the root first')
    const profiling = options.profileDir ? ['--cpu-prof', `--cpu-prof-dir=${options.profileDir}`] : []
    const node = [...options.before ?? [], process.execPath]
    const command = [...node, ...startFlags(), ...serverFlags(options), ...profiling, options.program, 'start']
    const { ready, collected, stop } = await startServer(command, {
      readyMsMax: options.readyMsMax,
      env: {
        LEDGERLINE_DATA: options.dataDir,
        LEDGERLINE_HOST: '127.0.0.1',
        LEDGERLINE_HTTP_PORT: String(options.listeners?.http ?? 0),
        LEDGERLINE_TCP_PORT: String(options.listeners?.tcp ?? 0),
        ...options.limits === 'default' ? {} : limitsOff,
        ...options.env,
        LEDGERLINE_JWT_SECRET: secret,
        LEDGERLINE_API_KEYS: apiKey,
        // Embedded, whatever this shell is set up for.
        KAFKA_BROKERS: undefined,
        REDIS_URL: undefined,
      },
    })
    const listeners = { http: portOf(ready.http), tcp: portOf(ready.tcp) }
    const target = {
      port: listeners[listener],
      controlPort: listeners.http,
      listeners,
      apiKey,
      secret,
      namesRooms: uplinksNameRooms(options.program),
    }
    return { pid: ready.pid, collects: true, collected, target, stop }
  }
}

/** Builds of different ages are compared, and one that does not know a field of a frame refuses it. */
function uplinksNameRooms (program) {
  const schema = join(dirname(program), '../../schemas/frames/uplink.avsc')
  return JSON.parse(readFileSync(schema, 'utf8')).fields.some(({ name }) => name === 'roomId')
}

/** Node's flags of `npm start`. */
export function startFlags () {
  const { scripts } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  return scripts.start.split(' ').filter(word => word.startsWith('--'))
}

/** @param {string | number | { port: number }} address as the ready line has it */
function portOf (address) {
  if (typeof address === 'object') return address.port
  const port = /(\d+)\/?$/.exec(String(address))
  if (!port) throw new Error(`no port in the ready line: ${JSON.stringify(address)}`)
  return Number(port[1])
}
