import type { WriteBatch } from './batch.js'
import { openBlock } from './block.js'
import { StoreError } from './directory.js'
import type { Environment } from './environment.js'
import { blockKey, indexedKey, kind, parseBlockKey, streamKey } from './keys.js'
import { PartitionIndex } from './partition-index.js'

export interface CatalogEntry {
  readonly name: string
  readonly streamId: number
  readonly partitions: number
  /** Its STREAM row is durable. */
  stored: boolean
}

/** Commits between two writings of the index; at open, as many are read again. */
const indexEvery = 256

/** Which streams there are, and where the blocks of each are: also of those that nobody asks for in this process. */
export class Catalog {
  /** The number that the next commit with blocks gets. */
  nextCommit = 1
  private readonly entries = new Map<string, CatalogEntry>()
  private readonly indexes = new Map<string, PartitionIndex>()
  private sinceIndexed = 0
  private creating: CatalogEntry[] = []
  private indexing = false

  constructor (private readonly env: Environment) {
    const rows = { start: Buffer.from([kind.stream]), end: Buffer.from([kind.index]) }
    for (const { key, value } of env.getRange(rows)) {
      const name = key.toString('utf8', 1)
      this.entries.set(name, { name, ...JSON.parse(value.toString()), stored: true })
    }
    this.readUnindexed()
  }

  /** @returns undefined where there is no such stream in the store */
  find (name: string): CatalogEntry | undefined { return this.entries.get(name) }

  /** Of every stream in the store, and of those that are about to be. */
  names (): string[] { return [...this.entries.keys()] }

  /** A stream gets its row with its first block. */
  create (name: string, partitions: number): CatalogEntry {
    const ids = [...this.entries.values()].map(({ streamId }) => streamId)
    const entry = { name, streamId: Math.max(0, ...ids) + 1, partitions, stored: false }
    this.entries.set(name, entry)
    return entry
  }

  indexOf (streamId: number, partition: number): PartitionIndex {
    const name = `${streamId}/${partition}`
    const known = this.indexes.get(name)
    if (known) return known
    const index = new PartitionIndex(this.env, streamId, partition)
    this.indexes.set(name, index)
    return index
  }

  writeEntry (batch: WriteBatch, entry: CatalogEntry): void {
    if (entry.stored || this.creating.includes(entry)) return
    const { name, streamId, partitions } = entry
    batch.put(streamKey(name), Buffer.from(JSON.stringify({ streamId, partitions })))
    this.creating.push(entry)
  }

  /**
   * Every few hundred commits, or `now`: rows for the blocks before this commit that are in none yet. Told of the
   * outcome by `indexWritten`, before `committed`, or by `indexFailed`.
   */
  writeIndex (batch: WriteBatch, now: boolean): void {
    if (!now && this.sinceIndexed < indexEvery && !this.keysFull()) return
    for (const index of this.indexes.values()) index.writeRow(batch)
    const indexed = batch.room(6)
    indexed.writeUIntBE(this.nextCommit - 1, 0, 6)
    batch.put(indexedKey, indexed)
    this.indexing = true
  }

  indexWritten (): void {
    if (!this.indexing) return
    for (const index of this.indexes.values()) index.rowWritten()
    this.sinceIndexed = 0
    this.indexing = false
  }

  indexFailed (): void { this.indexing = false }

  /**
   * Comes before the blocks of the commit are added to their indexes.
   *
   * @param commits how many numbers it took, from `nextCommit` on: none without blocks, and more than one where a
   *   partition has several blocks in it
   */
  committed (commits: number): void {
    for (const entry of this.creating) entry.stored = true
    this.nextCommit += commits
    this.sinceIndexed += commits
    this.failed()
  }

  failed (): void { this.creating = [] }

  private keysFull (): boolean {
    for (const { keys } of this.indexes.values()) if (keys.full) return true
    return false
  }

  /** Reads the blocks after the last writing of the index. */
  private readUnindexed (): void {
    const indexed = this.env.getBinary(indexedKey)?.readUIntBE(0, 6) ?? 0
    this.nextCommit = indexed + 1
    const start = Buffer.from(blockKey(indexed + 1, 0, 0))
    for (const { key, value } of this.env.getRange({ start, end: Buffer.from([kind.block + 1]) })) {
      const { commit, streamId, partition } = parseBlockKey(key)
      if (commit >= this.nextCommit) {
        this.nextCommit = commit + 1
        this.sinceIndexed++
      }
      const index = this.indexOf(streamId, partition)
      const stored = openBlock(value)
      if (stored && stored.offset !== index.next) {
        throw new StoreError('damaged', `the index of partition ${partition} of stream ${streamId}: got offset ` +
          `${stored.offset}, want ${index.next}; restore the data directory from a backup`)
      }
      index.add(commit, value.length, stored?.derivedFrom ?? -1)
      index.keys.addUnseen() // nobody here knows the codec of the stream
    }
  }
}
