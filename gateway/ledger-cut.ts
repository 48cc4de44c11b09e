import type { PartitionProgress } from '../actors/partition.js'
import { canBe } from '../ledger/clock.js'
import { NotSetUp } from '../ledger/kafka/no-answer.js'
import type { KafkaLog } from '../ledger/kafka/log.js'
import type { Tables } from '../projections/tables/tables.js'
import type { Health } from '../schemas/conditions.js'
import { ledger } from '../schemas/streams.js'
import { neededFrom } from './ledger-needs.js'

/** How old entries of the ledger leave it, where the log deletes none by itself. */
export interface LedgerCutting {
  readonly log: Pick<KafkaLog, 'read' | 'bounds' | 'firstSince' | 'deleteTo'>
  /** How long entries are kept at least. */
  readonly retentionMs: number
  /** Ms since 1970, by the earliest of the clocks that can be asked: what is deleted by one that is ahead is gone. */
  nowMs (): Promise<number>
}

export interface LedgerCutDeps extends LedgerCutting {
  readonly tables: Pick<Tables, 'position'>
  readonly health: Health
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
 * Deletes what is old of the partitions of the ledger that this node owns, as far as saved states and tables include
 * it: a saved state is the only place that knows a user's numbers once the ledger was cut (design.md 4). What holds the
 * ledger back, or who may not delete, is told as the condition `retention`.
 */
export class LedgerCut {
  readonly #deps: LedgerCutDeps
  readonly #cuts = new Map<number, Cut>()
  #timer: NodeJS.Timeout | undefined
  #stopped = false
  #mayDelete = false
  #looking: Promise<void> | undefined

  constructor (deps: LedgerCutDeps) { this.#deps = deps }

  start (): void { this.#lookOn() }

  async stop (): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#timer)
    await this.#looking
    for (const partition of this.#cuts.keys()) this.#forget(partition)
    this.#deps.health.end('retention')
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
      await log.deleteTo(ledger, partition, to)
      this.#mayDelete = true
      health.end('retention')
    } catch (err) {
      if (!(err instanceof NotSetUp)) throw err
      this.#mayDelete = false
      health.begin('retention', err.message)
    }
  }

  async #lookAt (partition: number, saved: bigint, nowMs: number): Promise<void> {
    const { log, health } = this.#deps
    const { first, next } = await log.bounds(ledger, partition)
    const cut = this.#cuts.get(partition) ?? { to: first, old: 0n, next: 0n, held: undefined }
    this.#cuts.set(partition, cut)
    const old = await this.#oldTo(partition, cut, next, nowMs)
    const { to, reason } = await this.#allowed(partition, cut, old, saved)
    if (to > cut.to) {
      await this.#delete(partition, to)
      if (this.#mayDelete) cut.to = to
    }
    if (reason === '') health.end('retention', whatOf(partition))
    else health.begin('retention', reason, whatOf(partition))
  }

  /** @returns up to where it may be deleted, and why not up to `old`; empty where it may */
  async #allowed (partition: number, cut: Cut, old: bigint, saved: bigint): Promise<{ to: bigint, reason: string }> {
    if (old <= cut.to) return { to: cut.to, reason: '' }
    const { who, next } = await neededFrom(partition, saved, this.#deps.tables)
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
    const { log, retentionMs } = this.#deps
    const oldestMs = nowMs - retentionMs
    const found = await log.firstSince(ledger, partition, oldestMs)
    if (!found) return next // as it was before: what came since is new
    if (canBe(found.atMs, nowMs)) return found.offset
    if (cut.next < found.offset) cut.old = cut.next = found.offset
    let left = blocksPerLook
    for await (const { offset, items: [entry] } of log.read(ledger, partition, { from: cut.next, to: next })) {
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

  #forget (partition: number): void {
    this.#cuts.delete(partition)
    this.#deps.health.end('retention', whatOf(partition))
  }
}

function whatOf (partition: number): string { return `partition ${partition}` }
