import type { WriteBatch } from './batch.js'
import { openBlock } from './block.js'
import { blockKey } from './keys.js'
import type { PartitionLog } from './partition.js'

export interface Retention {
  /** Blocks older than this are deleted. */
  readonly retentionMs?: number
  /** The oldest blocks are deleted while the stream holds more. */
  readonly retentionBytes?: number
  /** The first offset of a partition that is still needed, whatever its age; asked at every sweep. */
  readonly keepFrom?: (partition: number) => bigint | Promise<bigint>
}

/** Deleted with one commit, so that no commit takes long because of it. */
const blocksPerCommit = 256

/** A deletion of the oldest blocks of one partition. */
export interface Trim {
  readonly log: PartitionLog
  readonly commits: readonly number[]
  /** The first offset kept after it. */
  readonly first: number
  readonly bytes: number
}

/**
 * What may go from `log` now, at most a few hundred blocks; undefined for nothing. The last block always stays.
 *
 * @param keepFrom the first offset that somebody still needs
 * @param bytesMax what this partition may hold
 */
export function trimOf (
  log: PartitionLog, { retentionMs = Infinity }: Retention, bytesMax: number, keepFrom: number, nowMs: number
): Trim | undefined {
  const commits: number[] = []
  const end = Math.min(keepFrom, log.next - 1, log.first + blocksPerCommit)
  let bytes = 0
  let first = log.first
  for (; first < end; first++) {
    const commit = log.index.commitOf(first)
    const block = commit === undefined ? undefined : log.readBytes(first)
    if (commit === undefined || block === undefined) continue
    const tooMany = log.index.bytesKept - bytes > bytesMax
    // A block that can not be opened has no age; it goes with the next one that is too old.
    const atMs = openBlock(block)?.atMs ?? 0
    if (!tooMany && nowMs - atMs <= retentionMs) break
    commits.push(commit)
    bytes += block.length
  }
  return first > log.first ? { log, commits, first, bytes } : undefined
}

export function writeTrim ({ log, commits, first, bytes }: Trim, batch: WriteBatch): void {
  for (const commit of commits) batch.remove(blockKey(commit, log.streamId, log.partition))
  log.index.writeFirst(batch, first, bytes)
}
