import { randomUUID } from 'node:crypto'
import type { EventLog, LogReader } from '../ledger/log.js'
import { type DrainNumbers, lastDrain, nodeRow, type NodeRow } from '../projections/nodes.js'
import type { Tables } from '../projections/tables/tables.js'
import { GatewayError } from '../schemas/errors.js'
import { partitionOf } from '../schemas/partitioning.js'
import type { ConnectionMoved } from '../schemas/node-facts.js'
import { nodes } from '../schemas/streams.js'
import { tellOfNode } from './node.js'
import type { NodeTable } from './node-table.js'

/** How long the table may take to show a request, so that whoever asks for the report next finds it. */
const shownWithinMs = 1_000

/** The clock of a node and the one that positions go by seldom differ by more. */
const clockSlackMs = 60_000

export interface DrainRequestsDeps {
  readonly log: EventLog
  readonly tables: Tables
  readonly nodeTable: NodeTable
}

export interface DrainRequest {
  readonly nodeId: string
  /** How many of a hundred connections have to leave; 0 ends the drain. */
  readonly percent: number
  readonly withinMs: number
}

export interface DrainCommand extends DrainRequest {
  /** Id of the API key that asks; empty for one of the environment. */
  readonly by: string
  /** Why, in the operator's words; empty where none were given. */
  readonly reason: string
}

export interface DrainAnswer extends DrainRequest {
  readonly drainId: string
}

/** What the last report has; a drain that is only requested began with the request, and has counted nothing yet. */
export interface DrainState extends DrainAnswer, Omit<DrainNumbers, 'done' | 'epoch' | 'atMs'> {
  readonly state: 'requested' | 'draining' | 'done' | 'broken-off'
  readonly moves?: readonly ConnectionMoved[]
}

/**
 * Asks a node, whichever it is, to have its connections leave. The request is a fact of the `nodes` stream: durable, in
 * order, and read by the node from its own row of the table.
 *
 * @throws GatewayError `not-found` no such node is alive; `bad-request` its clients have nowhere to go
 */
export async function requestDrain (
  deps: DrainRequestsDeps, { nodeId, percent, withinMs, by, reason }: DrainCommand
): Promise<DrainAnswer> {
  const { log, tables, nodeTable } = deps
  const { row, last } = await rowOf(deps, nodeId)
  const { rows } = await nodeTable.rows(0) // another node may have told the operator of one that has just come
  if (!row || !isAlive(rows, row)) throw new GatewayError('not-found', `no node ${nodeId} is alive`)
  if (row.wsUrl === '' && row.tcpUrl === '') {
    throw new GatewayError('bad-request', `node ${nodeId} has not the role edge: it holds no connection`)
  }
  if (percent > 0) {
    const isElsewhere = rows.some(other => other.nodeId !== nodeId && other.alive && other.state === 'up' &&
      (other.wsUrl !== '' || other.tcpUrl !== ''))
    if (!isElsewhere) throw new GatewayError('bad-request', `clients of ${nodeId} have nowhere to go: no other edge is up`)
  }
  const drainId = randomUUID()
  // Later than the request and the drain before it, whoever's clock those had: the table goes by time.
  const atMs = Math.max(Date.now(), (row.drainRequest?.atMs ?? 0) + 1, (last?.startedAtMs ?? 0) + 1)
  await tellOfNode(log, row, { type: 'NodeDrainRequested', drainId, percent, withinMs, by, reason }, atMs)
  const shown = async () => (await rowOf({ log, tables }, nodeId)).row?.drainRequest?.drainId === drainId
  for (const end = Date.now() + shownWithinMs; Date.now() < end && !await shown();) {
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  return { nodeId, drainId, percent, withinMs }
}

/**
 * The last drain of a node, from the table; with `moves` what became of each connection, from the stream.
 *
 * @throws GatewayError `not-found` the node never drained, or nobody remembers
 */
export async function describeDrain (
  deps: DrainRequestsDeps, nodeId: string, moves: boolean
): Promise<DrainState> {
  const { row, last } = await rowOf(deps, nodeId)
  const { rows } = await deps.nodeTable.rows()
  const request = row?.drainRequest
  if (request && request.percent > 0 && request.atMs > (last?.startedAtMs ?? 0) && request.drainId !== last?.drainId) {
    const { drainId, percent, withinMs } = request
    return { nodeId, drainId, state: 'requested', percent, withinMs, startedAtMs: request.atMs, ...nothingYet }
  }
  if (!last) throw new GatewayError('not-found', `node ${nodeId} has not drained`)
  const { drainId, percent, withinMs, startedAtMs, total, asked, left, closed, resumed } = last
  const { uplinksLost, downlinksLost, members = 0, membersResumed = 0 } = last
  return {
    nodeId,
    drainId,
    state: stateOf(last, row !== undefined && row.epoch === last.epoch && isAlive(rows, row)),
    percent,
    withinMs,
    startedAtMs,
    total,
    asked,
    left,
    closed,
    resumed,
    uplinksLost,
    downlinksLost,
    members,
    membersResumed,
    ...(moves ? { moves: await movesOf(deps.log, nodeId, last) } : {}),
  }
}

const nothingYet = {
  total: 0, asked: 0, left: 0, closed: 0, resumed: 0, uplinksLost: 0, downlinksLost: 0, members: 0, membersResumed: 0,
}

/** One that has not said that it is done, and whose node is gone, never will be. */
function stateOf ({ done }: DrainNumbers, isThere: boolean): DrainState['state'] {
  if (done) return 'done'
  return isThere ? 'draining' : 'broken-off'
}

/** Its lease has not run out, by this node's clock. */
function isAlive (rows: readonly NodeRow[], { nodeId, epoch }: NodeRow): boolean {
  return rows.some(row => row.nodeId === nodeId && row.epoch === epoch && row.alive)
}

async function rowOf ({ log, tables }: Pick<DrainRequestsDeps, 'log' | 'tables'>, nodeId: string) {
  const fields = await tables.get('nodes', partitionOf(nodeId, log.partitions(nodes)), nodeId)
  return { row: nodeRow(nodeId, fields, Date.now()), last: lastDrain(fields) }
}

async function movesOf (log: LogReader, nodeId: string, last: DrainNumbers): Promise<ConnectionMoved[]> {
  const partition = partitionOf(nodeId, log.partitions(nodes))
  const from = await log.offsetAt(nodes, partition, last.startedAtMs - clockSlackMs)
  const moves = await movesFrom(log, partition, from, nodeId, last)
  if (!last.done || moves.length >= last.left) return moves
  // The clock of the node was further ahead, and its reports stand before.
  const { first } = await log.bounds(nodes, partition)
  return first < from ? await movesFrom(log, partition, first, nodeId, last) : moves
}

async function movesFrom (
  log: LogReader, partition: number, from: bigint, nodeId: string, { drainId }: DrainNumbers
): Promise<ConnectionMoved[]> {
  const moves: ConnectionMoved[] = []
  for await (const { items } of log.read(nodes, partition, { from })) {
    for (const { nodeId: whose, fact } of items) {
      if (whose === nodeId && fact.type === 'NodeDrainReported' && fact.drainId === drainId) moves.push(...fact.moves)
    }
  }
  return moves
}
