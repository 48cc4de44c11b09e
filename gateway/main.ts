import { readFileSync } from 'node:fs'
import type { Logger } from 'pino'
import { startActors } from '../actors/system.js'
import type { Users } from '../actors/users.js'
import { DownlinkSubject } from '../evidence/downlink.js'
import { entriesOf } from '../evidence/entries.js'
import { trace } from '../evidence/trace.js'
import { UplinkSubject } from '../evidence/uplink.js'
import { presenceOf } from '../projections/presence.js'
import { partitionOf } from '../schemas/partitioning.js'
import { ledger, nodes, uplinks } from '../schemas/streams.js'
import type { Config, Role } from './config.js'
import { followDownlinks } from './downlinks.js'
import type { Check, Readiness } from './http/health.js'
import { buildHttp } from './http/server.js'
import { endConnections, Lifecycle } from './lifecycle.js'
import { GatewayMetrics } from './metrics.js'
import { identify, type NodeIdentity, NodeReporter } from './node.js'
import { NodeTable } from './node-table.js'
import { Push } from './push.js'
import { EdgeRole } from './roles/edge.js'
import { type Projections, startProjectionsRole } from './roles/projections.js'
import { startUsersRole } from './roles/users.js'
import { openEmbeddedStores } from './stores-embedded.js'
import type { Stores } from './stores.js'

export interface RunningNode {
  /** Where it listens: `http://host:port`, and `tcp://host:port` or empty without the role `edge`. */
  readonly http: string
  readonly tcp: string
  readonly nodeId: string
  /** Ends every connection so that its client resumes elsewhere, saves everything and leaves. */
  stop (): Promise<void>
}

/** Called where the node can't go on: another process has its name. By default the process crashes. */
export type Fatal = (error: Error) => void

const crash: Fatal = error => { queueMicrotask(() => { throw error }) }

/**
 * The composition root: builds one node of the roles that it is configured with, from its stores outwards.
 *
 * @param config with its secrets (`ensureSecrets`)
 * @throws StoreError when the data directory can't be used; Error when a listener can't be opened, or Kafka or Redis
 *   can't be reached
 */
export async function startNode (config: Config, logger: Logger, fatal = crash): Promise<RunningNode> {
  const closers: Array<() => unknown> = []
  const stop = async () => { for (const close of closers.splice(0).reverse()) await close() }
  try {
    return { ...await start(config, logger, fatal, closers), stop }
  } catch (err) {
    await stop()
    throw err
  }
}

async function start (
  config: Config, logger: Logger, fatal: Fatal, closers: Array<() => unknown>
): Promise<Omit<RunningNode, 'stop'>> {
  const has = (role: Role) => config.roles.includes(role)
  const failed = (what: string, error: Error, fields: object) => { logger.error({ err: error, ...fields }, what) }
  const metrics = new GatewayMetrics()

  const stores = await openStores(config, logger)
  closers.push(() => stores.close())
  const { log, tables, links } = stores
  const identity = await identify(config.nodeId, log, tables)

  const projections = has('projections') ? await startProjectionsRole(stores, logger) : undefined
  closers.push(() => projections?.stop())
  const system = startActors()
  closers.push(() => { system.stop() })
  const users = has('users') ? await startUsersRole(stores, system, metrics, logger) : undefined
  closers.push(() => users?.stop())
  if (!stores.shared) {
    // Sockets do not outlive their process: whatever the table still shows open was opened by an earlier one.
    await projections?.caughtUp()
    await endConnections(log, tables, () => true, 'the node has started again')
  }

  const nodeTable = new NodeTable(tables, config.heartbeatMs)
  const edge = has('edge')
    ? new EdgeRole(stores, system, identity, nodeTable, metrics, config, logger)
    : undefined
  const push = new Push({ log, tables, links })

  let stopping = false
  observe(metrics, stores, edge, users, projections)
  const readiness = () => readinessOf(stores, stopping)
  const app = buildApp(config, logger, stores, push, nodeTable, metrics, readiness)
  edge?.routes(app)
  closers.push(async () => {
    stopping = true
    // Nothing new comes in; the sockets that are open are what the servers wait for.
    const closed = app.close()
    await edge?.stop()
    await closed
  })
  await app.listen({ host: config.host, port: config.httpPort, backlog: 4096 })
  const http = `http://${urlHost(config.host)}:${(app.server.address() as { port: number }).port}`
  const tcp = edge ? `tcp://${urlHost(config.host)}:${await edge.listen()}` : ''

  const reporter = await NodeReporter.start(identity, {
    log,
    tables,
    started: {
      region: config.region,
      roles: config.roles.join(','),
      version,
      wsUrl: edge ? config.publicWsUrl ?? `${http.replace('http', 'ws')}/v1/connect` : '',
      tcpUrl: edge ? config.publicTcpUrl ?? tcp : '',
      connectionsMax: config.connectionsMax,
      leaseMs: config.leaseMs,
    },
    connections: () => edge?.connections ?? 0,
    lost () {
      logger.warn({ nodeId: identity.nodeId }, 'this node was taken for lost and starts anew')
      edge?.startAnew()
    },
    replaced () { fatal(new Error(`another process goes by the node id ${identity.nodeId}: give each its own`)) },
    failed,
  })
  closers.push(() => reporter.stop().catch(err => { failed('the end of this node could not be recorded', err, {}) }))
  if (stores.shared) await joinCluster(config, stores, identity, push, closers, failed)
  await nodeTable.rows()
  return { http, tcp, nodeId: identity.nodeId }
}

