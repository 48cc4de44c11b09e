import type { EdgeLimits } from '../../actors/connection/edge-context.js'
import { Flow } from '../../actors/connection/flow.js'
import { tickMs } from '../../actors/connection/lifetime.js'
import { EdgeRooms } from '../../actors/edge-rooms/edge-rooms.js'
import { appendAcceptable } from '../../ledger/pieces.js'
import type { Entry } from '../../schemas/facts.js'
import { partitionOf } from '../../schemas/partitioning.js'
import { ledger, rooms as roomsStream } from '../../schemas/streams.js'
import { AuthService } from '../auth/service.js'
import { authSetting } from '../auth/setting.js'
import type { Config } from '../config.js'
import { Reports } from '../edge/reports.js'
import { TokenVerifier } from '../edge/token.js'
import { tokenIssuers } from '../issuers.js'
import type { EdgeRoleDeps } from './edge.js'

/* Parts of an edge, made as the node is configured. */

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

/** A user may send as much as so many of his connections, unless it is set. */
const connectionsOfUser = 4

/** See `EdgeContext.ticks`. */
export function ticksNow (): number { return Math.trunc(performance.now() / tickMs) }

export function limitsOf (config: Config): EdgeLimits {
  return {
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
  }
}

export function flowOf (config: Config): Flow {
  const { byteRate, byteBurst, userByteRate, userFrameRate = connectionsOfUser * config.frameRate } = config
  return new Flow({ byteRate, byteBurst, userByteRate, userFrameRate })
}

export function tokensOf ({ config, apps, health, version, metrics }: EdgeRoleDeps): TokenVerifier {
  const setting = authSetting(config)
  const auth = setting && new AuthService({
    setting, version, hasApp: app => apps.has(app), health, count: metrics.tokenAsked,
  })
  return new TokenVerifier(tokenIssuers(config), config.clockToleranceMs, health, undefined, apps.all, auth)
}

export function roomsOf ({ config, identity, stores, metrics, tracers }: EdgeRoleDeps): EdgeRooms {
  const { log, links, shared } = stores
  const partitions = log.partitions(roomsStream)
  return new EdgeRooms({
    nodeId: identity.nodeId,
    nodeEpoch: () => identity.epoch,
    ticks: ticksNow,
    tickMs,
    partitionOf: roomKey => partitionOf(roomKey, partitions),
    append: (partition, entries, options) =>
      log.append(roomsStream, partition, entries, { reserved: true, ...options }),
    ask: question => { links.toRoom(question) },
    answer: answer => { links.toAsker(answer) },
    mayLose: shared,
    limits: { ...roomLimits, roomsMax: config.roomsMax },
    count: metrics.edge,
    tracer: tracers?.rooms,
  })
}

type SetAsideEntry = (entry: Entry, partition: number, error: Error) => void

/** Where the ledger will never take something that a connection reports of itself. */
export function reportAsides ({ asides }: EdgeRoleDeps): SetAsideEntry {
  return ({ userId, fact }, partition, error) => {
    asides.add('report', 'a report of a connection was set aside', error, { userId, fact: fact.type, partition }, {
      stream: ledger,
      partition,
      where: `${partition}`,
      reason: `${fact.type} of a connection can not be stored: ${error.message}`,
      key: userId,
    })
  }
}

export function reportsOf (deps: EdgeRoleDeps): Reports {
  const { log } = deps.stores
  const setAside = reportAsides(deps)
  return new Reports((partition, entries) => appendAcceptable(log, ledger, partition, entries, { reserved: true },
    (entry, error) => { setAside(entry, partition, error) }))
}
