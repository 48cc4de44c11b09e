import { readdirSync, readFileSync } from 'node:fs'
import type { Logger } from 'pino'
import { embeddedSnapshots } from '../actors/snapshots-embedded.js'
import type { Snapshots } from '../actors/snapshots.js'
import { type EdgeContext, tickMs } from '../actors/connection/connection.js'
import { localLinks } from '../actors/links.js'
import { type PartitionDeps, partitionLimits } from '../actors/partition.js'
import { startActors } from '../actors/system.js'
import { startUsers } from '../actors/users.js'
import { embeddedLog } from '../ledger/embedded/log.js'
import { openStore } from '../ledger/embedded/store.js'
import { rejectedRecord, rejectedStream } from '../ledger/rejected.js'
import type { EventLog } from '../ledger/log.js'
import { nodes as nodesProjection } from '../projections/nodes.js'
import { presence as presenceProjection, presenceOf } from '../projections/presence.js'
import { routesOf, routing, routingKey } from '../projections/routing.js'
import { Runner } from '../projections/runner.js'
import { embeddedTables } from '../projections/tables/embedded.js'
import type { Tables } from '../projections/tables/tables.js'
import { partitionOf } from '../schemas/partitioning.js'
import { connections, ledger, nodes, type Stream, uplinks } from '../schemas/streams.js'
import type { Config } from './config.js'
import { Admission } from './edge/admission.js'
import { Edge } from './edge/edge.js'
import { Reports } from './edge/reports.js'
import { listenTcp } from './edge/tcp.js'
import { tokenVerifier } from './edge/token.js'
import { webSocketRoute } from './edge/websocket.js'
import type { Readiness } from './http/health.js'
import { buildHttp } from './http/server.js'
import { GatewayMetrics } from './metrics.js'
import { announceNode, leaseMs } from './node.js'
import { NodeTable } from './node-table.js'
import { Push } from './push.js'

export interface RunningNode {
  /** Where it listens: `http://host:port` and `tcp://host:port`. */
  readonly http: string
  readonly tcp: string
  readonly nodeId: string
  /** Ends every connection so that its client resumes elsewhere, saves everything and leaves. */
  stop (): Promise<void>
}

const edgeLimits = { handshakeMs: 10_000, writeQueueBytesMax: 1 << 20, resumeBytesMax: 256 << 10, lingerMs: 2_000 }

/**
 * The composition root: builds one node with every role in one process, from the store outwards.
 *
 * @param config with its secrets (`ensureSecrets`)
 * @throws StoreError when the data directory can't be used; Error when a listener can't be opened
 */
export async function startNode (config: Config, log: Logger): Promise<RunningNode> {
  const closers: Array<() => unknown> = []
  const stop = async () => { for (const close of closers.splice(0).reverse()) await close() }
  try {
    return await start(config, log, closers, stop)
  } catch (err) {
    await stop()
    throw err
  }
}

