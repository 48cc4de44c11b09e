import type { WriteBatch } from './batch.js'
import type { Catalog } from './catalog.js'
import { blockKey } from './keys.js'
import type { PartitionLog } from './partition.js'
import type { Store, Writer } from './store.js'

/** A deletion of the oldest blocks of one partition. */
export interface Trim {
  readonly log: PartitionLog
  readonly commits: readonly number[]
  /** The first offset kept after it. */
  readonly first: number
  readonly bytes: number
}

/**
 * Deletes blocks, and writes the rows of the index: a block may go only once the index knows its offset, or the next
 * open would give that offset away again. Also on a full disk: deleting makes pages of the data file free.
 */
export class Trims implements Writer {
  readonly relief = true
  private waiting: Trim[] = []
  private written: Trim[] = []
  /** Whose place is written once more. */
  private repeated: PartitionLog | undefined

  constructor (private readonly store: Store, private readonly catalog: Catalog) {
    store.register(this)
  }

  /** @returns false where the blocks are still there */
  async run (trim: Trim): Promise<boolean> {
    this.waiting.push(trim)
    this.store.request(true)
    await this.store.settled()
    return trim.log.first >= trim.first
  }

  write (batch: WriteBatch): void {
    this.catalog.writeIndex(batch, this.waiting.length > 0)
    for (const { log, commits, first, bytes } of this.waiting) {
      for (const commit of commits) batch.remove(blockKey(commit, log.streamId, log.partition))
      log.index.writeFirst(batch, first, bytes)
    }
    if (this.repeated) this.repeated.index.writeFirst(batch, this.repeated.first, 0)
    this.written = this.waiting
    this.waiting = []
    this.repeated = undefined
  }

  committed (): void {
    this.catalog.indexWritten()
    for (const { log, first, bytes } of this.written) log.index.firstWritten(first, bytes)
    const last = this.written.at(-1)
    this.written = []
    // LMDB uses pages again with the commit after the next one. While the others are refused there is no next one.
    if (last === undefined || this.store.health().ok) return
    this.repeated = last.log
    this.store.request(false)
  }

  failed (): void {
    this.catalog.indexFailed()
    for (const { log } of this.written) log.index.firstFailed()
    this.written = []
  }
}
