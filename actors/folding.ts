import type { Block } from '../ledger/log.js'
import { bytesOfAll } from '../schemas/sizes.js'
import type { Stream } from '../schemas/streams.js'
import type { KindTypes } from './kind.js'

/** A block of the stream while actors fold it. */
export interface FoldingBlock<K extends KindTypes> {
  readonly offset: bigint
  readonly items: ReadonlyArray<K['entry']>
  /** What the entries folded so far add to each stream of `Kind.derived`; undefined where nothing. */
  readonly derived: Array<Array<K['derived']> | undefined>
  /** What they have for other streams, in the order in which they were folded; undefined where nothing. */
  handOn: Array<K['handOn']> | undefined
  /** The block's entries of one actor are folded and their effects performed. */
  folded (): void
}

/**
 * Blocks of one partition on their way through the actors, in the order of the log. Actors fold them side by side; a
 * block is done once it and all before it are folded.
 */
export class Folding<K extends KindTypes> {
  readonly #blocks: Array<BlockOfActors<K>> = []
  #entries = 0
  #bytes = 0

  /** @param folded called when the last actor of a block has folded it: `takeDone` may have blocks then */
  constructor (readonly stream: Stream<K['entry']>, readonly folded: () => void) {}

  get isEmpty (): boolean { return this.#blocks.length === 0 }
  get entries (): number { return this.#entries }
  /** Of the entries in memory. */
  get bytes (): number { return this.#bytes }
  /** Since when the oldest one is folding, ms since 1970; undefined for none. */
  get sinceMs (): number | undefined { return this.#blocks[0]?.sinceMs }

  /** @returns the entries of each actor, by key */
  add (
    block: Block<K['entry']>
  ): { folding: FoldingBlock<K>, byKey: ReadonlyMap<string, ReadonlyArray<K['entry']>> } {
    const byKey = groupByKey(this.stream, block.items)
    const folding = new BlockOfActors<K>(this, block, byKey.size)
    this.#blocks.push(folding)
    this.#entries += block.items.length
    this.#bytes += folding.bytes
    return { folding, byKey }
  }

  /** Takes out the blocks that are done. */
  takeDone (): ReadonlyArray<FoldingBlock<K>> {
    let done = 0
    while (done < this.#blocks.length && this.#blocks[done]!.actors === 0) {
      const { items, bytes } = this.#blocks[done++]!
      this.#entries -= items.length
      this.#bytes -= bytes
    }
    return this.#blocks.splice(0, done)
  }
}

class BlockOfActors<K extends KindTypes> implements FoldingBlock<K> {
  readonly derived: Array<Array<K['derived']> | undefined> = []
  handOn: Array<K['handOn']> | undefined
  readonly offset: bigint
  readonly items: ReadonlyArray<K['entry']>
  readonly bytes: number
  readonly sinceMs = Date.now()

  /** @param actors that have yet to fold it */
  constructor (readonly folding: Folding<K>, { offset, items, bytes }: Block<K['entry']>, public actors: number) {
    this.offset = offset
    this.items = items
    this.bytes = bytes ?? bytesOfAll(folding.stream, items)
  }

  folded (): void {
    if (--this.actors === 0) this.folding.folded()
  }
}

function groupByKey<E> (stream: Stream<E>, items: readonly E[]): Map<string, E[]> {
  const byKey = new Map<string, E[]>()
  let lastKey = ''
  let entries: E[] | undefined
  for (let i = 0; i < items.length; i++) {
    const entry = items[i]!
    const key = stream.key(entry)
    if (key !== lastKey || !entries) {
      lastKey = key
      entries = byKey.get(lastKey)
      if (!entries) byKey.set(lastKey, entries = [])
    }
    entries.push(entry)
  }
  return byKey
}
