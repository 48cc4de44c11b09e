import type { Block } from '../ledger/log.js'
import type { Entry } from '../schemas/facts.js'
import type { UplinkAccepted } from '../schemas/records.js'
import { bytesOfAll } from '../schemas/sizes.js'
import { ledger } from '../schemas/streams.js'
import type { FoldingBlock } from './user/actor.js'

/**
 * Blocks of one partition on their way through the user actors, in the order of the log. Users fold them side by side;
 * a block is done once it and all before it are folded.
 */
export class Folding {
  readonly #blocks: BlockOfUsers[] = []
  #entries = 0
  #bytes = 0

  /** @param folded called when a block's last user has folded it, so that some may be done */
  constructor (readonly folded: () => void) {}

  get isEmpty (): boolean { return this.#blocks.length === 0 }
  get entries (): number { return this.#entries }
  /** Of the entries in memory. */
  get bytes (): number { return this.#bytes }
  /** Since when the oldest one is folding, ms since 1970; undefined for none. */
  get sinceMs (): number | undefined { return this.#blocks[0]?.sinceMs }

  /** @returns what each of its users has to fold */
  add (block: Block<Entry>): { folding: FoldingBlock, byUser: ReadonlyMap<string, readonly Entry[]> } {
    const byUser = groupByUser(block.items)
    const folding = new BlockOfUsers(this, block, byUser.size)
    this.#blocks.push(folding)
    this.#entries += block.items.length
    this.#bytes += folding.bytes
    return { folding, byUser }
  }

  /** Takes out the blocks that are done. */
  takeDone (): readonly FoldingBlock[] {
    let done = 0
    while (done < this.#blocks.length && this.#blocks[done]!.users === 0) {
      const { items, bytes } = this.#blocks[done++]!
      this.#entries -= items.length
      this.#bytes -= bytes
    }
    return this.#blocks.splice(0, done)
  }
}

class BlockOfUsers implements FoldingBlock {
  readonly uplinks: UplinkAccepted[] = []
  readonly offset: bigint
  readonly items: readonly Entry[]
  readonly bytes: number
  readonly sinceMs = Date.now()

  /** @param users that have yet to fold it */
  constructor (readonly folding: Folding, { offset, items, bytes }: Block<Entry>, public users: number) {
    this.offset = offset
    this.items = items
    this.bytes = bytes ?? bytesOfAll(ledger, items)
  }

  folded (): void {
    if (--this.users === 0) this.folding.folded()
  }
}

function groupByUser (items: readonly Entry[]): Map<string, Entry[]> {
  const byUser = new Map<string, Entry[]>()
  let lastUser = ''
  let entries: Entry[] | undefined
  for (let i = 0; i < items.length; i++) {
    const entry = items[i]!
    if (entry.userId !== lastUser || !entries) {
      lastUser = entry.userId
      entries = byUser.get(lastUser)
      if (!entries) byUser.set(lastUser, entries = [])
    }
    entries.push(entry)
  }
  return byUser
}
