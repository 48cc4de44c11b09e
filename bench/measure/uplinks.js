import { windowOf, withConnections } from './session.js'

const connections = 200
const perSecond = 5_000
const lateMsMax = 0.5

/** Closed loop with so many uplinks on the way on each connection. */
export function uplinks (outstanding) {
  return ctx => withConnections(ctx, { connections }, (load, server) =>
    load.ask('uplinks', { outstanding, ...windowOf(server, ctx.options) }))
}

/** Open loop. Its generator spins, so it is judged by how late it was, not by its CPU share. */
export async function latency (ctx) {
  const result = await withConnections(ctx, { connections }, (load, server) =>
    load.ask('schedule', { perSecond, ...windowOf(server, ctx.options) }))
  return { ...result, usage: { ...result.usage, loadBound: result.lateMs > lateMsMax } }
}
