import { setTimeout as wait } from 'node:timers/promises'
import { memoryOf } from './memory.js'
import { withConnections } from './session.js'

const collectionsMax = 20
/** V8 gives pages back to the system up to a second and a half after the collection that emptied them. */
const collectionMs = 1_000
/**
 * Resident memory that so many collections running changed by less than this share is at rest. For longer than the 5 s
 * over which V8 must see that little is allocated before it makes a young generation smaller.
 */
const calmCollections = 7
const restShare = 0.003

/**
 * The slope of resident memory between two counts of idle connections, each read after garbage collection: what one
 * more connection costs, free of what the program itself takes.
 */
export function idle (ctx) {
  const { idleConnections: [few, many], settleMs, quick } = ctx.options
  const calm = quick ? 1 : calmCollections
  return withConnections(ctx, { connections: few }, async (load, server) => {
    const before = await memoryAtRest(server, settleMs, calm)
    await load.ask('open', { count: many })
    const after = await memoryAtRest(server, settleMs, calm)
    return {
      bytes: (after.rssBytes - before.rssBytes) / (many - few),
      anonBytes: (after.anonBytes - before.anonBytes) / (many - few),
      counts: [{ connections: few, ...before }, { connections: many, ...after }],
    }
  })
}

/**
 * @param wantedCalm collections in a row that change little
 * @returns what `memoryOf` says of a server once its garbage is gone and it takes no more
 */
export async function memoryAtRest (server, settleMs, wantedCalm = calmCollections) {
  await wait(settleMs)
  let memory = memoryOf(server.pid)
  for (let i = 0, calm = 0; server.collects && i < collectionsMax && calm < wantedCalm; i++) {
    process.kill(server.pid, 'SIGUSR2')
    await wait(collectionMs)
    const now = memoryOf(server.pid)
    calm = Math.abs(now.rssBytes - memory.rssBytes) < memory.rssBytes * restShare ? calm + 1 : 0
    memory = now
  }
  return memory
}