async function start (
  config: Config, log: Logger, closers: Array<() => unknown>, stop: () => Promise<void>
): Promise<RunningNode> {
  const { nodeId } = config
  const epoch = Date.now()
  let stopping = false
  const failed = (what: string, error: Error, fields: object) => { log.error({ err: error, ...fields }, what) }
  const metrics = new GatewayMetrics()

  const store = await openStore({ directory: config.dataDir, neighbours: secretFiles(config.dataDir) })
  closers.push(() => store.close())
  const retention = { retentionMs: config.retentionMs || undefined, retentionBytes: config.retentionBytes || undefined }
  const snapshots = embeddedSnapshots(store)
  const tables = embeddedTables(store)
  const eventLog = embeddedLog(store, {
    streams: {
      [ledger.name]: { ...retention, keepFrom: partition => needed(partition, snapshots, tables) },
      [uplinks.name]: retention,
      [connections.name]: retention,
      [nodes.name]: retention,
    },
    onDamage: damage => { log.error(damage, 'a stored block was set aside') },
    onFollowerError: (error, where) => { log.error({ err: error, ...where }, 'a follower failed') },
  })
  closers.push(() => eventLog.close())
  const partitions = eventLog.partitions(ledger)

  const nodeRunner = await startRunner(eventLog, tables, nodes, [nodesProjection], log)
  closers.push(() => nodeRunner.stop())
  const runner = await startRunner(eventLog, tables, ledger, [presenceProjection, routing], log)
  closers.push(() => runner.stop())

  const system = startActors()
  closers.push(() => { system.stop() })
  const links = localLinks()
  const rejected = rejectedStream(ledger)
  const partitionDeps: PartitionDeps = {
    log: eventLog,
    snapshots,
    system,
    links,
    limits: partitionLimits,
    settled: metrics.settled,
    setAside (entry, partition, offset, error) {
      const where = `${partition}@${offset}`
      log.error({ err: error, userId: entry.userId, fact: entry.fact.type, position: where }, 'an entry was set aside')
      eventLog.append(rejected, partition % eventLog.partitions(rejected),
        [rejectedRecord(ledger.encodeBlock([entry]), where, error.message, Date.now())], { lazy: true })
        .catch(err => { failed('a rejected entry could not be recorded', err, { position: where }) })
    },
    failed,
  }
  const users = await startUsers(eventLog, partitionDeps)
  closers.push(() => users.stop())
  links.users = question => { users.ask(question) }

  await caughtUp(eventLog, runner)
  await endOlderConnections(eventLog, tables, epoch)

  const nodeTable = new NodeTable(tables, config.heartbeatMs)
  const reports = new Reports((partition, entries) => eventLog.append(ledger, partition, entries))
  const context: EdgeContext = {
    nodeId,
    nodeEpoch: epoch,
    limits: {
      ...edgeLimits,
      heartbeatMs: config.heartbeatMs,
      uplinkWindow: config.uplinkWindow,
      frameBytesMax: config.frameBytesMax,
      frameRate: config.frameRate,
      frameBurst: config.frameBurst,
      loginPolicy: config.loginPolicy,
    },
    links,
    ticks: () => Math.trunc(performance.now() / tickMs),
    verify: tokenVerifier(config),
    partitionOf: userId => partitionOf(userId, partitions),
    append: (partition, entries) => eventLog.append(ledger, partition, entries),
    appendLater: (partition, entry) => { edge.appendLater(partition, entry) },
    admits: () => !stopping && !edge.isFull,
    alternates: transport => nodeTable.alternates(nodeId, transport === 'tcp' ? 'tcp' : 'ws', config.region),
    opened: connection => { edge.opened(connection) },
    reportSoon: connection => { reports.add(connection) },
    count: metrics.edge,
    failed,
  }
  const edge = new Edge(context, system, config.connectionsMax)
  links.connections = message => { edge.toConnection(message) }
  const admission = new Admission(config.acceptRate)
  const admissionSweep = setInterval(() => { admission.sweep() }, 10_000)
  closers.push(() => { clearInterval(admissionSweep) })

  const push = new Push({ log: eventLog, tables, links })
  const readiness = (): Readiness => {
    const checks = {
      ledger: eventLog.health(),
      node: { ok: !stopping, reason: stopping ? 'the node is stopping' : '' },
    }
    return { ready: Object.values(checks).every(({ ok }) => ok), checks }
  }
  metrics.observe({
    connections: () => edge.connections,
    activeUsers: () => users.activeUsers(),
    commitSeconds: () => store.metrics.commitMs / 1000,
    tableLag: () => lagByTable(runner),
  })
  const app = buildHttp({
    logger: log,
    apiKeys: config.apiKeys,
    version,
    frameBytesMax: config.frameBytesMax,
    metrics: metrics.registry,
    readiness,
    uplinks: { log: eventLog, stream: uplinks },
    push: command => push.push(command),
    kick: command => push.kick(command),
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
      for (let partition = 0; partition < eventLog.partitions(nodes); partition++) {
        ends.push(`${partition}@${(await tables.position('nodes', partition)).next}`)
      }
      return { nodes: rows, asOf: { position: ends.join(','), atMs: asOfMs } }
    },
  })
  webSocketRoute(app, edge, admission)
  closers.push(async () => {
    stopping = true
    // Nothing new comes in; the sockets that are open are what the servers wait for.
    const closed = app.close()
    await edge.stop()
    reports.flush()
    await closed
  })
  await app.listen({ host: config.host, port: config.httpPort, backlog: 4096 })
  const tcp = await listenTcp(edge, admission, { host: config.host, port: config.tcpPort })
  closers.push(() => { tcp.stop() })

  const httpPort = (app.server.address() as { port: number }).port
  const reporter = await announceNode(eventLog, nodeId, epoch, {
    region: config.region,
    roles: config.roles.join(','),
    version,
    wsUrl: config.publicWsUrl ?? `ws://${urlHost(config.host)}:${httpPort}/v1/connect`,
    tcpUrl: config.publicTcpUrl ?? `tcp://${urlHost(config.host)}:${tcp.port}`,
    connectionsMax: config.connectionsMax,
    leaseMs,
  }, () => edge.connections, err => { failed('a load report could not be appended', err, {}) })
  closers.push(() => reporter.stop().catch(err => { failed('the end of this node could not be recorded', err, {}) }))
  await nodeTable.rows()

  return {
    http: `http://${urlHost(config.host)}:${httpPort}`,
    tcp: `tcp://${urlHost(config.host)}:${tcp.port}`,
    nodeId,
    stop,
  }
}

