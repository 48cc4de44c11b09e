import { pino } from 'pino'
import type { Test } from 'tap'
import { audit, type AuditOptions, type Books, type Violation } from '../../evidence/audit.js'
import type { AuditedLog } from '../../evidence/audit/derived.js'
import { readConfig } from '../../gateway/read-config.js'
import { startNode } from '../../gateway/main.js'
import { embeddedLog } from '../../ledger/embedded/log.js'
import { openStoredLog, type StoredLog } from '../../ledger/embedded/reader.js'
import { openStore } from '../../ledger/embedded/store.js'
import type { Block } from '../../ledger/log.js'
import { noReport } from '../../projections/nodes.js'
import type { Entry } from '../../schemas/facts.js'
import { type NodeEntry, type NodeFact, reportsPerLease } from '../../schemas/node-facts.js'
import {
  type ConnectionEnded, type DownlinkHandedOver, type DownlinkSettled, type PresenceChanged, type UplinkAccepted,
} from '../../schemas/records.js'
import { connections, ledger, nodes, offline, presence, receipts, type Stream, uplinks } from '../../schemas/streams.js'
import { BusyClient } from '../faults/busy-client.js'
import { factsOf } from '../gateway/edge/facts.js'
import { apiKey, jwtSecret, request, until } from '../faults/node-process.js'

export const partitions = 2

/** All blocks of the streams that an audit reads; a test may change them before they are stored again. */
export interface Streams {
  ledger: Array<Block<Entry>>
  uplinks: Array<Block<UplinkAccepted>>
  connections: Array<Block<ConnectionEnded>>
  nodes: Array<Block<NodeEntry>>
  presence?: Array<Block<PresenceChanged>>
  receipts?: Array<Block<DownlinkSettled>>
  offline?: Array<Block<DownlinkHandedOver>>
}

const streams = { ledger, uplinks, connections, nodes, presence, receipts, offline }

/** What a real gateway has left after clients came, sent, were sent to, vanished and came again. */
export async function healthyStreams (t: Test): Promise<Streams> {
  const directory = t.testdir()
  const node = await startNode(readConfig({
    LEDGERLINE_DATA: directory,
    LEDGERLINE_NODE_ID: 'n1',
    LEDGERLINE_HTTP_PORT: '0',
    LEDGERLINE_TCP_PORT: '0',
    LEDGERLINE_JWT_SECRET: jwtSecret,
    LEDGERLINE_API_KEYS: apiKey,
    LEDGERLINE_PARTITIONS: String(partitions),
  }), pino({ enabled: false }))
  let stopped = false
  t.teardown(() => stopped ? undefined : node.stop())
  const push = (userId: string, messageId: string, more: object = {}) =>
    request(node, '/v1/downlinks', { to: { userIds: [userId] }, messageId, payload: messageId, ...more })
  const clients = ['ann', 'bob', 'cid'].map(userId =>
    new BusyClient({ userId, deviceId: 'phone', transport: 'tcp', outstanding: 2 }))
  t.teardown(() => { for (const client of clients) client.stop() })
  await push('dan', 'nobody is there yet')
  for (const client of clients) await client.open(node)
  await until(() => clients.every(({ acked }) => acked.size > 20))
  for (const { userId } of clients) for (let i = 0; i < 5; i++) await push(userId, `m${i}`)
  await push('ann', 'for nobody', { platforms: ['another'] })
  await push('ann', 'm1') // it is told that this is a repeat, and nothing is stored
  await until(() => clients.every(({ seen }) => seen.length === 5))
  // An edge collects acks for a while; on a fast machine all would be over by then, and only the ends told of them.
  await until(async () => (await factsOf(node, 'bob', apiKey)).some(({ type, ackedSeq }) =>
    type === 'DeliveryReported' && ackedSeq > 0), 20)
  clients[0]!.vanish()
  await until(async () => !(await request(node, '/v1/users/ann/presence')).body.online)
  await push('ann', 'expires', { ttlMs: 1 })
  await push('ann', 'comes late', { offlineAfterMs: 1 })
  await until(async () => (await factsOf(node, 'ann', apiKey)).some(({ type }) => type === 'HandOverDue'), 20)
  await clients[0]!.open(node)
  await until(() => clients[0]!.seen.length === 6 && clients[0]!.acked.size > 40)
  for (const client of clients) client.busy = false
  await until(() => clients.every(({ unacked }) => unacked === 0))
  for (const client of clients) await client.leave()
  await node.stop()
  stopped = true
  return await readStreams(t, directory)
}

