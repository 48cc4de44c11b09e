import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import { inquire } from '../evidence/inquiry.js'
import { roomStateAt } from '../evidence/rooms/state.js'
import { tracePost } from '../evidence/rooms/trace.js'
import { stateAt } from '../evidence/state.js'
import { timelineOf } from '../evidence/timeline.js'
import { streams } from '../ledger/streams.js'
import { appOf } from '../schemas/apps.js'
import { partitionOf } from '../schemas/partitioning.js'
import { downlinksRejected, ledger } from '../schemas/streams.js'
import type { Apps } from './apps.js'
import { Audits } from './audits.js'
import type { Backups } from './backups.js'
import { BanRequests } from './bans.js'
import type { Broadcasts } from './broadcasts/broadcasts.js'
import type { Config } from './config.js'
import type { Console } from './console/console.js'
import { describeDrain, requestDrain } from './drain-requests.js'
import { AddressList } from './edge/clients.js'
import { describeGroup, groupsOfApp } from './groups/described.js'
import type { Groups } from './groups/groups.js'
import type { HealthRegistry } from './health.js'
import type { Side } from './http/access.js'
import type { Readiness } from './http/health.js'
import type { Proxied } from './http/proxied.js'
import { buildHttp, type HttpDeps, listenerOf } from './http/server.js'
import type { ApiKeys } from './keys/api-keys.js'
import type { KeyFiles } from './keys/key-files.js'
import { KeyRequests } from './keys/key-requests.js'
import { kick } from './kick.js'
import type { FollowerLag } from './lag.js'
import { MembershipRequests } from './memberships.js'
import { processMemory } from './memory.js'
import type { GatewayMetrics } from './metrics.js'
import { type NodeIdentity, tellOfSelf } from './node.js'
import type { NodeTable } from './node-table.js'
import { originRule } from './origins.js'
import { presenceNow } from './presence.js'
import type { Push } from './push.js'
import { reachable } from './reachable.js'
import { Rebuilds } from './rebuild.js'
import { Recalls } from './recall.js'
import { redeliver } from './redelivery.js'
import type { WebhooksRole } from './roles/webhooks.js'
import type { RoomQuestions } from './room-questions.js'
import type { Rooms } from './rooms.js'
import type { ServerTls } from './server-tls.js'
import { streamRules } from './stream-rules.js'
import type { Stores } from './stores.js'
import { topicSettings, topicsOf } from './topics.js'
import type { TracedRequests } from './tracing/requests.js'

/** Parts of a node that its HTTP API speaks for. */
export interface ApiParts {
  readonly config: Config
  readonly logger: Logger
  readonly identity: NodeIdentity
  readonly stores: Stores
  readonly backups: Backups
  readonly push: Push
  readonly groups: Groups
  readonly rooms: Rooms
  readonly roomQuestions: RoomQuestions
  readonly broadcasts: Broadcasts
  /** Undefined on a node without that role. */
  readonly webhooks: WebhooksRole | undefined
  readonly nodeTable: NodeTable
  readonly metrics: GatewayMetrics
  readonly health: HealthRegistry
  readonly tls: ServerTls | undefined
  readonly apiKeys: ApiKeys
  readonly keyFiles: KeyFiles
  readonly apps: Apps
  /** Of a node with the role of this name. */
  readonly console: Console | undefined
  /** Of this build, as package.json has it. */
  readonly version: string
  /** URLs of this node that nobody configured; read at each request, for they are known once it listens. */
  readonly madeUp: ReadonlySet<string>
  readonly readiness: () => Readiness
  readonly lag: () => Promise<readonly FollowerLag[]>
  /** Undefined where nothing is traced. */
  readonly requests: TracedRequests | undefined
}

/** The HTTP ports of a node. */
export interface Api {
  /** The port of all routes, or of those of clients alone. */
  readonly app: FastifyInstance
  /** The port of all that wants an API key, where that has one of its own. */
  readonly apiApp: FastifyInstance | undefined
  /** The port of metrics, where they have one of their own. */
  readonly metricsApp: FastifyInstance | undefined
}

/** The HTTP API of a node, answered by its parts: a route decides nothing but how it is asked and answered. */
export function buildApi (parts: ApiParts): Api {
  const deps = depsOf(parts)
  const { metrics } = parts
  const portOf = (side: Side) => buildHttp({
    ...deps,
    side,
    proxied: { ...deps.proxied, headerRefused () { metrics.proxyHeaderRefused(listenerOf(side)) } },
  })
  const { apiPort, metricsPort } = parts.config
  const hasApiPort = apiPort !== undefined
  return {
    app: portOf(hasApiPort ? 'clients' : 'all'),
    apiApp: hasApiPort ? portOf('api') : undefined,
    metricsApp: metricsPort === undefined ? undefined : portOf('metrics'),
  }
}

type Shared = Omit<HttpDeps, 'side' | 'proxied'> & { readonly proxied: Omit<Proxied, 'headerRefused'> }

