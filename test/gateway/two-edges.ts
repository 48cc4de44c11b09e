import { type AddressInfo, connect, createServer } from 'node:net'
import pino from 'pino'
import type { Test } from 'tap'
import { startActors } from '../../actors/system.js'
import { WaitProbe } from '../../actors/wait-probe.js'
import { Apps } from '../../gateway/apps.js'
import { readConfig } from '../../gateway/read-config.js'
import { Drains } from '../../gateway/drain.js'
import { describeDrain, requestDrain } from '../../gateway/drain-requests.js'
import type { DrainState } from '../../gateway/drain-requests.js'
import { NodeLoad } from '../../gateway/load.js'
import { GatewayMetrics } from '../../gateway/metrics.js'
import { type NodeIdentity, NodeReporter } from '../../gateway/node.js'
import { NodeTable } from '../../gateway/node-table.js'
import { Push } from '../../gateway/push.js'
import { EdgeRole } from '../../gateway/roles/edge.js'
import { startProjectionsRole } from '../../gateway/roles/projections.js'
import { startUsersRole } from '../../gateway/roles/users.js'
import { SetAsides } from '../../gateway/set-asides.js'
import { openEmbeddedStores } from '../../gateway/stores-embedded.js'
import type { Stores } from '../../gateway/stores.js'
import { noReport } from '../../projections/nodes.js'
import { nobodyWatches } from '../../schemas/conditions.js'
import { nodes } from '../../schemas/streams.js'
import { jwtSecret, until } from '../faults/node-process.js'

const logger = pino({ enabled: false })

/** Two edges, and all that they need, in one process over one embedded log: a cluster without its servers. */
export class TwoEdges {
  readonly a: TestEdge
  readonly b: TestEdge
  readonly push: Push

  /** @param balanced both are known by one URL, which leads to each of them in turn, but not to one that drains */
  static async start (t: Test, env: Record<string, string> = {}, balanced = false): Promise<TwoEdges> {
    const config = (nodeId: string) => readConfig({
      LEDGERLINE_DATA: t.testdirName,
      LEDGERLINE_PARTITIONS: '2',
      LEDGERLINE_TCP_PORT: '0',
      LEDGERLINE_JWT_SECRET: jwtSecret,
      LEDGERLINE_ACCEPT_RATE: '0',
      LEDGERLINE_FRAME_RATE: '0',
      LEDGERLINE_LEASE_MS: '60000',
      ...env,
      LEDGERLINE_NODE_ID: nodeId,
    })
    t.testdir()
    const stores = await openEmbeddedStores(config('a'), logger)
    const metrics = new GatewayMetrics('test')
    const asides = new SetAsides({ log: stores.log, metrics, logger })
    const projections = await startProjectionsRole({ stores, asides, logger, health: nobodyWatches })
    const system = startActors()
    const users = await startUsersRole({
      stores,
      system,
      metrics,
      asides,
      logger,
      health: nobodyWatches,
      folds: new WaitProbe(),
      nodeTable: { hasEnded: () => false },
      roomSilenceMs: 0,
    })
    t.teardown(async () => {
      await users.stop()
      system.stop()
      await projections.stop()
      await stores.close()
    })
    const start = async (nodeId: string) => {
      const identity = { nodeId, epoch: Date.now() }
      const nodeTable = new NodeTable(stores.tables, stores.log.partitions(nodes), 60_000, nobodyWatches)
      const metrics = new GatewayMetrics('test')
      const load = new NodeLoad(0, nobodyWatches)
      t.teardown(load.start())
      const edge = new EdgeRole({
        config: config(nodeId),
        stores,
        system,
        identity,
        nodeTable,
        apps: new Apps(),
        load,
        metrics,
        asides,
        logger,
        health: nobodyWatches,
        version: 'test',
      })
      const { connections } = stores.links
      return { identity, nodeTable, metrics, edge, connections, tcpPort: await edge.listen() }
    }
    const [a, b] = [await start('a'), await start('b')]
    stores.links.connections = message => (message.nodeId === 'a' ? a : b).connections(message)
    const edges = new TwoEdges(stores, new TestEdge(stores, a), new TestEdge(stores, b))
    const url = balanced ? await balancer(t, [edges.a, edges.b]) : undefined
    for (const edge of [edges.a, edges.b]) {
      edge.url = url ?? edge.tcp
      await edge.announce(t)
      t.teardown(() => edge.role.stop())
      t.teardown(() => edge.drains.leave(0)) // or it would go on, over stores that are closed
    }
    await until(async () => {
      await Promise.all([a.nodeTable.rows(), b.nodeTable.rows()])
      return a.edge.hasElsewhere() && b.edge.hasElsewhere()
    }, 50)
    return edges
  }

