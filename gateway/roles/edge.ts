import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import type { EdgeContext } from '../../actors/connection/edge-context.js'
import type { Flow } from '../../actors/connection/flow.js'
import { Intake } from '../../actors/connection/intake.js'
import { Stopwatch } from '../../actors/connection/stopwatch.js'
import type { EdgeRooms } from '../../actors/edge-rooms/edge-rooms.js'
import type { ActorSystem } from '../../actors/system.js'
import type { Circuit } from '../../ledger/circuit.js'
import type { Health } from '../../schemas/conditions.js'
import { partitionOf } from '../../schemas/partitioning.js'
import { ledger } from '../../schemas/streams.js'
import type { Apps } from '../apps.js'
import { BroadcastReports } from '../broadcasts/reports.js'
import type { Config } from '../config.js'
import type { DrainingEdge } from '../drain.js'
import { Admission } from '../edge/admission.js'
import { EdgeApps } from '../edge/apps.js'
import { EdgeBroadcasts } from '../edge/broadcasts.js'
import { AddressList } from '../edge/clients.js'
import { Descriptors } from '../edge/descriptors.js'
import { Door } from '../edge/door.js'
import { EdgeDrain } from '../edge/drain.js'
import { Edge } from '../edge/edge.js'
import { isOwn, type Reports } from '../edge/reports.js'
import { listenTcp } from '../edge/tcp.js'
import type { TokenVerifier } from '../edge/token.js'
import { webSocketRoute } from '../edge/websocket.js'
import type { NodeLoad } from '../load.js'
import { Memory, processMemory } from '../memory.js'
import type { GatewayMetrics } from '../metrics.js'
import type { NodeIdentity } from '../node.js'
import type { NodeTable } from '../node-table.js'
import { originRule } from '../origins.js'
import type { ServerTls } from '../server-tls.js'
import type { SetAsides } from '../set-asides.js'
import type { Stores } from '../stores.js'
import type { EdgeTracers } from '../tracing/edge.js'
import { flowOf, limitsOf, reportAsides, reportsOf, roomsOf, ticksNow, tokensOf } from './edge-parts.js'

/** What a client that is sent away waits at least. */
const redirectRetryMs = 5_000
/** Where a balancer may hand it to another node the next time. */
const peerRetryMs = 1_000

const admissionSweepMs = 10_000
const descriptorsSweepMs = 1_000

/** Sockets that were refused and may wait for their client to read why; half of the reserve where that is less. */
const lingerersMax = 128

export interface EdgeRoleDeps {
  readonly config: Config
  readonly stores: Pick<Stores, 'log' | 'links' | 'commits' | 'usersAway' | 'shared'>
  readonly system: ActorSystem
  readonly identity: NodeIdentity
  readonly nodeTable: NodeTable
  readonly apps: Apps
  readonly load: NodeLoad
  readonly metrics: GatewayMetrics
  readonly asides: SetAsides
  readonly logger: Logger
  readonly health: Health
  /** Of this build, as package.json has it. */
  readonly version: string
  /** Undefined without a certificate. */
  readonly tls?: ServerTls | undefined
  /** Undefined where nothing is traced. */
  readonly tracers?: EdgeTracers | undefined
}

/** Holds sockets: TCP on a listener of its own, WebSocket on the HTTP side. */
export class EdgeRole implements DrainingEdge {
  readonly #deps: EdgeRoleDeps
  readonly #edge: Edge
  readonly #door: Door
  readonly #flow: Flow
  readonly #reports: Reports
  readonly #tokens: TokenVerifier
  readonly #memory: Memory
  readonly #broadcastReports: BroadcastReports
  /** Undefined where there is only the default one. */
  readonly apps: EdgeApps | undefined
  readonly rooms: EdgeRooms
  readonly broadcasts: EdgeBroadcasts
  readonly #listeners: Array<() => Promise<void>> = []
  readonly #timers: NodeJS.Timeout[]
  readonly #stopMemory: () => void
  #stopping = false
  /** Since it is stopping: among them the ends of its connections. */
  readonly #lastAppends: Array<Promise<unknown>> = []
  draining = 0

