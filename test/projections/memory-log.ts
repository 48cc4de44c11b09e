import type { Block, EventLog, Follower, Position, ReadRange } from '../../ledger/log.js'
import type { Stream } from '../../schemas/streams.js'

/** One stream with one follower, in memory. Offsets have gaps, as the contract allows. */
export class MemoryLog<T> implements EventLog {
  readonly stream = { name: 'test' } as Stream<T>
  /** Hands out blocks from so much before the offset that the follower asked for. */
  rewind = 0n
  #follower: Follower<T> | undefined
  readonly #partitions: { blocks: Block<T>[], handedTo: bigint }[]
  readonly #gap: bigint

  constructor ({ partitions = 1, gap = 1n } = {}) {
    this.#partitions = Array.from({ length: partitions }, () => ({ blocks: [], handedTo: 0n }))
    this.#gap = gap
  }

  partitions () { return this.#partitions.length }

  add (items: readonly T[], partition = 0) {
    const { blocks } = this.#partitions[partition]!
    blocks.push({ partition, offset: (blocks.at(-1)?.offset ?? -1n) + this.#gap, items })
  }

  /** Hands out what was added since, one block after the other. */
  async pump () {
    for (const partition of this.#partitions) {
      for (const block of partition.blocks) {
        if (!this.#follower || block.offset < partition.handedTo) continue
        partition.handedTo = block.offset + 1n
        await this.#follower.received(block)
      }
    }
  }

  /** Hands out one block in this very turn. */
  hand (block: Block<T>) {
    return this.#follower!.received(block)
  }

  async follow<U> (_stream: Stream<U>, _group: string, follower: Follower<U>) {
    this.#follower = follower as unknown as Follower<T>
    for (const [number, partition] of this.#partitions.entries()) {
      const wanted = await follower.assigned(number, 0n, 0)
      partition.handedTo = wanted > this.rewind ? wanted - this.rewind : 0n
    }
    return {
      commit: () => {},
      keep: async () => {},
      reassign: async () => {},
      stop: async () => {
        this.#follower = undefined
        for (const number of this.#partitions.keys()) await follower.revoked(number)
      },
    }
  }

  async * read<U> (_stream: Stream<U>, partition: number, { from, to }: ReadRange): AsyncIterable<Block<U>> {
    for (const block of this.#partitions[partition]!.blocks) {
      if (block.offset >= from && (to === undefined || block.offset < to)) yield block as unknown as Block<U>
    }
  }

  append<U> (_stream: Stream<U>, _partition: number, _items: readonly U[]): Promise<Position> { throw new Error('not here') }
  bounds (): Promise<{ first: bigint, next: bigint }> { throw new Error('not here') }
  offsetAt (): never { throw new Error('not here') }
  derivedFrom (): never { throw new Error('not here') }
  health () { return { ok: true, reason: '' } }
  async close () {}
}
