import { fileURLToPath } from 'node:url'
import { text } from 'node:stream/consumers'
import { serverCore, spawnPinned } from '../peers/process.js'
import { windowOf, withConnections } from './session.js'

const program = fileURLToPath(new URL('../replay.js', import.meta.url))
const fillMsMax = 3_000

/** Fills a ledger with uplinks, stops the server, and replays what it left. */
export async function replay (ctx) {
  const windowMs = Math.min(ctx.options.windowMs, fillMsMax)
  await withConnections(ctx, { connections: 200 }, (load, server) =>
    load.ask('uplinks', { outstanding: 16, ...windowOf(server, { warmMs: 0, windowMs }) }))
  const child = spawnPinned(serverCore, [process.execPath, program, ctx.dataDir], { stdio: ['ignore', 'pipe', 'pipe'] })
  const [output, complaint, code] = await Promise.all([
    text(child.stdout), text(child.stderr), new Promise(resolve => child.once('exit', resolve)),
  ])
  if (code !== 0) throw new Error(`replay: ${complaint.trim()}`)
  return JSON.parse(output)
}
