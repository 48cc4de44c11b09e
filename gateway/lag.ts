import { derivedStreams } from '../actors/user/derived.js'
import type { StandingPartition } from '../ledger/kafka/followings.js'
import { GatewayError } from '../schemas/errors.js'
import { connections, ledger, nodes, posts, rooms, type Stream } from '../schemas/streams.js'
import type { TableName } from '../projections/tables/tables.js'
import type { GroupName, Groups } from './groups/groups.js'
import { LagLook, type Reads } from './lag-look.js'
import type { Stores } from './stores.js'
import { publicStreams } from './streams/public.js'

/** How far somebody who follows a stream is behind its end. */
export interface FollowerLag {
  /** `users` and `rooms` (their checkpoints), a table, a stream that is derived from another one, or a group. */
  readonly follower: string
  readonly stream: string
  readonly partitions: readonly PartitionLag[]
  /** Of all partitions. */
  readonly blocks: number
  /** That retention deleted before the follower had done them, of all partitions. */
  readonly gone: number
  /** Of the partition that is furthest behind. */
  readonly ms: number
  /** Why some of the partitions are left out; empty where none is. */
  readonly unknown: string
  /** Partitions that stand still on this node, or that the log tells nothing of, each with why. */
  readonly standing: ReadonlyArray<{ readonly partition: number, readonly reason: string }>
}

export interface PartitionLag {
  readonly partition: number
  /** The first offset that is not done, and the one that the next block gets. */
  readonly position: string
  readonly end: string
  readonly blocks: number
  /** Blocks that retention deleted before they were done: they will never be. */
  readonly gone: number
  /** In those blocks; null where they are too many to be counted, or were not read in time. */
  readonly entries: number | null
  /** How old the oldest entry is that is not done; 0 where all is done, null where its time is not known. */
  readonly ms: number | null
}

export interface LagOptions {
  readonly lookMs?: number
  /** What is not read has no number of entries, or no age either. */
  readonly reads?: Reads
  /** Whoever reads in groups is left out without them. */
  readonly readGroups?: Pick<Groups, 'names' | 'placesOf'>
}

/** How long may be read what is behind; whoever asks waits two seconds for the answer. */
export const lagLookMs = 500
const ledgerTables: readonly TableName[] = ['presence', 'routing']
/** For the name of a group, where nobody follows. */
const appends = ''

/**
 * Everybody who follows a stream of this log, on whatever node; groups as far as this node is a member.
 *
 * What it costs goes with the number of partitions, whatever stands in them: ends and positions are looked up, and of
 * what is behind a few blocks are read. What was not read within `lookMs` is left out.
 */
export async function lagOf (
  { log, tables, snapshots, roomSnapshots, groups, standing }: Stores,
  { lookMs = lagLookMs, reads = 'entries', readGroups }: LagOptions = {}
): Promise<FollowerLag[]> {
  const still = standing()
  const of = (stream: Stream<any>, ...names: readonly string[]) => still.filter(({ stream: name, group }) =>
    name === stream.name && names.includes(group ?? appends))
  const look = new LagLook(log, lookMs, reads)
  const users = checkpointsOf(snapshots)
  const roomsSaved = checkpointsOf(roomSnapshots)
  const done = (table: TableName) => async (partition: number) => (await tables.position(table, partition)).next
  const derived = (from: Stream<any>, to: Stream<any>, saved: typeof users) => async (partition: number) => {
    // Where nothing comes of the entries, the checkpoint tells that nothing is missing.
    const [checkpoint, { next }] = await Promise.all([saved(partition), look.bounds(from, partition)])
    if (checkpoint >= next) return checkpoint
    const last = await look.derivedFrom(to, partition, next - checkpoint)
    return last + 1n > checkpoint ? last + 1n : checkpoint
  }
  return await Promise.all([
    followerLag(look, 'users', ledger, users, of(ledger, 'users')),
    ...derivedStreams.map(stream => followerLag(look, `stream ${stream.name}`, ledger, derived(ledger, stream, users), [
      ...of(ledger, 'users'), ...of(stream, appends),
    ])),
    followerLag(look, 'rooms', rooms, roomsSaved, [...of(rooms, 'rooms'), ...of(rooms, appends)]),
    followerLag(look, `stream ${posts.name}`, rooms, derived(rooms, posts, roomsSaved), [
      ...of(rooms, 'rooms'), ...of(posts, appends),
    ]),
    ...ledgerTables.map(table => followerLag(look, table, ledger, done(table), of(ledger, 'projections'))),
    // What is written to this stream is the table's, too.
    followerLag(look, 'connections', ledger, done('connections'), [
      ...of(ledger, 'history'), ...of(connections, appends),
    ]),
    followerLag(look, 'nodes', nodes, done('nodes'), of(nodes, 'projections')),
    ...groups().map(({ group, stream, partitions }) =>
      followerLag(look, `group ${group}`, stream, async partition => partitions.get(partition), of(stream, group))),
    ...(await readGroups?.names().catch(notKnown) ?? []).map(name => lagOfGroup(look, readGroups!, name)),
  ])
}

