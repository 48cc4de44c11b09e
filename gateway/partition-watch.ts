import type { PartitionProgress } from '../actors/partition.js'
import type { LogReader } from '../ledger/log.js'
import type { ConditionName, Health } from '../schemas/conditions.js'
import { ledger } from '../schemas/streams.js'

const lookEveryMs = 5_000
/** What is waited for longer than this is looked at; the conditions have their grace on top. */
const slowMs = 2_000

export interface PartitionWatchDeps {
  readonly log: Pick<LogReader, 'bounds' | 'read'>
  readonly health: Health
  progress (): readonly PartitionProgress[]
}

/**
 * Sees partitions that do not move while their ledger does: blocks that no user takes, accepted uplinks that do not get
 * into their stream, states that are not saved, and blocks that do not even arrive.
 */
export class PartitionWatch {
  readonly #deps: PartitionWatchDeps
  readonly #timer: NodeJS.Timeout
  /** As of the last look: what had arrived, and where the ledger ended. */
  #last = new Map<number, { readonly received: bigint, readonly end: bigint }>()
  #looking: Promise<void> | undefined

  constructor (deps: PartitionWatchDeps) {
    this.#deps = deps
    this.#timer = setInterval(() => {
      // The ledger being away is a condition of its own.
      this.#looking ??= this.look(Date.now()).catch(() => {}).finally(() => { this.#looking = undefined })
    }, lookEveryMs).unref()
  }

  async stop (): Promise<void> {
    clearInterval(this.#timer)
    await this.#looking
    for (const partition of this.#last.keys()) this.#ended(partition)
  }

  async look (nowMs: number): Promise<void> {
    const all = this.#deps.progress()
    for (const partition of this.#last.keys()) {
      if (!all.some(progress => progress.partition === partition)) this.#ended(partition)
    }
    const seen = new Map<number, { received: bigint, end: bigint }>()
    await Promise.all(all.map(async progress => {
      const { partition, received } = progress
      this.#tell('users', progress, nowMs, progress.foldingSinceMs, await this.#missing(progress))
      this.#tell('uplinks', progress, nowMs, progress.publishingSinceMs, '')
      this.#tell('snapshots', progress, nowMs, progress.savingSinceMs, '')
      const { next: end } = await this.#deps.log.bounds(ledger, partition)
      seen.set(partition, { received, end })
    }))
    this.#last = seen
  }

  /** @returns why nothing arrives though something is there; empty where all is well */
  async #missing ({ partition, received }: PartitionProgress): Promise<string> {
    const last = this.#last.get(partition)
    if (!last || received > last.received || received >= last.end) return ''
    // What stands there may be nothing that followers get, such as records that were set aside.
    const blocks = this.#deps.log.read(ledger, partition, { from: received, to: last.end })[Symbol.asyncIterator]()
    const { done } = await blocks.next()
    await blocks.return?.()
    return done ? '' : `the ledger is at ${last.end}, and nothing has arrived since ${received}`
  }

  #tell (
    name: 'users' | 'uplinks' | 'snapshots', { partition, lastError }: PartitionProgress, nowMs: number, sinceMs: number, missing: string
  ): void {
    const { health } = this.#deps
    const what = whatOf(name, partition)
    const isSlow = sinceMs > 0 && nowMs - sinceMs > slowMs
    if (missing !== '') health.begin(name, missing, what)
    else if (isSlow) health.begin(name, lastError || `waits since ${new Date(sinceMs).toISOString()}`, what)
    else health.end(name, what)
  }

  #ended (partition: number): void {
    for (const name of ['users', 'uplinks', 'snapshots'] as const) this.#deps.health.end(name, whatOf(name, partition))
  }
}

/** The store of states tells of its own tries under the name of the partition. */
function whatOf (name: ConditionName, partition: number): string {
  return name === 'snapshots' ? `checkpoint of partition ${partition}` : `partition ${partition}`
}
