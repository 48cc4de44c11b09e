import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import type { EdgeContext } from '../../actors/connection/connection.js'
import { Flow } from '../../actors/connection/flow.js'
import { Intake } from '../../actors/connection/intake.js'
import { tickMs } from '../../actors/connection/lifetime.js'
import { Stopwatch } from '../../actors/connection/stopwatch.js'
import { EdgeRooms } from '../../actors/edge-rooms/edge-rooms.js'
import type { ActorSystem } from '../../actors/system.js'
import type { Circuit } from '../../ledger/circuit.js'
import type { Health } from '../../schemas/conditions.js'
import { partitionOf } from '../../schemas/partitioning.js'
import { ledger, rooms as roomsStream } from '../../schemas/streams.js'
import { Apps } from '../apps.js'
import { AuthService } from '../auth/service.js'
import { authSetting } from '../auth/setting.js'
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
import { isOwn, Reports } from '../edge/reports.js'
import { listenTcp } from '../edge/tcp.js'
import { TokenVerifier } from '../edge/token.js'
import { webSocketRoute } from '../edge/websocket.js'
import { tokenIssuers } from '../issuers.js'
import type { NodeLoad } from '../load.js'
import { Memory, processMemory } from '../memory.js'
import type { GatewayMetrics } from '../metrics.js'
import type { NodeIdentity } from '../node.js'
import type { NodeTable } from '../node-table.js'
import { originRule } from '../origins.js'
import type { ServerTls } from '../server-tls.js'
import type { Stores } from '../stores.js'
import type { EdgeTracers } from '../tracing/edge.js'

const limits = { handshakeMs: 10_000, writeQueueBytesMax: 1 << 20, resumeBytesMax: 256 << 10, lingerMs: 2_000 }

/** Of the posts of a room for whoever comes back: as many as their owner keeps. */
const tailLimits = { postsMax: 1_000, bytesMax: 1 << 20, ageMaxMs: 3_600_000 }
const roomLimits = {
  tail: tailLimits,
  tailsBytesMax: 64 << 20,
  queuedBytesMax: limits.resumeBytesMax,
  lingerMs: 10_000,
  lingeringMax: 10_000,
}

/** What a client that is sent away waits at least. */
const redirectRetryMs = 5_000
/** Where a balancer may hand it to another node the next time. */
const peerRetryMs = 1_000

/** A user may send as much as so many of his connections, unless it is set. */
const connectionsOfUser = 4

const admissionSweepMs = 10_000
const descriptorsSweepMs = 1_000

/** Sockets that were refused and may wait for their client to read why; half of the reserve where that is less. */
const lingerersMax = 128

/** Holds sockets: TCP on a listener of its own, WebSocket on the HTTP side. */
export class EdgeRole implements DrainingEdge {
  readonly #edge: Edge
  readonly #reports: Reports
  readonly #door: Door
  readonly #timers: NodeJS.Timeout[]
  readonly #nodeTable: NodeTable
  readonly #nodeId: string
  readonly #tokens: TokenVerifier
  readonly #listeners: Array<() => Promise<void>> = []
  readonly #memory: Memory
  /** Undefined where there is only the default one. */
  readonly apps: EdgeApps | undefined
  readonly rooms: EdgeRooms
  readonly broadcasts: EdgeBroadcasts
  readonly #broadcastReports: BroadcastReports
  readonly #stopMemory: () => void
  #stopping = false
  /** Since it is stopping: among them the ends of its connections. */
  readonly #lastAppends: Array<Promise<unknown>> = []
  draining = 0