  constructor (deps: EdgeRoleDeps) {
    this.#deps = deps
    const { config, stores: { log, links }, system, identity, apps, metrics, health, tracers } = deps
    this.apps = apps.areMany ? new EdgeApps(apps, ticksNow) : undefined
    this.rooms = roomsOf(deps)
    const tokens = this.#tokens = tokensOf(deps)
    apps.onChange(() => { tokens.useApps(apps.all) })
    this.#reports = reportsOf(deps)
    this.#flow = flowOf(config)
    const descriptors = new Descriptors(health)
    const edge = this.#edge = new Edge(this.#context(), system, {
      connectionsMax: config.connectionsMax,
      acceptRate: config.acceptRate,
      lingerersMax: Math.min(lingerersMax, Math.ceil(descriptors.reserve / 2)),
      ageMaxMs: config.connectionAgeMaxMs,
    })
    this.#broadcastReports = new BroadcastReports({ log, identity, health })
    this.broadcasts = new EdgeBroadcasts({
      all: () => edge.all(),
      connectionsOf: app => this.apps ? this.apps.connections().get(app) ?? 0 : edge.connections,
      region: config.region,
      report: fact => { this.#broadcastReports.add(fact) },
      count: metrics.edge,
      tracer: tracers?.broadcasts,
    })
    const { use, stop } = processMemory(config.memoryBytesMax)
    this.#memory = new Memory(health, edge, use)
    const stopSampling = this.#memory.start()
    this.#stopMemory = () => {
      stopSampling()
      stop()
    }
    const admission = new Admission(config.acceptRate)
    const total = new Admission(config.acceptRateTotal)
    this.#door = new Door(
      edge, admission, total, descriptors, AddressList.of(config.acceptUncounted), metrics.socketRefused)
    links.connections = message => edge.toConnection(message)
    links.members = message => { this.rooms.received(message) }
    this.rooms.start()
    this.#tokens.start()
    this.#timers = [
      setInterval(() => { admission.sweep(); this.#flow.sweep() }, admissionSweepMs),
      setInterval(() => { descriptors.sweep() }, descriptorsSweepMs),
    ]
  }

  get connections (): number { return this.#edge.connections }

  get memoryPressure (): number { return this.#memory.pressure }

  get circuits (): readonly Circuit[] { return this.#tokens.circuits() }

  get intakeBytes (): number { return this.#edge.context.intake.bytes }

  routes (app: FastifyInstance): void {
    const { allowedOrigins, publicWsUrl } = this.#deps.config
    webSocketRoute(app, this.#edge, this.#door, originRule(allowedOrigins, publicWsUrl))
  }

  /** @returns the port of the TCP listener */
  async listen (): Promise<number> {
    const { config: { host, tcpPort: port, trustedProxies }, tls, metrics } = this.#deps
    const tcp = await listenTcp(this.#edge, this.#door, {
      host,
      port,
      tls,
      proxies: AddressList.of(trustedProxies),
      headerRefused: () => { metrics.proxyHeaderRefused('tcp') },
    })
    this.#listeners.push(() => tcp.stop())
    return tcp.port
  }

  hasElsewhere (): boolean {
    const { nodeTable, identity: { nodeId } } = this.#deps
    return this.#alternates('tcp').length > 0 || this.#alternates('ws').length > 0 || nodeTable.hasPeer(nodeId)
  }

  drain (percent: number, withinMs: number): EdgeDrain {
    return new EdgeDrain(this.#edge, { percent, withinMs, nowMs: performance.now() })
  }

  /** Ends every connection, for others have closed them in the ledger; new ones are welcome. */
  startAnew (): void {
    this.#edge.endAll('the node was taken for lost')
    this.rooms.startAnew()
  }

  /** Ends every connection so that its client resumes elsewhere, and takes no more. */
  async stop (): Promise<void> {
    this.#stopping = true
    this.broadcasts.stop()
    const listeners = this.#listeners.map(stop => stop())
    await this.#edge.stop()
    this.#reports.flush()
    this.#lastAppends.push(this.rooms.stop())
    await Promise.all(listeners)
    // What follows the ledger stops next, and should know of the ends.
    const late = new Promise(resolve => { setTimeout(resolve, this.#edge.context.limits.lingerMs).unref() })
    await Promise.race([Promise.allSettled(this.#lastAppends), late])
    await this.#broadcastReports.stop()
    for (const timer of this.#timers) clearInterval(timer)
    this.#stopMemory()
    this.#tokens.stop()
  }

  /** What connections ask of this node. */
  #context (): EdgeContext {
    const { config, stores, identity, nodeTable, load, metrics, logger, tracers } = this.#deps
    const { log, links, commits, usersAway } = stores
    const { nodeId } = identity
    const partitions = log.partitions(ledger)
    return {
      nodeId,
      get nodeEpoch () { return identity.epoch },
      limits: limitsOf(config),
      intake: new Intake(config.intakeBytesMax),
      work: load.work,
      flow: this.#flow,
      links,
      ticks: ticksNow,
      verify: (token, bearer) => this.#tokens.verify(token, bearer),
      partitionOf: userId => partitionOf(userId, partitions),
      append: (partition, entries) => {
        const options = { reserved: entries.every(isOwn), source: entries[0]!.userId }
        this.apps?.appended(entries)
        const appended = log.append(ledger, partition, entries, options)
        if (this.#stopping) this.#lastAppends.push(appended)
        return appended
      },
      appendLater: (partition, entry) => { this.#edge.appendLater(partition, entry) },
      setAside: reportAsides(this.#deps),
      reads: load.reads,
      bears: (userId, priority, isQuiet) =>
        priority >= this.#memory.priorityMin && load.overload.admits(userId, priority, isQuiet),
      usersAway,
      admits: (transport, userId) =>
        this.#admits(transport) && (userId === undefined || load.overload.admitsConnect(userId)),
      alternates: transport => this.#alternates(transport),
      lookAround: async transport => { if (this.#alternates(transport).length === 0) await nodeTable.rows() },
      sentAwayMs: () => nodeTable.hasPeer(nodeId) ? peerRetryMs : redirectRetryMs,
      apps: this.apps,
      rooms: this.rooms,
      opened: connection => { this.#edge.opened(connection) },
      reportSoon: connection => { this.#reports.add(connection) },
      stopwatch: new Stopwatch(timed => {
        metrics.uplinkTimed(timed)
        load.acked(timed)
      }, commits),
      tracer: tracers?.connections,
      count: metrics.edge,
      failed: (what, error, fields) => { logger.error({ err: error, ...fields }, what) },
    }
  }

  /** A node that is full or leaves takes nobody; one that is busy, or loses only some, takes who has nowhere to go. */
  #admits (transport: string): boolean {
    if (this.#stopping || this.#edge.isFull || this.#memory.refusesConnects || this.draining === 100) return false
    const { nodeTable, identity: { nodeId } } = this.#deps
    if (this.draining === 0 && !nodeTable.sheds(nodeId)) return true
    return this.#alternates(transport).length === 0
  }

  #alternates (transport: string): string[] {
    const { nodeTable, identity: { nodeId }, config: { region } } = this.#deps
    return nodeTable.alternates(nodeId, transport === 'tcp' ? 'tcp' : 'ws', region)
  }
}
