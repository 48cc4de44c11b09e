import { memoryAtRest } from './idle.js'
import { windowOf, withConnections } from './session.js'

const connections = 200

/** Posts by members, delivered to everybody in the room. */
export function posts (rooms, members) {
  return ctx => withConnections(ctx, { connections }, async (load, server) => {
    await load.ask('join', { rooms, members, serverPid: server.pid })
    return load.ask('posts', { rooms, members, ...windowOf(server, ctx.options) })
  })
}

/** What a membership costs: connections that are there already join rooms. */
export async function joins (ctx) {
  const { settleMs, quick } = ctx.options
  const many = quick ? 200 : 2_000
  const [rooms, members] = [1_000, many / 10]
  return await withConnections(ctx, { connections: many }, async (load, server) => {
    const calm = quick ? 1 : undefined
    const before = await memoryAtRest(server, settleMs, calm)
    const { perSecond, usage } = await load.ask('join', { rooms, members, serverPid: server.pid })
    const after = await memoryAtRest(server, settleMs, calm)
    return { perSecond, bytes: (after.rssBytes - before.rssBytes) / (rooms * members), usage }
  })
}
