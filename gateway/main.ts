import type { FastifyInstance } from 'fastify'
import { readFileSync } from 'node:fs'
import type { Logger } from 'pino'
import { startActors } from '../actors/system.js'
import type { LogTimings } from '../ledger/timings.js'
import type { Health } from '../schemas/conditions.js'
import { ledger, nodes } from '../schemas/streams.js'
import { buildApi } from './api.js'
import { Apps, appsIn } from './apps.js'
import { Backups } from './backups.js'
import { Broadcasts } from './broadcasts/broadcasts.js'
import type { Config, Role } from './config.js'
import { Console } from './console/console.js'
import { type DownlinksDeps, followDownlinks } from './downlinks.js'
import { Drains } from './drain.js'
import { GroupLags } from './groups/group-lags.js'
import { Groups } from './groups/groups.js'
import { HealthRegistry } from './health.js'
import type { Readiness } from './http/health.js'
import { ApiKeys } from './keys/api-keys.js'
import { checkKeyFile, watchKeyFile } from './keys/watched-file.js'
import { tokenIssuers } from './issuers.js'
import { Lifecycle } from './lifecycle.js'
import { NodeLoad } from './load.js'
import { GatewayMetrics } from './metrics.js'
import { identify, type NodeIdentity, NodeReporter } from './node.js'
import { NodeTable } from './node-table.js'
import { endConnections, endNodes } from './orphans.js'
import { streamRules } from './stream-rules.js'
import { acceptBacklog, checkPorts } from './ports.js'
import { Push } from './push.js'
import { isWildcard } from './reachable.js'
import { Rooms } from './rooms.js'
import { EdgeRole } from './roles/edge.js'
import { type Projections, startProjectionsRole } from './roles/projections.js'
import { startUsersRole, type UsersRole } from './roles/users.js'
import { WebhooksRole } from './roles/webhooks.js'
import { ensureSecrets } from './secrets.js'
import { openEmbeddedStores } from './stores-embedded.js'
import { ServerTls } from './server-tls.js'
import type { Stores } from './stores.js'
import { tracersOf } from './tracing/edge.js'
import { TracedLog } from './tracing/log.js'
import { TracedRequests } from './tracing/requests.js'
import { startTracing } from './tracing/start.js'

export interface RunningNode {
  /**
   * Where it listens: `http://host:port`, and `tcp://host:port` or empty without the role `edge`. With a certificate
   * `https` and `tls`.
   */
  readonly http: string
  readonly tcp: string
  /** Where all is that wants an API key: `http`, unless that has a port of its own. */
  readonly api: string
  /** Where `/metrics` is that wants none; empty without a port of its own. */
  readonly metrics: string
  readonly nodeId: string
  /** Has its clients go to other nodes while it goes on; then ends what is left, saves everything and leaves. */
  stop (): Promise<void>
}

/** Called where the node can't go on: another process has its name. By default the process crashes. */
export type Fatal = (error: Error) => void

/** What a node stands on. By default what its configuration names: its data directory, or Kafka and Redis. */
export type OpenStores = (
  config: Config, logger: Logger, health: HealthRegistry, timings: LogTimings
) => Promise<Stores>

const crash: Fatal = error => { queueMicrotask(() => { throw error }) }

/**
 * The composition root: builds one node of the roles that it is configured with, from its stores outwards.
 *
 * @param config secrets that it leaves open are those generated in the data directory (`ensureSecrets`)
 * @throws StoreError when the data directory can't be used; Error when a listener can't be opened, or Kafka or Redis
 *   can't be reached
 */
export async function startNode (
  config: Config, logger: Logger, fatal = crash, open: OpenStores = openStores
): Promise<RunningNode> {
  const closers: Array<() => unknown> = []
  const ending = new AbortController()
  const stop = async () => {
    ending.abort()
    for (const close of closers.splice(0).reverse()) await close()
  }
  try {
    return { ...await start(config, logger, fatal, open, closers, ending.signal), stop }
  } catch (err) {
    await stop()
    throw err
  }
}

/** How old a node's copy of the node table may get. */
const nodeTableMaxMs = 5_000

