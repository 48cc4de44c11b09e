import { setImmediate as turn } from 'node:timers/promises'
import { canBe } from '../clock.js'
import type { PartitionLog } from './partition.js'
import { leapStandsMs, RetentionClock, type TimeBounds } from './retention-clock.js'
import { newestTime } from './stored-times.js'
import type { Trim } from './trims.js'

export interface Retention {
  /** Blocks older than this are deleted. */
  readonly retentionMs?: number | undefined
  /** The oldest blocks are deleted while the stream holds more, of the partition that holds most first. */
  readonly retentionBytes?: number | undefined
  /** The first offset of a partition that is still needed, whatever its age; asked at every sweep. */
  readonly keepFrom?: (partition: number) => bigint | Promise<bigint>
}

/** The partitions of one stream, and what they may keep. */
export interface KeptStream {
  readonly logs: readonly PartitionLog[]
  readonly retention: Retention
}

export interface SweeperDeps {
  /** All that may be deleted from, as they are now. */
  streams (): Iterable<KeptStream>
  /** Resolves once the deletion is durable, or has failed: false. */
  trim (trim: Trim): Promise<boolean>
  stopped (): boolean
  /** ms since 1970. */
  now (): number
  /** ms since any moment; never set. */
  steady (): number
}

/** Deleted with one commit, so that no commit takes long because of it. */
const blocksPerCommit = 64
const pressedEveryMs = 2_000
/** How long looking at times may keep the event loop. */
const turnMs = 2

/** Deletes what is older or more than its stream may keep. The last block of a partition always stays. */
export class Sweeper {
  private readonly clock: RetentionClock
  private readonly ages = new Map<PartitionLog, Age>()
  private running: Promise<void> = Promise.resolve()
  private relieving = false
  private pressedMs = -Infinity
  /** When the newest block was stored, as the partitions were opened: where older ones bear it out, and elsewhere. */
  private newestMs: number | undefined
  private youngMs: number | undefined
  private latestMs: number | undefined

  constructor (private readonly deps: SweeperDeps) {
    this.clock = new RetentionClock(deps.now, deps.steady)
  }

  /** Called for each partition before anything is appended: its blocks tell how late it is at least. */
  opened (log: PartitionLog): void {
    const blocks = { first: log.first, next: log.next, timeAt: (offset: number) => log.timeAt(offset) }
    const newest = newestTime(blocks, leapStandsMs)
    if (!newest) return
    const { atMs, since } = newest
    this.latestMs = Math.max(this.latestMs ?? 0, log.timeAt(log.next - 1) ?? 0)
    if (since) this.newestMs = Math.max(this.newestMs ?? 0, atMs)
    else this.youngMs = Math.max(this.youngMs ?? 0, atMs)
  }

  /** By age and by bytes. */
  sweep (): Promise<void> {
    return this.next(async () => {
      const time = this.clock.read({ newestMs: this.newestMs ?? this.youngMs, latestMs: this.latestMs })
      for (const stream of this.deps.streams()) {
        await this.deleteOld(stream, time)
        await this.deleteExcess(stream)
      }
    })
  }

  /** By bytes alone, of each stream that holds too many; called as often as some were appended. */
  relieve (): void {
    if (this.relieving) return
    const excessive = [...this.deps.streams()].filter(stream => excessOf(stream) > 0)
    if (excessive.length === 0) return
    this.relieving = true
    this.next(async () => {
      for (const stream of excessive) await this.deleteExcess(stream)
    }).catch(() => {}).finally(() => { this.relieving = false })
  }

  /** A commit has failed, mostly because the disk is full: what may go should not wait for the next minute. */
  pressed (): void {
    const nowMs = this.deps.steady()
    if (nowMs - this.pressedMs < pressedEveryMs || this.deps.stopped()) return
    this.pressedMs = nowMs
    this.sweep().catch(() => {})
  }

  /** One after the other: two would delete the same blocks. */
  private next (task: () => Promise<void>): Promise<void> {
    this.running = this.running.catch(() => {}).then(task)
    return this.running
  }

  private async deleteOld ({ logs, retention }: KeptStream, time: TimeBounds): Promise<void> {
    const { retentionMs } = retention
    if (retentionMs === undefined) return
    for (const log of logs) {
      const age = this.ages.get(log) ?? new Age()
      this.ages.set(log, age)
      await age.look(log, time, retentionMs, () => this.deps.stopped())
      while (await this.trim(log, retention, age.end, Infinity) > 0);
    }
  }

  private async deleteExcess (stream: KeptStream): Promise<void> {
    for (let excess = excessOf(stream); excess > 0; excess = excessOf(stream)) {
      let deleted = 0
      for (const log of [...stream.logs].sort((a, b) => b.index.bytesKept - a.index.bytesKept)) {
        deleted = await this.trim(log, stream.retention, Infinity, excess)
        if (deleted > 0) break
      }
      if (deleted === 0) return
    }
  }

  /** @returns how many blocks are gone: none where none may go before `end`, or the deletion failed */
  private async trim (
    log: PartitionLog, { keepFrom }: Retention, end: number, bytesMax: number
  ): Promise<number> {
    const needed = Number(await keepFrom?.(log.partition) ?? Infinity)
    const trim = trimOf(log, Math.min(end, needed), bytesMax)
    if (trim === undefined || this.deps.stopped()) return 0
    const { first } = log
    return await this.deps.trim(trim) ? trim.first - first : 0
  }
}

/** How many bytes of it are too many. */
function excessOf ({ logs, retention: { retentionBytes = Infinity } }: KeptStream): number {
  let bytes = 0
  for (const { index } of logs) bytes += index.bytesKept
  return bytes - retentionBytes
}

/**
 * The oldest blocks before `end`, at most a few hundred, and no more than it takes to get rid of `bytesMax`; undefined
 * for none.
 */
function trimOf (log: PartitionLog, end: number, bytesMax: number): Trim | undefined {
  const commits: number[] = []
  const last = Math.min(end, log.next - 1, log.first + blocksPerCommit)
  let bytes = 0
  let first = log.first
  for (; first < last && bytes < bytesMax; first++) {
    const commit = log.index.commitOf(first)
    const size = log.sizeAt(first)
    if (commit === undefined || size === undefined) continue
    commits.push(commit)
    bytes += size
  }
  return first > log.first ? { log, commits, first, bytes } : undefined
}

/** How far the blocks of one partition are too old. Each is looked at once, whatever the number of sweeps. */
class Age {
  /** Blocks before it may go. */
  end = 0
  private looked = 0
  private latestMs = 0

  /**
   * A block that can not be opened has no age, nor has one whose time can't be: later than the latest time that it may
   * be now, of a clock that was never set, or before that of an older block. It goes with the next one that is too old.
   */
  async look (
    log: PartitionLog, { earliestMs, latestMs }: TimeBounds, retentionMs: number, stopped: () => boolean
  ): Promise<void> {
    let untilMs = performance.now() + turnMs
    let offset = Math.max(this.looked, log.first)
    for (; offset < log.next - 1; offset++) {
      const atMs = log.timeAt(offset)
      if (atMs !== undefined && atMs >= this.latestMs && canBe(atMs, latestMs)) {
        if (earliestMs - atMs <= retentionMs) break
        this.latestMs = atMs
        this.end = offset + 1
      }
      if (performance.now() < untilMs) continue
      await turn()
      if (stopped()) break
      untilMs = performance.now() + turnMs
    }
    this.looked = offset
  }
}
