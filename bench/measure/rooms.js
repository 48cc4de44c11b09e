import { windowOf, withConnections } from './session.js'

const connections = 200

/** Posts by members, delivered to everybody in the room. */
export function posts (rooms, members) {
  return ctx => withConnections(ctx, { connections }, async (load, server) => {
    await load.ask('join', { rooms, members, serverPid: server.pid })
    return load.ask('posts', { rooms, members, ...windowOf(server, ctx.options) })
  })
}

/**
 * What a membership costs: connections that are there already join a fifth of the rooms and then the others. Memory is
 * what is in use of the heap, for what the process holds besides goes with when V8 gives it back: with 160,000
 * memberships by -400 to 500 bytes each.
 */
export async function joins (ctx) {
  const many = ctx.options.quick ? 200 : 2_000
  const [few, rooms, members] = [200, 800, many / 10]
  return await withConnections(ctx, { connections: many }, async (load, server) => {
    await load.ask('join', { rooms: few, members, serverPid: server.pid })
    const before = await server.collected()
    const { perSecond, usage } = await load.ask('join', { first: few, rooms, members, serverPid: server.pid })
    const bytes = (await server.collected() - before) / (rooms * members)
    return { perSecond, bytes, usage }
  })
}
