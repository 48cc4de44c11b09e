import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { uplinks } from '../measure/uplinks.js'
import { peers } from '../peers/peers.js'

const peer = peers.find(({ name }) => name === 'ledgerline-tcp')

/** The gateway without a cluster as `npm run bench` measures it: this build and, where one is named, the other one. */
export function embedded (outstanding) {
  const measure = uplinks(outstanding)
  return async ({ options: { build, program, ...options }, temporary }) => {
    const programs = { this: join(build, 'cli/ledgerline.js'), ...(program ? { other: program } : {}) }
    const rows = {}
    for (const [row, program] of Object.entries(programs)) {
      const dataDir = join(temporary, `embedded-${row}`)
      mkdirSync(dataDir)
      try {
        rows[row] = await measure({ peer, options: { ...options, serverFlags: [], program }, dataDir })
      } finally {
        rmSync(dataDir, { recursive: true, force: true, maxRetries: 3 })
      }
    }
    return { rows }
  }
}
