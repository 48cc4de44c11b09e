import type { Block, Hole, LogReader, ReadRange } from '../../ledger/log.js'
import { partitionOf } from '../../schemas/partitioning.js'
import { bytesOfAll } from '../../schemas/sizes.js'
import type { Stream } from '../../schemas/streams.js'
import type { StreamCursor } from './cursor.js'
import { merge } from './merge.js'

/** What a reader is told of one partition, in order: a block of it, or that some are gone. */
export type Told<T> = Block<T> | { readonly partition: number, readonly hole: Hole }

/** What one partition has of a turn, as much as one fetch of Kafka. */
const turnBytes = 4 << 20

export type StreamLog = Pick<LogReader, 'partitions' | 'read' | 'bounds' | 'offsetAt'>

/** Reads a stream from a cursor on, all of its partitions or those of some keys. */
export class StreamReading<T> {
  readonly #partitions: readonly number[]
  /** The one key that is wanted; undefined for several, or all. */
  readonly #key: string | undefined

  /** @param keys that alone are wanted; undefined for all. Records of others may come all the same */
  constructor (readonly log: StreamLog, readonly stream: Stream<T>, keys: readonly string[] | undefined) {
    const count = log.partitions(stream)
    this.#partitions = keys
      ? [...new Set(keys.map(key => partitionOf(key, count)))]
      : Array.from({ length: count }, (_, partition) => partition)
    this.#key = keys?.length === 1 ? keys[0] : undefined
  }

  /**
   * What there is, then with `isFollower` what arrives, of each partition as it comes.
   *
   * @param cursor moved by whoever takes what comes; where it stands when a partition has its turn, the turn begins
   */
  async * from (cursor: StreamCursor, isFollower: boolean, signal: AbortSignal): AsyncGenerator<Told<T>> {
    const bounds = await boundsOf(this.log, this.stream)
    const ends = new Map(this.#partitions.map(partition => [partition, bounds[partition]!.next]))
    yield * this.#stored(cursor, ends, signal)
    if (!isFollower) return
    yield * merge([...ends].map(([partition, from]) => this.#withHoles(partition, { from, signal })))
  }

  /**
   * One partition after the other, in turns: a read that waits for its next turn would hold its last block, and blocks
   * of an older version may be a hundred times as large as those of this one. So a reader holds one at a time.
   */
  async * #stored (
    cursor: StreamCursor, ends: ReadonlyMap<number, bigint>, signal: AbortSignal
  ): AsyncGenerator<Told<T>> {
    for (let left = [...ends.keys()]; left.length > 0;) {
      const more: number[] = []
      for (const partition of left) {
        let bytes = 0
        const range = { from: cursor.place(partition).offset, to: ends.get(partition)! }
        // With a key the log may pass over blocks for long: it must hear of it when nobody waits any more.
        const told = this.#withHoles(partition, this.#key === undefined ? range : { ...range, signal })
        for await (const each of told) {
          if (signal.aborted) return
          yield each
          if ('items' in each) bytes += each.bytes ?? bytesOfAll(this.stream, each.items)
          if (bytes < turnBytes) continue
          more.push(partition)
          break
        }
      }
      left = more
    }
  }

  async * #withHoles (partition: number, range: ReadRange): AsyncGenerator<Told<T>> {
    const holes: Hole[] = []
    const passed = (hole: Hole) => { holes.push(hole) }
    for await (const block of this.log.read(this.stream, partition, { ...range, passed, key: this.#key })) {
      for (const hole of holes.splice(0)) yield { partition, hole }
      yield block
    }
    for (const hole of holes) yield { partition, hole }
  }
}

/** Of all partitions, asked for together: one after the other they could take a multiple of what one may. */
export async function boundsOf (log: StreamLog, stream: Stream<any>): Promise<Array<{ first: bigint, next: bigint }>> {
  const partitions = Array.from({ length: log.partitions(stream) }, (_, partition) => partition)
  return await Promise.all(partitions.map(partition => log.bounds(stream, partition)))
}
