import type { PartitionProgress } from '../actors/partition.js'
import { canBe } from '../ledger/clock.js'
import { NotSetUp } from '../ledger/kafka/no-answer.js'
import type { KafkaLog } from '../ledger/kafka/log.js'
import type { LogReader } from '../ledger/log.js'
import type { Health } from '../schemas/conditions.js'
import type { Entry } from '../schemas/facts.js'
import type { RoomEntry } from '../schemas/room-facts.js'
import { ledger, rooms } from '../schemas/streams.js'
import type { Need } from './ledger-needs.js'

/** How old entries leave a stream, where the log deletes none by itself. */
export interface StreamCutting {
  readonly log: Pick<KafkaLog, 'firstSince' | 'deleteTo'> & Pick<LogReader, 'read' | 'bounds'>
  /** How long entries are kept at least. */
  readonly retentionMs: number
  /** Ms since 1970, by the earliest of the clocks that can be asked: what is deleted by one that is ahead is gone. */
  nowMs (): Promise<number>
}

export interface StreamCutDeps extends StreamCutting {
  readonly stream: typeof ledger | typeof rooms
  readonly health: Health
  /** Who needs most of a partition: nothing of that is deleted. @param saved the first offset that no state includes */
  neededFrom (partition: number, saved: bigint): Need | Promise<Need>
  /** The partitions that this node owns, and how far their states are saved. */
  progress (): ReadonlyArray<Pick<PartitionProgress, 'partition' | 'saved'>>
}

const everyMsMin = 1_000
const everyMsMax = 60_000
/** Blocks of one partition that one look reads, behind one whose time can not be. */
const blocksPerLook = 10_000

/** What is known of one partition. */
interface Cut {
  /** Nothing before it is there any more. */
  to: bigint
  /** What stands before is too old, as far as blocks were read; and which one is to be read next. */
  old: bigint
  next: bigint
  /** What held it back at the last look, and since when. */
  held: { readonly who: string, readonly next: bigint, readonly sinceMs: number } | undefined
}

/**
 * Deletes what is old of the partitions of a stream that this node owns, as far as saved states and tables include it:
 * a saved state is the only place that knows the numbers of a user or room once the stream was cut (design.md 4). What
 * holds the stream back, or who may not delete, is told as the condition `retention`.
 */
export class StreamCut {
  readonly #deps: StreamCutDeps
  readonly #cuts = new Map<number, Cut>()
  #timer: NodeJS.Timeout | undefined
  #stopped = false
  #mayDelete = false
  #looking: Promise<void> | undefined

  constructor (deps: StreamCutDeps) { this.#deps = deps }

  start (): void { this.#lookOn() }

  async stop (): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#timer)
    await this.#looking
    for (const partition of this.#cuts.keys()) this.#forget(partition)
    this.#deps.health.end('retention', this.#what())
  }

  /** Never rejects: that the log or the tables are away is a condition of its own. */
  look (): Promise<void> {
    this.#looking ??= this.#look().catch(() => {}).finally(() => { this.#looking = undefined })
    return this.#looking
  }

  /** Partitions come a moment after the start: whoever has none looks again soon. */
  async #lookOn (): Promise<void> {
    await this.look()
    if (this.#stopped) return
    const { retentionMs, progress } = this.#deps
    const everyMs = progress().length === 0 ? everyMsMin : Math.min(Math.max(retentionMs, everyMsMin), everyMsMax)
    this.#timer = setTimeout(() => { this.#lookOn() }, everyMs).unref()
  }

  async #look (): Promise<void> {
    const all = this.#deps.progress()
    for (const partition of this.#cuts.keys()) {
      if (!all.some(progress => progress.partition === partition)) this.#forget(partition)
    }
    // Who may not delete should not learn of it only when there is something to delete.
    if (all[0] && !this.#mayDelete) await this.#delete(all[0].partition, 0n)
    if (!this.#mayDelete) return
    const nowMs = await this.#deps.nowMs()
    await Promise.allSettled(all.map(({ partition, saved }) => this.#lookAt(partition, saved, nowMs)))
  }

  async #delete (partition: number, to: bigint): Promise<void> {
    const { log, health } = this.#deps
    try {
      await log.deleteTo(this.#deps.stream, partition, to)
      this.#mayDelete = true
      health.end('retention', this.#what())
    } catch (err) {
      if (!(err instanceof NotSetUp)) throw err
      this.#mayDelete = false
      health.begin('retention', err.message, this.#what())
    }
  }

  async #lookAt (partition: number, saved: bigint, nowMs: number): Promise<void> {
    const { log, health } = this.#deps
    const { first, next } = await log.bounds(this.#deps.stream, partition)
    const cut = this.#cuts.get(partition) ?? { to: first, old: 0n, next: 0n, held: undefined }
    this.#cuts.set(partition, cut)
    const old = await this.#oldTo(partition, cut, next, nowMs)
    const { to, reason } = await this.#allowed(partition, cut, old, saved)
    if (to > cut.to) {
      await this.#delete(partition, to)
      if (this.#mayDelete) cut.to = to
    }
    if (reason === '') health.end('retention', this.#what(partition))
    else health.begin('retention', reason, this.#what(partition))
  }

  /** @returns up to where it may be deleted, and why not up to `old`; empty where it may */
  async #allowed (partition: number, cut: Cut, old: bigint, saved: bigint): Promise<{ to: bigint, reason: string }> {
    if (old <= cut.to) return { to: cut.to, reason: '' }
    const { who, next } = await this.#deps.neededFrom(partition, saved)
    if (old <= next) {
      cut.held = undefined
      return { to: old, reason: '' }
    }
    if (cut.held?.who !== who || cut.held.next !== next) cut.held = { who, next, sinceMs: Date.now() }
    const age = `${Math.round(this.#deps.retentionMs / 1_000)} s`
    const since = new Date(cut.held.sinceMs).toISOString()
    const reason = `entries before ${old} are older than ${age}, and not deleted: ` +
      `${who} includes what stands before ${next}, and no more since ${since}`
    return { to: next, reason }
  }

  /**
   * The first offset that is not too old. One block that is dated a year ahead does not keep the others: it goes with
   * the next one that is too old. So behind such a block the times are read one by one, each once.
   *
   * @param next where the partition ends
   */
  async #oldTo (partition: number, cut: Cut, next: bigint, nowMs: number): Promise<bigint> {
    const { log, stream, retentionMs } = this.#deps
    const oldestMs = nowMs - retentionMs
    const found = await log.firstSince(stream, partition, oldestMs)
    if (!found) return next // as it was before: what came since is new
    if (canBe(found.atMs, nowMs)) return found.offset
    if (cut.next < found.offset) cut.old = cut.next = found.offset
    let left = blocksPerLook
    const blocks = log.read<Entry | RoomEntry>(stream, partition, { from: cut.next, to: next })
    for await (const { offset, items: [entry] } of blocks) {
      const { atMs } = entry!
      if (canBe(atMs, nowMs)) {
        if (atMs >= oldestMs) break
        cut.old = offset + 1n
      }
      cut.next = offset + 1n
      if (--left === 0) break
    }
    return cut.old
  }

  /** Of the ledger it is the partition alone. */
  #what (partition?: number): string {
    const { stream } = this.#deps
    const words = [stream === ledger ? '' : stream.name, partition === undefined ? '' : `partition ${partition}`]
    return words.filter(word => word !== '').join(' ')
  }

  #forget (partition: number): void {
    this.#cuts.delete(partition)
    this.#deps.health.end('retention', this.#what(partition))
  }
}