async function readStreams (t: Test, directory: string): Promise<Streams> {
  const log = await openStoredLog(directory)
  t.teardown(() => log.close())
  const blocksOf = async <T> (stream: Stream<T>): Promise<Array<Block<T>>> => {
    const blocks = []
    for (let partition = 0; partition < log.partitions(stream); partition++) {
      for await (const block of log.read(stream, partition, { from: 0n })) blocks.push(block)
    }
    return blocks
  }
  return {
    ledger: await blocksOf(ledger),
    uplinks: await blocksOf(uplinks),
    connections: await blocksOf(connections),
    nodes: await blocksOf(nodes),
    presence: await blocksOf(presence),
    receipts: await blocksOf(receipts),
    offline: await blocksOf(offline),
  }
}

/** Stores these blocks in a data directory, as a gateway does; blocks without an item leave no trace. */
export async function storeIn (directory: string, blocks: Streams): Promise<void> {
  const store = await openStore({ directory })
  const log = embeddedLog(store, { partitions })
  for (const [name, stream] of Object.entries(streams)) {
    for (const { partition, items } of (blocks[name as keyof Streams] ?? []) as Array<Block<any>>) {
      if (items.length > 0) await log.append(stream as Stream<any>, partition, items)
    }
  }
  await store.close()
}

/** The log of a data directory that holds these blocks. */
export async function stored (t: Test, blocks: Streams): Promise<StoredLog> {
  const directory = t.testdir()
  await storeIn(directory, blocks)
  const log = await openStoredLog(directory)
  t.teardown(() => log.close())
  return log
}

/** What an audit of these streams says. */
export async function auditOf (
  log: Parameters<typeof audit>[0], options: Partial<AuditOptions> = {}
): Promise<{ books: Books, violations: Violation[] }> {
  const violations: Violation[] = []
  const books = await audit(log, { exact: true, violation: violation => { violations.push(violation) }, ...options })
  return { books, violations }
}

/** The node of all connections that `opened` makes. */
export const nodeStarted: NodeEntry = {
  nodeId: 'n1',
  epoch: 1,
  atMs: 0,
  fact: {
    type: 'NodeStarted', region: '', roles: '', version: '', wsUrl: '', tcpUrl: '', connectionsMax: 1, leaseMs: 1,
  },
}

/** What another node says that lives for so long. */
export function othersReports (livesMs: number, nodeId = 'other'): NodeEntry[] {
  const everyMs = 5_000
  const fact = { ...nodeStarted.fact, leaseMs: reportsPerLease * everyMs } as NodeFact
  const reports = Array.from({ length: Math.ceil(livesMs / everyMs) }, (_, i) =>
    ({ nodeId, epoch: 1, atMs: (i + 1) * everyMs, fact: { type: 'NodeReported' as const, ...noReport } }))
  return [{ ...nodeStarted, nodeId, fact }, ...reports]
}

/** Blocks of these sizes, in turn. */
export function inBlocks<T> (items: readonly T[], sizes: readonly number[]): Array<Block<T>> {
  const blocks: Array<Block<T>> = []
  for (let at = 0; at < items.length;) {
    const size = sizes[blocks.length % sizes.length]!
    blocks.push({ partition: 0, offset: BigInt(blocks.length), items: items.slice(at, at + size) })
    at += size
  }
  return blocks
}

/** A log of one partition in memory; nothing stands in streams that are not named. */
export function readerOf<S extends Record<string, Array<Block<any>>>> (
  streams: S
): AuditedLog & { readonly streams: S } {
  return {
    streams,
    partitions: () => 1,
    async * read ({ name }, _partition, { from, to }) {
      for (const block of streams[name] ?? []) {
        if (block.offset >= from && (to === undefined || block.offset < to)) yield block
      }
    },
    async bounds ({ name }) { return { first: 0n, next: BigInt(streams[name]?.length ?? 0) } },
  }
}