  private constructor (readonly stores: Stores, a: TestEdge, b: TestEdge) {
    this.a = a
    this.b = b
    this.push = new Push({ ...stores, nodeId: 'a', outboxBytesMax: () => 1 << 20, receipts: false, offlineAfterMs: undefined })
  }

  /** Sends a durable downlink to each of the users. */
  async send (userIds: readonly string[], messageId: string): Promise<void> {
    await this.push.push({
      messageId,
      userIds,
      service: '',
      payload: Buffer.from(messageId),
      ttlMs: 600_000,
      delivery: 'durable',
      platforms: [],
      exceptDevices: [],
      devices: [],
      app: '',
      receipts: true,
      offlineAfterMs: -1,
      replaces: '',
    })
  }

  async requestDrain (nodeId: string, percent: number, withinMs: number) {
    const { stores: { log, tables }, a: { nodeTable } } = this
    return await requestDrain({ log, tables, nodeTable }, { nodeId, percent, withinMs, by: 'k1', reason: 'new disk' })
  }

  async drained (nodeId: string, drainId?: string): Promise<DrainState> {
    let state: DrainState | undefined
    await until(async () => {
      state = await describeDrain({ ...this.stores, nodeTable: this.a.nodeTable }, nodeId, true).catch(() => undefined)
      return state?.state === 'done' && (drainId === undefined || state.drainId === drainId)
    }, 50)
    return state!
  }
}

/** A load balancer for TCP that goes by readiness. @returns its URL */
async function balancer (t: Test, edges: readonly TestEdge[]): Promise<string> {
  let turn = 0
  const server = createServer(inside => {
    const ready = edges.filter(({ role }) => role.draining < 100)
    const outside = connect(Number(new URL(ready[turn++ % ready.length]!.tcp).port), '127.0.0.1')
    inside.on('error', () => outside.destroy()).pipe(outside).on('error', () => inside.destroy()).pipe(inside)
  })
  t.teardown(() => { server.close() })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  return `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`
}

interface Parts {
  readonly identity: NodeIdentity
  readonly nodeTable: NodeTable
  readonly metrics: GatewayMetrics
  readonly edge: EdgeRole
  readonly tcpPort: number
}

export class TestEdge {
  readonly drains: Drains
  readonly role: EdgeRole
  readonly nodeTable: NodeTable
  readonly tcp: string
  /** What clients are told. */
  url = ''
  readonly http = ''
  readonly #parts: Parts

  constructor (readonly stores: Stores, parts: Parts) {
    const { identity, nodeTable, metrics, edge, tcpPort } = parts
    this.#parts = parts
    this.role = edge
    this.nodeTable = nodeTable
    this.tcp = `tcp://127.0.0.1:${tcpPort}`
    const { log, tables, snapshots } = stores
    this.drains = new Drains({
      log, tables, snapshots, nodeTable, identity, edge, counters: metrics.drain, logger,
    })
  }

  get nodeId (): string { return this.#parts.identity.nodeId }

  async state (): Promise<string | undefined> {
    await new Promise(resolve => setTimeout(resolve, 600)) // the copy is as old as that
    const { rows } = await this.nodeTable.rows()
    return rows.find(({ nodeId }) => nodeId === this.nodeId)?.state
  }

  async announce (t: Test): Promise<void> {
    const { log, tables } = this.stores
    const reporter = await NodeReporter.start(this.#parts.identity, {
      log,
      tables,
      started: {
        region: 'local',
        roles: 'edge',
        version: '1.0.0',
        wsUrl: '',
        tcpUrl: this.url,
        connectionsMax: 1_000,
        leaseMs: 60_000,
      },
      load: async () => ({ ...noReport, connections: this.role.connections }),
      lost () {},
      replaced () {},
      drainRequested: request => { this.drains.requested(request) },
      health: { begin: (name, reason) => { t.fail(`${name}: ${reason}`) }, end () {} },
    })
    t.teardown(() => reporter.stop())
  }
}
