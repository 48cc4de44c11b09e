import { windowOf, withConnections } from './session.js'

const connections = 200

export const signals = ctx => fanOut(ctx, 'signal')
export const downlinks = ctx => fanOut(ctx, 'downlink')

function fanOut (ctx, kind) {
  const delivery = kind === 'downlink' && ctx.peer.name.startsWith('ledgerline') ? 'durable' : kind
  return withConnections(ctx, { connections, setup: { subscribeTo: 'down' } }, (load, server) =>
    load.ask('fanout', { delivery, ...windowOf(server, ctx.options) }))
}
