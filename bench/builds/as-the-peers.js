import { join } from 'node:path'
import { peers } from '../peers/peers.js'
import { goingFirst } from '../peers/process.js'

/**
 * A measurement of `npm run bench`, of a build.
 *
 * @param {(ctx: import('../measure/measurements.js').Context) => Promise<object>} measure
 */
export function asThePeers (measure) {
  return async ({ program, dataDir, profileDir, options }) => {
    const rows = {}
    for (const transport of ['tcp', 'ws']) {
      const peer = peers.find(({ name }) => name === `ledgerline-${transport}`)
      const settings = { ...options, program, profileDir, serverFlags: [], before: goingFirst }
      rows[transport] = await measure({ peer, dataDir: join(dataDir, transport), options: settings })
    }
    return { rows }
  }
}
