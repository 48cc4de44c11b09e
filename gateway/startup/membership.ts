import { type DownlinksDeps, followDownlinks } from '../downlinks.js'
import { Drains } from '../drain.js'
import { Lifecycle } from '../lifecycle.js'
import { NodeReporter } from '../node.js'
import type { Base } from './base.js'
import type { Roles } from './roles.js'
import type { Servers } from './servers.js'

/** Called where the node can't go on: another process has its name. */
export type Fatal = (error: Error) => void

/** Announces the node to the others, and takes its share of what they do together. */
export async function joinNodes (base: Base, roles: Roles, servers: Servers, fatal: Fatal): Promise<void> {
  const { stores, closers } = base
  const { edge, nodeTable } = roles
  const drains = drainsOf(base, roles)
  await startReporter(base, roles, servers, drains, fatal)
  // Whoever came behind that would be served here, and closed in the ledger for the end of its node.
  closers.add(() => { if (edge) edge.draining = 100 })
  if (stores.shared) await shareWork(base, roles)
  await nodeTable.awaitNode(base.identity)
  closers.add(() => takeLeave(base, roles, drains))
}

function drainsOf ({ stores, identity, metrics, logger }: Base, { edge, nodeTable }: Roles): Drains | undefined {
  const { log, tables, snapshots } = stores
  return edge && new Drains({ log, tables, snapshots, nodeTable, identity, edge, counters: metrics.drain, logger })
}

async function startReporter (
  { config, version, identity, stores, logger, metrics, health, closers, failed }: Base, { edge, load }: Roles,
  { wsUrl, tcpUrl }: Servers, drains: Drains | undefined, fatal: Fatal
): Promise<void> {
  const { log, tables } = stores
  const { region, roles, connectionsMax, leaseMs } = config
  const reporter = await NodeReporter.start(identity, {
    log,
    tables,
    started: { region, roles: roles.join(','), version, wsUrl, tcpUrl, connectionsMax, leaseMs },
    load: async () => ({ connections: edge?.connections ?? 0, ...load.report(), counted: await metrics.counted() }),
    lost () {
      logger.warn({ nodeId: identity.nodeId }, 'this node was taken for lost and starts anew')
      edge?.startAnew()
      drains?.startAnew().catch(err => { failed('the drain could not be announced', err, {}) })
    },
    drainRequested (request) { drains?.requested(request) },
    replaced () { fatal(new Error(`another process goes by the node id ${identity.nodeId}: give each its own`)) },
    health,
  })
  closers.add(() => reporter.stop().catch(err => { failed('the end of this node could not be recorded', err, {}) }))
}

/** What only nodes of a cluster do: each its share of the nodes to watch, and of the stream `downlinks` to send. */
async function shareWork (base: Base, roles: Roles): Promise<void> {
  const { config, stores, identity, apps, health, metrics, closers } = base
  const { log, tables } = stores
  const { leaseMs, presenceGraceMs, frameBytesMax } = config
  if (config.roles.includes('projections')) {
    const lifecycle = await Lifecycle.start({ log, tables, identity, leaseMs, presenceGraceMs, health })
    closers.add(() => lifecycle.stop())
  }
  if (config.roles.includes('push')) {
    const following = await followDownlinks({
      log,
      ...sendingOf(roles),
      hasApp: app => apps.has(app),
      frameBytesMax,
      health,
      rejected: metrics.commandRejected,
    })
    closers.add(() => following.stop())
  }
}

type Sending = Pick<DownlinksDeps, 'push' | 'pushInOrder' | 'postInOrder' | 'isTracing'>

/** How commands of the stream `downlinks` are carried out. */
function sendingOf ({ push, rooms, requests }: Roles): Sending {
  const sending: Sending = {
    push: command => push.push(command),
    pushInOrder: commands => push.pushInOrder(commands),
    postInOrder: commands => rooms.postInOrder(commands),
  }
  return requests === undefined
    ? sending
    : {
        isTracing: true,
        push: command => requests.push(command, 'consumer', () => sending.push(command)),
        pushInOrder: commands => requests.pushInOrder(commands, () => sending.pushInOrder(commands)),
        postInOrder: commands => requests.postInOrder(commands, () => sending.postInOrder(commands)),
      }
}

/** What a node does that stops, before it closes anything: its clients and requests go to others. */
async function takeLeave (
  { config, failed }: Base, { nodeTable }: Roles, drains: Drains | undefined
): Promise<void> {
  const startMs = performance.now()
  await drains?.leave(config.drainMs).catch(err => { failed('the drain failed', err, {}) })
  await nodeTable.rows()
  const roles = config.roles.filter(role => role === 'push' || role === 'ip-config')
  // Whoever balances requests looks at /readyz now and then, and must not meet a closed port before that.
  if (roles.length === 0 || !nodeTable.isDoneElsewhere(config.nodeId, roles)) return
  await new Promise(resolve => setTimeout(resolve, config.stopGraceMs - (performance.now() - startMs)))
}
