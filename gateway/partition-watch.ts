import type { PartitionProgress } from '../actors/partition.js'
import type { LogReader } from '../ledger/log.js'
import type { ConditionName, Health } from '../schemas/conditions.js'
import { ledger, type Stream } from '../schemas/streams.js'

const lookEveryMs = 5_000
/** What is waited for longer than this is looked at; the conditions have their grace on top. */
const slowMs = 2_000

export interface PartitionWatchDeps {
  readonly log: Pick<LogReader, 'bounds' | 'read'>
  readonly health: Health
  readonly stream: Stream<any>
  /** Which conditions tell of blocks that are not folded, and of what is not published. */
  readonly conditions: { readonly folding: 'users' | 'rooms', readonly publishing: 'uplinks' | 'posts' }
  progress (): readonly PartitionProgress[]
}

/**
 * Sees partitions of the ledger, or of `rooms`, that do not move while the log does: blocks that no user or room takes,
 * accepted uplinks or posts that do not get into their stream, states that are not saved, and blocks that do not even
 * arrive.
 */
export class PartitionWatch {
  readonly #deps: PartitionWatchDeps
  readonly #timer: NodeJS.Timeout
  /** As of the last look: what had arrived, and where the stream ended. */
  #last = new Map<number, { readonly received: bigint, readonly end: bigint }>()
  #looking: Promise<void> | undefined

  constructor (deps: PartitionWatchDeps) {
    this.#deps = deps
    this.#timer = setInterval(() => {
      // The log being away is a condition of its own.
      this.#looking ??= this.look(Date.now()).catch(() => {}).finally(() => { this.#looking = undefined })
    }, lookEveryMs).unref()
  }

  async stop (): Promise<void> {
    clearInterval(this.#timer)
    await this.#looking
    for (const partition of this.#last.keys()) this.#ended(partition)
  }

  async look (nowMs: number): Promise<void> {
    const { log, stream, conditions, progress } = this.#deps
    const all = progress()
    for (const partition of this.#last.keys()) {
      if (!all.some(progress => progress.partition === partition)) this.#ended(partition)
    }
    const seen = new Map<number, { received: bigint, end: bigint }>()
    await Promise.all(all.map(async progress => {
      const { partition, received } = progress
      this.#tell(conditions.folding, progress, nowMs, progress.foldingSinceMs, await this.#missing(progress))
      this.#tell(conditions.publishing, progress, nowMs, progress.publishingSinceMs, '')
      this.#tell('snapshots', progress, nowMs, progress.savingSinceMs, '')
      const { next: end } = await log.bounds(stream, partition)
      seen.set(partition, { received, end })
    }))
    this.#last = seen
  }

  /** @returns why nothing arrives though something is there; empty where all is well */
  async #missing ({ partition, received }: PartitionProgress): Promise<string> {
    const last = this.#last.get(partition)
    if (!last || received > last.received || received >= last.end) return ''
    // What stands there may be nothing that followers get, such as records that were set aside.
    const { log, stream } = this.#deps
    const blocks = log.read(stream, partition, { from: received, to: last.end })[Symbol.asyncIterator]()
    const { done } = await blocks.next()
    await blocks.return?.()
    return done ? '' : `${this.#deps.stream === ledger ? 'the ledger' : this.#deps.stream.name} is at ${last.end}, and nothing has arrived since ${received}`
  }

  #tell (
    name: ConditionName, { partition, lastError }: PartitionProgress, nowMs: number, sinceMs: number, missing: string
  ): void {
    const { health } = this.#deps
    const what = this.#what(name, partition)
    const isSlow = sinceMs > 0 && nowMs - sinceMs > slowMs
    if (missing !== '') health.begin(name, missing, what)
    else if (isSlow) health.begin(name, lastError || `waits since ${new Date(sinceMs).toISOString()}`, what)
    else health.end(name, what)
  }

  #ended (partition: number): void {
    const { health, conditions: { folding, publishing } } = this.#deps
    for (const name of [folding, publishing, 'snapshots'] as const) health.end(name, this.#what(name, partition))
  }

  /** The store of states tells of its own tries under the name of the partition. */
  #what (name: ConditionName, partition: number): string {
    if (name !== 'snapshots') return `partition ${partition}`
    return `checkpoint of ${this.#deps.stream === ledger ? '' : `${this.#deps.stream.name} `}partition ${partition}`
  }
}
