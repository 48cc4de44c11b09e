import type { Block, EventLog, Follower, Following, Hole } from '../../ledger/log.js'
import type { Stream } from '../../schemas/streams.js'
import { timeOf } from '../item-time.js'
import type { PublicStream } from '../streams/public.js'
import type { OutgoingRecord } from './lanes.js'
import { type Counts, Progress } from './progress.js'
import type { Sender } from './sender.js'
import type { Webhook } from './setting.js'
import { recordId } from './signature.js'

/** Records of one partition that are read and not done, and their bytes in memory; past either its stream waits. */
const recordsMax = 10_000
const bytesMax = 4 << 20
/** For answers to what is under way when a partition goes to another node. */
const leavingMsMax = 5_000

/** What is followed, and what records of a block it has. */
export interface Source<T> {
  readonly log: Pick<EventLog, 'follow' | 'offsetAt'>
  readonly stream: Stream<any>
  readonly group: string
  /** Blocks from before then are passed over, ms since 1970; 0 for none. */
  readonly sinceMs?: number
  /** By partition: what stands from there on is not taken, and stays. */
  readonly ends?: readonly bigint[]
  /** Retention has deleted what was still to be taken. */
  passed (partition: number, hole: Hole): void
  recordsOf (item: T): Iterable<{ readonly of: PublicStream, readonly item: any }>
}

export interface StreamFollowing {
  /** The first offset that is not done of each partition that this node has. */
  positions (): ReadonlyMap<number, bigint>
  readonly counts: Readonly<Counts>
  stop (): Promise<void>
}

/** Hands what a source has to a sender, as far as there is room; its place is that of the oldest record not done. */
export async function followSource (source: Source<any>, sender: Sender): Promise<StreamFollowing> {
  const { log, stream, group, sinceMs = 0, ends, passed, recordsOf } = source
  const partitions = new Map<number, Progress>()
  const positions = new Map<number, bigint>()
  const counts: Counts = { taken: 0, givenUp: 0 }
  const member: { following?: Following } = {}
  const follower: Follower<any> = {
    async assigned (partition, committed) {
      const since = sinceMs === 0 ? 0n : await log.offsetAt(stream, partition, sinceMs)
      const from = since > committed ? since : committed
      positions.set(partition, from)
      partitions.set(partition, new Progress(next => {
        positions.set(partition, next)
        member.following?.commit(partition, next)
      }, { recordsMax, bytesMax }, counts))
      return from
    },
    received ({ partition, offset, items }: Block<any>) {
      if (ends && offset >= ends[partition]!) return
      const progress = partitions.get(partition)!
      const found = items.flatMap(item => [...recordsOf(item)])
      const sizes = found.map(({ of, item }) => of.stream.bytesOf(item))
      const place = progress.begin(offset, found.length, sizes.reduce((sum, bytes) => sum + bytes, 0))
      if (found.length === 0) return
      const takenMs = performance.now()
      sender.add(found.map(({ of, item }, i): OutgoingRecord => ({
        of,
        item,
        id: recordId(of.stream.name, of.stream.messageId!(item)),
        lane: `${of.stream.name} ${of.stream.key(item)}`,
        bytes: sizes[i]!,
        place,
        atMs: timeOf(item) ?? 0,
        takenMs,
        attempts: 0,
        firstAtMs: 0,
        firstMs: 0,
        isAlone: false,
      })))
      return progress.whenRoom()
    },
    passed,
    leaving (partition) { partitions.get(partition)?.end() },
    async revoked (partition) {
      const progress = partitions.get(partition)
      partitions.delete(partition)
      positions.delete(partition)
      if (!progress) return
      progress.end()
      await sender.forget(progress, leavingMsMax)
    },
  }
  member.following = await log.follow(stream, group, follower)
  for (const [partition, next] of positions) member.following.commit(partition, next) // done before it could be told
  return { positions: () => positions, counts, stop: () => member.following!.stop() }
}

/** What a webhook has of one of its streams; it leaves out a filter that the stream's records lack. */
export function recordsFor ({ app, services, users }: Webhook, of: PublicStream): Source<any>['recordsOf'] {
  return item => {
    if ((of.appOf?.(item) ?? '') !== app) return []
    if (services && of.serviceOf && !services.has(of.serviceOf(item))) return []
    if (users && of.userOf && !users.has(of.userOf(item))) return []
    return [{ of, item }]
  }
}
