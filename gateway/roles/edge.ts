import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import { type EdgeContext, tickMs } from '../../actors/connection/connection.js'
import { Stopwatch } from '../../actors/connection/stopwatch.js'
import type { ActorSystem } from '../../actors/system.js'
import { partitionOf } from '../../schemas/partitioning.js'
import { ledger } from '../../schemas/streams.js'
import type { Config } from '../config.js'
import { Admission } from '../edge/admission.js'
import { Edge } from '../edge/edge.js'
import { Reports } from '../edge/reports.js'
import { listenTcp } from '../edge/tcp.js'
import { tokenVerifier } from '../edge/token.js'
import { webSocketRoute } from '../edge/websocket.js'
import type { GatewayMetrics } from '../metrics.js'
import type { NodeIdentity } from '../node.js'
import type { NodeTable } from '../node-table.js'
import type { Stores } from '../stores.js'

const limits = { handshakeMs: 10_000, writeQueueBytesMax: 1 << 20, resumeBytesMax: 256 << 10, lingerMs: 2_000 }

const admissionSweepMs = 10_000

/** Holds sockets: TCP on a listener of its own, WebSocket on the HTTP side. */
export class EdgeRole {
  readonly #edge: Edge
  readonly #reports: Reports
  readonly #admission: Admission
  readonly #sweep: NodeJS.Timeout
  readonly #listeners: Array<() => Promise<void>> = []
  #stopping = false

  constructor (
    { log, links }: Stores, system: ActorSystem, identity: NodeIdentity, nodeTable: NodeTable, metrics: GatewayMetrics,
    readonly config: Config, logger: Logger
  ) {
    const { nodeId } = identity
    const partitions = log.partitions(ledger)
    const reports = new Reports((partition, entries) => log.append(ledger, partition, entries))
    const context: EdgeContext = {
      nodeId,
      get nodeEpoch () { return identity.epoch },
      limits: {
        ...limits,
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
      append: (partition, entries) => log.append(ledger, partition, entries),
      appendLater: (partition, entry) => { edge.appendLater(partition, entry) },
      admits: () => !this.#stopping && !edge.isFull,
      alternates: transport => nodeTable.alternates(nodeId, transport === 'tcp' ? 'tcp' : 'ws', config.region),
      opened: connection => { edge.opened(connection) },
      reportSoon: connection => { reports.add(connection) },
      stopwatch: new Stopwatch(metrics.uplinkTimed),
      count: metrics.edge,
      failed: (what, error, fields) => { logger.error({ err: error, ...fields }, what) },
    }
    const edge = new Edge(context, system, config.connectionsMax)
    links.connections = message => edge.toConnection(message)
    this.#edge = edge
    this.#reports = reports
    this.#admission = new Admission(config.acceptRate)
    this.#sweep = setInterval(() => { this.#admission.sweep() }, admissionSweepMs)
  }

  get connections (): number { return this.#edge.connections }

  routes (app: FastifyInstance): void { webSocketRoute(app, this.#edge, this.#admission) }

  /** @returns the port of the TCP listener */
  async listen (): Promise<number> {
    const { host, tcpPort: port } = this.config
    const tcp = await listenTcp(this.#edge, this.#admission, { host, port })
    this.#listeners.push(() => tcp.stop())
    return tcp.port
  }

  /** Ends every connection, for others have closed them in the ledger; new ones are welcome. */
  startAnew (): void { this.#edge.endAll('the node was taken for lost') }

  /** Ends every connection so that its client resumes elsewhere, and takes no more. */
  async stop (): Promise<void> {
    this.#stopping = true
    const listeners = this.#listeners.map(stop => stop())
    await this.#edge.stop()
    this.#reports.flush()
    await Promise.all(listeners)
    clearInterval(this.#sweep)
  }
}