const packageJson = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
const { version } = JSON.parse(packageJson) as { version: string }

/** Secrets in the data directory, and drafts of them that a crash left behind. */
function secretFiles (dataDir: string): string[] {
  try {
    return readdirSync(dataDir).filter(name => /^(jwt-secret|api-key)(\.|$)/.test(name))
  } catch {
    return [] // opening the store says what is wrong with the directory
  }
}

function startRunner<T extends { atMs: number }> (
  eventLog: EventLog, tables: Tables, stream: Stream<T>, projections: any[], log: Logger
): Promise<Runner<T>> {
  return Runner.start({
    log: eventLog,
    stream,
    group: 'projections',
    tables,
    projections,
    onPoison: poison => { log.error(poison, 'an item was left out of a table') },
    onFailed: ({ error, ...where }) => { log.error({ err: error, ...where }, 'a table could not be written yet') },
  })
}

/** The first offset of a ledger partition that a snapshot or a table has yet to take in. */
async function needed (partition: number, snapshots: Snapshots, tables: Tables): Promise<bigint> {
  const nexts = await Promise.all([
    snapshots.checkpoint(partition),
    ...[presenceProjection, routing].map(async ({ table }) => (await tables.position(table, partition)).next),
  ])
  return nexts.reduce((a, b) => a < b ? a : b)
}

/** Waits until the tables hold everything that was in the ledger when it was called. */
async function caughtUp (eventLog: EventLog, runner: Runner<any>): Promise<void> {
  const ends = await Promise.all(Array.from({ length: eventLog.partitions(ledger) }, (_, partition) =>
    endOf(eventLog, partition)))
  while (runner.lag().some(({ partition, next, blocks }) => next - BigInt(blocks) < ends[partition]!)) {
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}

/** Behind the last block that followers get: one that was set aside, at the very end, they would wait for in vain. */
async function endOf (eventLog: EventLog, partition: number): Promise<bigint> {
  const { first, next } = await eventLog.bounds(ledger, partition)
  let end = first
  for (let from = next - 1n; from >= first && end === first; from--) {
    for await (const { offset } of eventLog.read(ledger, partition, { from, to: next })) end = offset + 1n
  }
  return end
}

/**
 * Sockets do not outlive their process: whatever the table still shows open was opened by an earlier one. In an
 * embedded store that is true whatever the node was called then.
 */
async function endOlderConnections (eventLog: EventLog, tables: Tables, epoch: number): Promise<void> {
  const prefix = routingKey('')
  const appends = []
  for await (const { partition, key, fields } of tables.scan('routing')) {
    if (!key.startsWith(prefix)) continue
    for (const { connectionId } of routesOf(fields)) {
      appends.push(eventLog.append(ledger, partition, [{
        userId: key.slice(prefix.length),
        atMs: epoch,
        fact: {
          type: 'ConnectionClosed',
          connectionId,
          code: 'node-lost',
          reason: 'the node has started again',
          endSession: false,
          told: false,
          writtenSeq: 0,
          ackedSeq: 0,
          framesIn: 0,
          framesOut: 0,
          bytesIn: 0,
          bytesOut: 0,
        },
      }]))
    }
  }
  await Promise.all(appends)
}

function lagByTable (runner: Runner<any>): Map<string, number> {
  const lag = new Map<string, number>()
  for (const { table, blocks } of runner.lag()) lag.set(table, (lag.get(table) ?? 0) + blocks)
  return lag
}

/** An address that others can use in a URL. */
function urlHost (host: string): string {
  if (host === '0.0.0.0' || host === '::') return '127.0.0.1'
  return host.includes(':') ? `[${host}]` : host
}
