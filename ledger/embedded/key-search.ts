import { setImmediate as turn } from 'node:timers/promises'
import { storedPartOf } from '../../schemas/apps.js'
import { hashOf } from '../../schemas/partitioning.js'
import type { Hole } from '../log.js'
import type { PartitionLog } from './partition.js'

/** How long a search may keep the event loop: it may go over a whole partition beside live traffic. */
const turnMs = 1
/** Blocks that it looks into before it looks at the clock. */
const blocksAtOnce = 32

/** Looks in one partition, from its beginning to its end, for the blocks that have a key in them. */
export class KeySearch {
  private readonly bytes: Buffer
  private readonly hash: number
  /** Up to it the index has said that blocks may have the key. */
  private candidatesEnd = 0

  /**
   * @param stopped whether the search is to end where it is
   * @param passed told of what retention deleted before it was looked into
   */
  constructor (
    private readonly log: PartitionLog, key: string, private readonly stopped: () => boolean,
    private readonly passed: (hole: Hole) => void
  ) {
    this.bytes = Buffer.from(storedPartOf(key))
    this.hash = hashOf(key)
  }

  /** @returns the first offset from `from` on whose block has the bytes of the key; `to` for none */
  async find (from: number, to: number): Promise<number> {
    let offset = from
    let startedMs = performance.now()
    while (offset < to && !this.stopped()) {
      offset = kept(this.log, offset, to, this.passed)
      if (offset >= this.candidatesEnd) {
        const { start, end } = this.log.keys.candidates(offset, to, this.hash)
        offset = start
        this.candidatesEnd = end
      }
      const last = Math.min(this.candidatesEnd, offset + blocksAtOnce)
      for (; offset < last; offset++) if (this.log.readBytes(offset)?.includes(this.bytes)) return offset
      if (performance.now() - startedMs < turnMs) continue
      await turn()
      startedMs = performance.now()
    }
    return to
  }
}

/**
 * Passes over what retention has deleted, or is deleting just now, and says so.
 *
 * @returns the first offset from `at` on, up to `end`, that is kept
 */
export function kept (log: PartitionLog, at: number, end: number, passed: (hole: Hole) => void): number {
  const to = Math.min(log.firstStaying, end)
  if (at >= to) return at
  passed({ from: BigInt(at), to: BigInt(to) })
  return to
}