/** How far a group of readers has acked a stream, on whatever node they are. */
export async function lagOfGroup (
  look: LagLook, groups: Pick<Groups, 'placesOf'>, { app, group, stream: name }: GroupName & { readonly stream: string }
): Promise<FollowerLag> {
  const of = publicStreams.find(({ stream }) => stream.name === name)!
  const places = groups.placesOf({ app, group }, of)
  const positionOf = async (partition: number) => (await places).get(partition)?.next ?? 0n
  return await followerLag(look, `readers ${app === '' ? '' : `${app}/`}${group}`, of.stream, positionOf, [])
}

/** Where nobody tells which groups there are, the other followers are told all the same. */
function notKnown (err: unknown): never[] {
  if (err instanceof GatewayError) return []
  throw err
}

/** Each is asked for once. */
function checkpointsOf (snapshots: Stores['snapshots']): (partition: number) => Promise<bigint> {
  const checkpoints = new Map<number, Promise<bigint>>()
  return partition => {
    let checkpoint = checkpoints.get(partition)
    if (!checkpoint) checkpoints.set(partition, checkpoint = snapshots.savedTo(partition))
    return checkpoint
  }
}

/**
 * @param positionOf undefined for a partition that this node knows nothing of
 * @param still what keeps the follower from its partitions
 */
export async function followerLag (
  look: LagLook, follower: string, stream: Stream<any>, positionOf: (partition: number) => Promise<bigint | undefined>,
  still: readonly StandingPartition[]
): Promise<FollowerLag> {
  const reasons = new Map<number, string>()
  let unknown = ''
  const lags = await Promise.all(Array.from({ length: look.log.partitions(stream) }, async (_, partition) => {
    try {
      const position = await positionOf(partition)
      return position === undefined ? undefined : await partitionLag(look, stream, partition, position)
    } catch (err) {
      // Of one that may not be read, say; the others are told all the same.
      if (!(err instanceof GatewayError)) throw err
      unknown ||= err.message
      reasons.set(partition, err.message)
    }
  }))
  // Why it gets nothing says more than why its end is not known.
  for (const { partition, reason } of still) reasons.set(partition, reason)
  const partitions = lags.filter(lag => lag !== undefined)
  return {
    follower,
    stream: stream.name,
    partitions,
    blocks: partitions.reduce((sum, { blocks }) => sum + blocks, 0),
    gone: partitions.reduce((sum, { gone }) => sum + gone, 0),
    ms: partitions.reduce((most, { ms }) => Math.max(most, ms ?? 0), 0),
    unknown,
    standing: [...reasons].map(([partition, reason]) => ({ partition, reason }))
      .sort((a, b) => a.partition - b.partition),
  }
}

async function partitionLag (
  look: LagLook, stream: Stream<any>, partition: number, position: bigint
): Promise<PartitionLag> {
  const { first, next } = await look.bounds(stream, partition)
  const from = position > first ? position : first
  const blocks = Number(next > from ? next - from : 0n)
  // Who has done nothing yet begins with what there is.
  const gone = position === 0n ? 0 : Number(from - position)
  const at = { partition, position: String(position), end: String(next), blocks, gone }
  if (blocks === 0) return { ...at, entries: 0, ms: 0 }
  const { entries, oldestAtMs } = await look.contents(stream, partition, from, next)
  return { ...at, entries, ms: oldestAtMs === undefined ? null : Math.max(0, Date.now() - oldestAtMs) }
}