async function start (
  given: Config, logger: Logger, fatal: Fatal, open: OpenStores, closers: Array<() => unknown>, ending: AbortSignal
): Promise<Omit<RunningNode, 'stop'>> {
  const has = (role: Role) => given.roles.includes(role)
  const failed = (what: string, error: Error, fields: object) => { logger.error({ err: error, ...fields }, what) }
  const metrics = new GatewayMetrics(version)
  const health = new HealthRegistry(logger)
  closers.push(() => { health.stop() })

  const tls = ServerTls.of(given, health, {
    failed (listener, err) {
      metrics.tlsFailed(listener)
      logger.debug({ err }, 'a client did not get through TLS')
    },
  })
  closers.push(() => { tls?.stop() })
  const apps = new Apps(appsIn(given.apps, tokenIssuers(given), given.authUrl !== undefined))
  const keyFiles = apps.keyFiles(given.apiKeysFile)
  for (const file of keyFiles) checkKeyFile(file)
  await checkPorts(given)
  const stores = await open(given, logger, health, metrics.log)
  closers.push(() => stores.close())
  const backups = new Backups(stores.backUp, failed)
  closers.push(() => backups.idle())
  ending.addEventListener('abort', () => { stores.stopping() })
  closers.push(health.watch('ledger', () => stores.log.health().reason))
  closers.push(health.watch('disk', () => stores.slowDisk()))
  closers.push(health.watch('redis-latency', () => stores.slowRedis()))
  const config = await ensureSecrets(given) // not before: a start that fails leaves nothing behind
  const apiKeys = new ApiKeys(
    config.apiKeys, Date.now, apps.all, given.apiKeys.length > 0 ? 'environment' : 'data-directory')
  for (const file of keyFiles) closers.push(watchKeyFile(file, apiKeys, health))
  const { log, tables, links } = stores
  const identity = await identify(config.nodeId, log, tables)

  const projections = has('projections') ? await startProjectionsRole(stores, logger, health) : undefined
  closers.push(() => projections?.stop())
  const load = new NodeLoad(config.overloadWaitMs, health)
  closers.push(load.start())
  const system = startActors()
  closers.push(() => { system.stop() })
  const nodeTable = new NodeTable(tables, log.partitions(nodes), config.heartbeatMs, health)
  // Also while nobody asks: the list that is served when the store is away must not be that of the start.
  const refreshing = setInterval(() => nodeTable.rows(), nodeTableMaxMs)
  closers.push(() => { clearInterval(refreshing) })
  const tracing = await startTracing({ config, links, nodeTable, version, logger })
  metrics.observeSpans(() => tracing?.spans.lost ?? 0)
  closers.push(() => tracing?.spans.stop())
  const traced = tracing ? { ...stores, log: new TracedLog(log, tracing) } : stores
  const users = has('users')
    ? await startUsersRole(
      traced, system, metrics, logger, health, load.folds, nodeTable, config.roomSilenceMs, tracing)
    : undefined
  closers.push(() => users?.stop())
  if (!stores.shared) {
    // Sockets do not outlive their process: whatever the table still shows open was opened by an earlier one.
    await projections?.caughtUp()
    const partitions = Array.from({ length: log.partitions(ledger) }, (_, partition) => partition)
    await endNodes(log, tables)
    await endConnections({ log, tables, presenceGraceMs: config.presenceGraceMs }, partitions, () => true, 'the node has started again')
  }

  const edge = has('edge')
    ? new EdgeRole(stores, system, identity, nodeTable, metrics, config, logger, health, tls, load, version, apps,
      tracing && tracersOf(tracing))
    : undefined
  const requests = tracing && new TracedRequests(tracing)
  const push = new Push({
    log: traced.log,
    tables,
    links,
    nodeId: identity.nodeId,
    outboxBytesMax: app => apps.outboxBytesMax(app, config.outboxBytesMax),
    ...streamRules(config),
  })

  const rooms = new Rooms({ log: traced.log, links, known: push.known, nodeId: identity.nodeId })
  const webhooks = has('webhooks')
    ? await WebhooksRole.start({
      given: config.webhooks,
      log,
      places: stores.groupPlaces,
      push,
      apps,
      health,
      version,
      frameBytesMax: config.frameBytesMax,
      registry: metrics.registry,
      failed,
    })
    : undefined
  closers.push(() => webhooks?.stop())

  const broadcasts = new Broadcasts({ log: traced.log, identity, nodeTable, edge: edge?.broadcasts, health })
  closers.push(() => broadcasts.stop())
  if (has('edge') || has('push')) await broadcasts.start()

  observe(metrics, health, stores, edge, users, projections, webhooks, load)
  if (apps.areMany) {
    const none = new Map<string, number>()
    metrics.observeApps({
      connections: () => edge?.apps?.connections() ?? none,
      uplinks: () => edge?.apps?.uplinks ?? none,
      downlinks: () => push.requested,
    })
  }
  const console = has('console')
    ? new Console({ apiKeys, nodeTable })
    : undefined
  closers.push(console?.start() ?? (() => {}))
  const groups = new Groups({ log, places: stores.groupPlaces, links, nodeId: identity.nodeId, failed })
  closers.push(() => groups.stop())
  metrics.observeGroups(groups, new GroupLags(log, groups))
  const readiness = () => readinessOf(health, ending.aborted, edge?.draining === 100)
  const madeUp = new Set<string>()
  const { app, apiApp, metricsApp } = buildApi({
    config,
    logger,
    stores,
    backups,
    push,
    rooms,
    broadcasts,
    webhooks,
    groups,
    nodeTable,
    metrics,
    health,
    readiness,
    madeUp,
    tls,
    apiKeys,
    apps,
    console,
    version,
    requests,
  })
  for (const each of [app, apiApp, metricsApp]) {
    each?.addHook('onRequest', async (_request, reply) => { if (ending.aborted) reply.header('connection', 'close') })
  }
  edge?.routes(app)
  closers.push(async () => {
    // Nothing new comes in; the sockets that are open are what the servers wait for.
    const closed = Promise.all([app.close(), apiApp?.close(), metricsApp?.close()])
    await edge?.stop()
    await closed
    // Who follows the ledger here stops next. What it was not handed waits for another node, and there may be none.
    await stores.delivered()
  })
  const [httpScheme, tcpScheme] = tls ? ['https', 'tls'] : ['http', 'tcp']
  const listen = async (app: FastifyInstance, host: string, port: number) => {
    await app.listen({ host, port, backlog: acceptBacklog })
    return `${httpScheme}://${urlHost(host)}:${(app.server.address() as { port: number }).port}`
  }
  const http = await listen(app, config.host, config.httpPort)
  const api = apiApp ? await listen(apiApp, config.apiHost, config.apiPort!) : http
  const metricsUrl = metricsApp ? await listen(metricsApp, config.metricsHost, config.metricsPort!) : ''
  const tcp = edge ? `${tcpScheme}://${urlHost(config.host)}:${await edge.listen()}` : ''

  const wsUrl = edge ? config.publicWsUrl ?? `${http.replace('http', 'ws')}/v1/connect` : ''
  const tcpUrl = edge ? config.publicTcpUrl ?? tcp : ''
  if (edge && isWildcard(config.host)) {
    const unnamed = [...config.publicWsUrl ? [] : [wsUrl], ...config.publicTcpUrl ? [] : [tcpUrl]]
    for (const url of unnamed) madeUp.add(url)
    if (stores.shared && unnamed.length > 0) warnOfUrls(logger, unnamed)
  }

  const drains = edge && new Drains({
    log, tables, snapshots: stores.snapshots, nodeTable, identity, edge, counters: metrics.drain, logger,
  })
  const reporter = await NodeReporter.start(identity, {
    log,
    tables,
    started: {
      region: config.region,
      roles: config.roles.join(','),
      version,
      wsUrl,
      tcpUrl,
      connectionsMax: config.connectionsMax,
      leaseMs: config.leaseMs,
    },
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
  closers.push(() => reporter.stop().catch(err => { failed('the end of this node could not be recorded', err, {}) }))
  // Whoever came behind that would be served here, and closed in the ledger for the end of its node.
  closers.push(() => { if (edge) edge.draining = 100 })
  const sending = sendingOf(push, rooms, requests)
  if (stores.shared) await joinCluster(config, stores, identity, sending, apps, health, metrics, closers)
  await nodeTable.rows()
  closers.push(() => takeLeave(config, drains, nodeTable, failed))
  return { http, tcp, api, metrics: metricsUrl, nodeId: identity.nodeId }
}

async function openStores (
  config: Config, logger: Logger, health: HealthRegistry, timings: LogTimings
): Promise<Stores> {
  if (config.kafkaBrokers.length === 0) return await openEmbeddedStores(config, logger, timings)
  const { openClusterStores } = await import('./stores-cluster.js') // an embedded node needs neither kafkajs nor ioredis
  return await openClusterStores(config, logger, health, timings)
}

type Sending = Pick<DownlinksDeps, 'push' | 'pushInOrder' | 'postInOrder' | 'isTracing'>

/** What the stream `downlinks` asks for. */
function sendingOf (push: Push, rooms: Rooms, requests: TracedRequests | undefined): Sending {
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

/** What only a node among others does. */
async function joinCluster (
  config: Config, { log, tables }: Stores, identity: NodeIdentity, sending: Sending, apps: Apps,
  health: Health, metrics: GatewayMetrics, closers: Array<() => unknown>
): Promise<void> {
  if (config.roles.includes('projections')) {
    const lifecycle = await Lifecycle.start({
      log, tables, identity, leaseMs: config.leaseMs, presenceGraceMs: config.presenceGraceMs, health,
    })
    closers.push(() => lifecycle.stop())
  }
  if (config.roles.includes('push')) {
    const following = await followDownlinks({
      log,
      ...sending,
      hasApp: app => apps.has(app),
      frameBytesMax: config.frameBytesMax,
      health,
      rejected: metrics.commandRejected,
    })
    closers.push(() => following.stop())
  }
}

/** What a node does that stops, before it closes anything: its clients and requests go to others. */
async function takeLeave (
  config: Config, drains: Drains | undefined, nodeTable: NodeTable,
  failed: (what: string, error: Error, fields: object) => void
): Promise<void> {
  const startMs = performance.now()
  await drains?.leave(config.drainMs).catch(err => { failed('the drain failed', err, {}) })
  await nodeTable.rows()
  const roles = config.roles.filter(role => role === 'push' || role === 'ip-config')
  // Whoever balances requests looks at /readyz now and then, and must not meet a closed port before that.
  if (roles.length === 0 || !nodeTable.isDoneElsewhere(config.nodeId, roles)) return
  await new Promise(resolve => setTimeout(resolve, config.stopGraceMs - (performance.now() - startMs)))
}

function observe (
  metrics: GatewayMetrics, health: HealthRegistry, stores: Stores, edge: EdgeRole | undefined,
  users: UsersRole | undefined, projections: Projections | undefined, webhooks: WebhooksRole | undefined,
  { overload }: NodeLoad
): void {
  metrics.observe({
    connections: () => edge?.connections ?? 0,
    connectionsMax: edge?.config.connectionsMax ?? 0,
    memoryPressure: () => edge?.memoryPressure ?? 0,
    intakeBytes: () => edge?.intakeBytes ?? 0,
    broadcasts: () => edge?.broadcasts.running ?? 0,
    rooms: () => edge?.rooms.rooms ?? 0,
    roomBytes: () => edge?.rooms.tailBytes ?? 0,
    overloadWaitSeconds: () => overload.waitMs / 1_000,
    admissionLevel: () => overload.level,
    activeUsers: () => users?.activeUsers() ?? 0,
    activeRooms: () => users?.activeRooms() ?? 0,
    tableLag: () => projections?.lag() ?? new Map(),
    conditionSeconds: () => health.seconds(),
    circuits: () => [...stores.circuits(), ...edge?.circuits ?? [], ...webhooks?.circuits() ?? []],
  })
}

/** A node that stops is not in trouble, and takes nobody either. */
function readinessOf (health: HealthRegistry, stopping: boolean, draining: boolean): Readiness {
  const { ready, checks } = health.readiness()
  const reason = stopping ? 'the node is stopping' : draining ? 'the node is draining' : ''
  return { ready: ready && reason === '', checks: { ...checks, node: { ok: reason === '', reason } } }
}

/** Other nodes hand these out, and can't know by which name their askers reach this one. */
function warnOfUrls (logger: Logger, urls: readonly string[]): void {
  const settings = 'LEDGERLINE_PUBLIC_WS_URL and LEDGERLINE_PUBLIC_TCP_URL'
  logger.warn({ urls, settings }, 'clients are told addresses that they can not reach: set what settings names')
}

const packageJson = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
const { version } = JSON.parse(packageJson) as { version: string }

/** An address that others can use in a URL. */
function urlHost (host: string): string {
  if (isWildcard(host)) return '127.0.0.1'
  return host.includes(':') ? `[${host}]` : host
}