/** What both ports share: there is one of each part. */
function depsOf ({
  config, logger, identity, stores, backups, push, rooms, roomQuestions, broadcasts, groups, webhooks, nodeTable,
  metrics, health, tls, apiKeys, keyFiles, apps, console, version, madeUp, readiness, requests, lag,
}: ApiParts): Shared {
  const { log, tables, links } = stores
  const bans = new BanRequests({ log, links, nodeId: config.nodeId })
  const memberships = new MembershipRequests({ log, links, nodeId: config.nodeId })
  const outboxBytesMax = (app: string) => apps.outboxBytesMax(app, config.outboxBytesMax)
  const rules = streamRules(config)
  const recalls = new Recalls({ log, links, nodeId: config.nodeId, outboxBytesMax, receipts: rules.receipts })
  const keys = new KeyRequests(keyFiles, apiKeys)
  const failed = (what: string, err: Error, fields: object) => { logger.error({ err, ...fields }, what) }
  const rebuilds = new Rebuilds(stores, failed)
  const audits = new Audits({ log, exact: !stores.shared, memory: () => processMemory(config.memoryBytesMax), failed })
  return {
    logger,
    metricsOpen: config.metricsOpen,
    logsTraces: requests !== undefined,
    roles: config.roles,
    apiKeys,
    apps,
    requestCounted: metrics.requestCounted,
    recordAsked: asked => tellOfSelf(log, identity, { type: 'OperatorAsked', ...asked }),
    isAllowedOrigin: originRule(config.allowedOrigins, config.publicWsUrl),
    version,
    frameBytesMax: config.frameBytesMax,
    metrics: metrics.registry,
    readiness,
    health: () => health.answer(),
    logAway: () => stores.logAway(),
    console: console && {
      sessions: console.sessions,
      nodeId: config.nodeId,
      version,
      load: sinceMs => console.history.since(sinceMs),
    },
    tls,
    proxied: {
      proxies: AddressList.of(config.trustedProxies),
      uncounted: AddressList.of(config.acceptUncounted),
    },
    socketLimits: config.acceptRate === 0 ? { strangersMax: Infinity } : {},
    logReader: log,
    streams: [...streams, downlinksRejected],
    async push (command, tellsRepeats) {
      const send = () => push.push(command, tellsRepeats)
      const answer = await (requests?.push(command, 'server', send) ?? send())
      return command.replaces === '' ? answer : await recalls.told(command, answer)
    },
    kick: command => kick({ log, tables }, command),
    ban: command => bans.ban(command),
    recall: command => recalls.recall(command),
    liftBan: command => bans.lift(command),
    bansOf: userId => bans.of(userId),
    grantRoom: command => memberships.grant(command),
    revokeRoom: command => memberships.revoke(command),
    roomsOf: userId => memberships.of(userId),
    rooms: {
      post (command, tellsRepeats) {
        const post = () => rooms.post(command, tellsRepeats)
        return requests?.post(command, post) ?? post()
      },
      close: command => rooms.close(command),
      info: roomId => roomQuestions.info(roomId),
      keptPosts: (roomId, afterSeq, max) => roomQuestions.keptPosts(roomId, afterSeq, max),
      timeOf: (roomId, roomSeq) => roomQuestions.timeOf(roomId, roomSeq),
      members: (roomId, after, limit) => roomQuestions.members(roomId, after, limit),
    },
    broadcasts: {
      request (command) {
        const request = () => broadcasts.request(command)
        return requests?.broadcast(command, request) ?? request()
      },
      describe: (app, messageId) => broadcasts.describe(app, messageId),
      cancel: command => broadcasts.cancel(command),
    },
    redeliver: command => redeliver(log, command, {
      outboxBytesMax: outboxBytesMax(appOf(command.userId)), ...rules,
    }),
    state: (userId, at) => stateAt(log, userId, at),
    timeline: (userId, range) => timelineOf(log, userId, range),
    trace: (userId, inquiry, range) => inquire(log, userId, inquiry, range),
    roomState: (roomId, at) => roomStateAt(log, roomId, at),
    tracePost: (roomId, messageId, range) => tracePost(log, roomId, messageId, range),
    rebuild: (table, signal) => rebuilds.start(table, signal),
    backup: command => backups.start(command),
    audit: (sinceMs, signal) => audits.start(sinceMs, signal),
    keys: app => keys.list(app),
    createKey: (app, wanted, caller) => keys.create(app, wanted, caller),
    revokeKey: (app, keyId) => keys.revoke(app, keyId),
    lag,
    webhooks: () => webhooks?.states() ?? [],
    redeliverWebhook: (name, signal) => webhooks!.redeliver(name, signal),
    groups: {
      join: joining => groups.join(joining),
      ack: (name, cursors) => groups.ack(name, cursors),
      list: app => groupsOfApp(groups, app),
      describe: name => describeGroup(log, groups, name),
      forget: name => groups.forget(name),
    },
    topics: () => topicsOf({ log, settings: stream => topicSettings(config, stream, stores.bytesMax) }),
    async ipConfig (request, host) {
      const answer = await nodeTable.ipConfig(request)
      return { ...answer, endpoints: reachable(answer.endpoints, host, madeUp) }
    },
    drain: command => requestDrain({ log, tables, nodeTable }, command),
    drainState: (nodeId, moves) => describeDrain({ log, tables, nodeTable }, nodeId, moves),
    presence: userId => presenceNow(tables, partitionOf(userId, log.partitions(ledger)), userId),
    nodes: () => nodeTable.described(),
  }
}