async function openStores (config: Config, logger: Logger): Promise<Stores> {
  if (config.kafkaBrokers.length === 0) return await openEmbeddedStores(config, logger)
  const { openClusterStores } = await import('./stores-cluster.js') // an embedded node needs neither kafkajs nor ioredis
  return await openClusterStores(config, logger)
}

/** What only a node among others does. */
async function joinCluster (
  config: Config, { log, tables }: Stores, identity: NodeIdentity, push: Push, closers: Array<() => unknown>,
  failed: (what: string, error: Error, fields: object) => void
): Promise<void> {
  if (config.roles.includes('projections')) {
    const lifecycle = await Lifecycle.start({ log, tables, identity, leaseMs: config.leaseMs, failed })
    closers.push(() => lifecycle.stop())
  }
  if (config.roles.includes('push')) {
    const following = await followDownlinks({
      log, push: command => push.push(command), frameBytesMax: config.frameBytesMax, failed,
    })
    closers.push(() => following.stop())
  }
}

function buildApp (
  config: Config, logger: Logger, { log, tables }: Stores, push: Push, nodeTable: NodeTable, metrics: GatewayMetrics,
  readiness: () => Readiness
) {
  const partitions = log.partitions(ledger)
  return buildHttp({
    logger,
    roles: config.roles,
    apiKeys: config.apiKeys,
    version,
    frameBytesMax: config.frameBytesMax,
    metrics: metrics.registry,
    readiness,
    uplinks: { log, stream: uplinks },
    push: command => push.push(command),
    kick: command => push.kick(command),
    trace: (userId, query) => trace(userId, entriesOf(log, userId), 'messageId' in query
      ? new DownlinkSubject(query.messageId)
      : new UplinkSubject(query.sessionId, query.seq)),
    ipConfig: request => nodeTable.ipConfig(request),
    async presence (userId) {
      const partition = partitionOf(userId, partitions)
      const fields = await tables.get('presence', partition, userId)
      const { next, atMs } = await tables.position('presence', partition)
      return { ...presenceOf(userId, fields), asOf: { position: `${partition}@${next}`, atMs } }
    },
    async nodes () {
      const { rows, asOfMs } = await nodeTable.rows()
      const ends = []
      for (let partition = 0; partition < log.partitions(nodes); partition++) {
        ends.push(`${partition}@${(await tables.position('nodes', partition)).next}`)
      }
      return { nodes: rows, asOf: { position: ends.join(','), atMs: asOfMs } }
    },
  })
}

function observe (
  metrics: GatewayMetrics, stores: Stores, edge: EdgeRole | undefined, users: Users | undefined,
  projections: Projections | undefined
): void {
  metrics.observe({
    connections: () => edge?.connections ?? 0,
    activeUsers: () => users?.activeUsers() ?? 0,
    commitSeconds: () => stores.commitSeconds(),
    tableLag: () => projections?.lag() ?? new Map(),
  })
}

function readinessOf (stores: Stores, stopping: boolean): Readiness {
  const node: Check = { ok: !stopping, reason: stopping ? 'the node is stopping' : '' }
  const checks = { ledger: stores.log.health(), ...stores.checks(), node }
  return { ready: Object.values(checks).every(({ ok }) => ok), checks }
}

const packageJson = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
const { version } = JSON.parse(packageJson) as { version: string }

/** An address that others can use in a URL. */
function urlHost (host: string): string {
  if (host === '0.0.0.0' || host === '::') return '127.0.0.1'
  return host.includes(':') ? `[${host}]` : host
}
