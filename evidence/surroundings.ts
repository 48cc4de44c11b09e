import { formatPosition, type LogReader } from '../ledger/log.js'
import { commandOf } from '../ledger/rejected.js'
import { userOf } from '../schemas/apps.js'
import { partitionOf } from '../schemas/partitioning.js'
import type { DownlinkRecord } from '../schemas/records.js'
import { downlinksRejected, ledger, nodes, uplinks } from '../schemas/streams.js'
import { type Beginning, beginningOf } from './beginning.js'

/** What the other streams know, and a user's own entries do not say. */
export interface Surroundings {
  /** The time up to which the verdict is given, ms since 1970. */
  readonly nowMs: number
  /** Where the kept ledger begins; null where nothing of it was deleted. */
  readonly keptSince: Beginning | null
  /** Where an uplink that was accepted at `atMs` stands in stream `uplinks`, and its number there. */
  published (sessionId: string, seq: number, atMs: number): Promise<{ position: string, userSeq: number } | undefined>
  /** Why a command of stream `downlinks` was not taken. */
  rejected (messageId: string): Promise<{ position: string, atMs: number, code: string, reason: string } | undefined>
  /** That a node is gone which has not told of the end of its connections. */
  nodeGone (nodeId: string, nodeEpoch: number): Promise<NodeGone | undefined>
  /** The drain of a node that an operator had asked for at `atMs`, and nobody had ended. */
  drainOf (nodeId: string, nodeEpoch: number, atMs: number): Promise<DrainAsked | undefined>
}

/** Whose key asked, empty for one of the environment, and why. */
export interface DrainAsked { readonly by: string, readonly reason: string }

/** `node-lost` where somebody has said so, `node-silent` where it has not reported within its lease. */
export interface NodeGone { readonly code: 'node-lost' | 'node-silent', readonly atMs: number }

/** Clocks of nodes differ, and an uplink or a post is published a moment after it was received. */
export const clocksDifferMs = 60_000

/** Where the start of a node is not kept any more, which names its lease. */
const leaseMsAtMost = 600_000

/** @param nowMs by default the present */
export async function surroundingsOf (log: LogReader, userId: string, nowMs = Date.now()): Promise<Surroundings> {
  const partition = partitionOf(userId, log.partitions(ledger))
  return {
    nowMs,
    keptSince: await beginningOf(log, partition),
    async published (sessionId, seq, atMs) {
      const of = partitionOf(userId, log.partitions(uplinks))
      const from = await log.offsetAt(uplinks, of, atMs - clocksDifferMs)
      for await (const { offset, items } of log.read(uplinks, of, { from, key: userId })) {
        for (const [index, item] of items.entries()) {
          if (item.userId !== userId || item.sessionId !== sessionId || item.seq !== seq) continue
          return { position: formatPosition({ partition: of, offset, index }), userSeq: item.userSeq }
        }
      }
      return undefined
    },
    rejected: messageId => {
      const user = userOf(userId)
      return findRejected(log, messageId, ({ app, userIds }) => app === user.app && userIds.includes(user.userId))
    },
    nodeGone: (nodeId, nodeEpoch) => findGone(log, nodeId, nodeEpoch, nowMs),
    drainOf: (nodeId, nodeEpoch, atMs) => findDrain(log, nodeId, nodeEpoch, atMs),
  }
}

/**
 * Why a command of stream `downlinks` was not taken that has this id and `isWanted`. A command may name many users and
 * is kept by the first, so all that were rejected are looked at: they are few.
 */
export async function findRejected (
  log: LogReader, messageId: string, isWanted: (command: DownlinkRecord) => boolean
): ReturnType<Surroundings['rejected']> {
  for (let partition = 0; partition < log.partitions(downlinksRejected); partition++) {
    for await (const { offset, items } of log.read(downlinksRejected, partition, { from: 0n })) {
      for (const [index, { command, code, reason, rejectedAtMs }] of items.entries()) {
        const read = commandOf(command)
        if (read?.messageId !== messageId || !isWanted(read)) continue
        return { position: formatPosition({ partition, offset, index }), atMs: rejectedAtMs, code, reason }
      }
    }
  }
  return undefined
}

/** That a node is gone, as far as `nodes` told by `nowMs`. */
export async function findGone (
  log: LogReader, nodeId: string, nodeEpoch: number, nowMs: number
): Promise<NodeGone | undefined> {
  const partition = partitionOf(nodeId, log.partitions(nodes))
  let leaseMs = leaseMsAtMost
  let reportedAtMs = 0
  const from = await log.offsetAt(nodes, partition, nodeEpoch - clocksDifferMs)
  for await (const { items } of log.read(nodes, partition, { from, key: nodeId })) {
    for (const { nodeId: of, epoch, atMs, fact } of items) {
      if (of !== nodeId || epoch < nodeEpoch || atMs > nowMs) continue
      if (epoch > nodeEpoch) return { code: 'node-lost', atMs }
      if (fact.type === 'NodeLost' || fact.type === 'NodeStopped') return { code: 'node-lost', atMs }
      if (fact.type === 'NodeStarted') leaseMs = fact.leaseMs
      reportedAtMs = atMs
    }
  }
  if (reportedAtMs === 0 || reportedAtMs + leaseMs >= nowMs) return undefined
  return { code: 'node-silent', atMs: reportedAtMs }
}

async function findDrain (
  log: LogReader, nodeId: string, nodeEpoch: number, untilMs: number
): Promise<DrainAsked | undefined> {
  const partition = partitionOf(nodeId, log.partitions(nodes))
  const from = await log.offsetAt(nodes, partition, nodeEpoch - clocksDifferMs)
  let drain: DrainAsked | undefined
  for await (const { items } of log.read(nodes, partition, { from, key: nodeId })) {
    for (const { nodeId: of, epoch, atMs, fact } of items) {
      if (of !== nodeId || epoch !== nodeEpoch || fact.type !== 'NodeDrainRequested') continue
      if (atMs > untilMs) return drain
      drain = fact.percent > 0 ? { by: fact.by, reason: fact.reason } : undefined
    }
  }
  return drain
}