  constructor (
    { log, links, commits, usersAway, shared }: Stores, system: ActorSystem, identity: NodeIdentity,
    nodeTable: NodeTable,
    readonly metrics: GatewayMetrics, readonly config: Config, logger: Logger, health: Health,
    readonly tls: ServerTls | undefined, readonly load: NodeLoad, version: string,
    apps = new Apps(), tracers?: EdgeTracers
  ) {
    const { nodeId } = identity
    const partitions = log.partitions(ledger)
    const setting = authSetting(config)
    const auth = setting && new AuthService({
      setting, version, hasApp: app => apps.has(app), health, count: metrics.tokenAsked,
    })
    const issuers = tokenIssuers(config)
    const tokens = new TokenVerifier(issuers, config.clockToleranceMs, health, undefined, apps.all, auth)
    const reports = new Reports((partition, entries) => log.append(ledger, partition, entries, { reserved: true }))
    const { byteRate, byteBurst, userByteRate, userFrameRate = connectionsOfUser * config.frameRate } = config
    const ticks = (): number => Math.trunc(performance.now() / tickMs)
    const flow = new Flow({ byteRate, byteBurst, userByteRate, userFrameRate })
    this.apps = apps.areMany ? new EdgeApps(apps) : undefined
    const roomPartitions = log.partitions(roomsStream)
    this.rooms = new EdgeRooms({
      nodeId,
      nodeEpoch: () => identity.epoch,
      ticks,
      tickMs,
      partitionOf: roomKey => partitionOf(roomKey, roomPartitions),
      append: (partition, entries, options) =>
        log.append(roomsStream, partition, entries, { reserved: true, ...options }),
      ask: question => { links.toRoom(question) },
      answer: answer => { links.toAsker(answer) },
      mayLose: shared,
      limits: { ...roomLimits, roomsMax: config.roomsMax },
      count: metrics.edge,
      tracer: tracers?.rooms,
    })
    const context: EdgeContext = {
      nodeId,
      get nodeEpoch () { return identity.epoch },
      limits: {
        ...limits,
        heartbeatMs: config.heartbeatMs,
        silenceMaxMs: config.silenceMaxMs,
        uplinkWindow: config.uplinkWindow,
        frameBytesMax: config.frameBytesMax,
        frameRate: config.frameRate,
        frameBurst: config.frameBurst,
        byteRateMin: config.byteRateMin,
        loginPolicy: config.loginPolicy,
        presence: !config.streamsOff.includes('presence'),
        presenceGraceMs: config.presenceGraceMs,
      },
      intake: new Intake(config.intakeBytesMax),
      flow,
      links,
      ticks,
      verify: (token, bearer) => tokens.verify(token, bearer),
      partitionOf: userId => partitionOf(userId, partitions),
      append: (partition, entries) => {
        const options = { reserved: entries.every(isOwn), source: entries[0]!.userId }
        this.apps?.appended(entries)
        const appended = log.append(ledger, partition, entries, options)
        if (this.#stopping) this.#lastAppends.push(appended)
        return appended
      },
      appendLater: (partition, entry) => { edge.appendLater(partition, entry) },
      reads: load.reads,
      bears: (userId, priority, heldBytes) =>
        priority >= memory.priorityMin && load.overload.admits(userId, priority, heldBytes),
      usersAway,
      admits: (transport, userId) =>
        this.#admits(transport) && (userId === undefined || load.overload.admitsConnect(userId)),
      alternates: transport => this.#alternates(transport),
      lookAround: async transport => { if (this.#alternates(transport).length === 0) await nodeTable.rows() },
      sentAwayMs: () => this.#nodeTable.hasPeer(nodeId) ? peerRetryMs : redirectRetryMs,
      apps: this.apps,
      rooms: this.rooms,
      opened: connection => { edge.opened(connection) },
      reportSoon: connection => { reports.add(connection) },
      stopwatch: new Stopwatch(timed => {
        metrics.uplinkTimed(timed)
        load.acked(timed)
      }, commits),
      tracer: tracers?.connections,
      count: metrics.edge,
      failed: (what, error, fields) => { logger.error({ err: error, ...fields }, what) },
    }
    const descriptors = new Descriptors(health)
    const edge = new Edge(context, system, {
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
    const memory = new Memory(health, edge, use)
    const stopSampling = memory.start()
    this.#memory = memory
    this.#stopMemory = () => {
      stopSampling()
      stop()
    }
    const admission = new Admission(config.acceptRate)
    const total = new Admission(config.acceptRateTotal)
    links.connections = message => edge.toConnection(message)
    links.members = message => { this.rooms.received(message) }
    this.rooms.start()
    this.#edge = edge
    this.#reports = reports
    this.#door = new Door(
      edge, admission, total, descriptors, AddressList.of(config.acceptUncounted), metrics.socketRefused)
    this.#nodeTable = nodeTable
    this.#nodeId = nodeId
    this.#tokens = tokens
    tokens.start()
    this.#timers = [
      setInterval(() => { admission.sweep(); flow.sweep() }, admissionSweepMs),
      setInterval(() => { descriptors.sweep() }, descriptorsSweepMs),
    ]
  }

  get connections (): number { return this.#edge.connections }

  get memoryPressure (): number { return this.#memory.pressure }

  get circuits (): readonly Circuit[] { return this.#tokens.circuits() }

  get intakeBytes (): number { return this.#edge.context.intake.bytes }

  routes (app: FastifyInstance): void {
    const { allowedOrigins, publicWsUrl } = this.config
    webSocketRoute(app, this.#edge, this.#door, originRule(allowedOrigins, publicWsUrl))
  }

  /** @returns the port of the TCP listener */
  async listen (): Promise<number> {
    const { host, tcpPort: port } = this.config
    const tcp = await listenTcp(this.#edge, this.#door, {
      host,
      port,
      tls: this.tls,
      proxies: AddressList.of(this.config.trustedProxies),
      headerRefused: () => { this.metrics.proxyHeaderRefused('tcp') },
    })
    this.#listeners.push(() => tcp.stop())
    return tcp.port
  }

  hasElsewhere (): boolean {
    return this.#alternates('tcp').length > 0 || this.#alternates('ws').length > 0 || this.#nodeTable.hasPeer(this.#nodeId)
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
    const late = new Promise(resolve => { setTimeout(resolve, limits.lingerMs).unref() })
    await Promise.race([Promise.allSettled(this.#lastAppends), late])
    await this.#broadcastReports.stop()
    for (const timer of this.#timers) clearInterval(timer)
    this.#stopMemory()
    this.#tokens.stop()
  }

  /** A node that is full or leaves takes nobody; one that is busy, or loses only some, takes who has nowhere to go. */
  #admits (transport: string): boolean {
    if (this.#stopping || this.#edge.isFull || this.#memory.refusesConnects || this.draining === 100) return false
    if (this.draining === 0 && !this.#nodeTable.sheds(this.#nodeId)) return true
    return this.#alternates(transport).length === 0
  }

  #alternates (transport: string): string[] {
    return this.#nodeTable.alternates(this.#nodeId, transport === 'tcp' ? 'tcp' : 'ws', this.config.region)
  }
}
