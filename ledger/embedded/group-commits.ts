import type { WriteBatch } from './batch.js'
import type { Committed } from './followers.js'
import { kind } from './keys.js'
import type { Store } from './store.js'

/** How far the groups have come that keep no store of their own. It goes along with what is appended next. */
export class GroupCommits {
  /** By key, in binary: not written yet, and written by the commit under way. */
  private waiting = new Map<string, bigint>()
  private written = new Map<string, bigint>()

  constructor (private readonly store: Store) {}

  by (streamId: number, group: string): Committed {
    const key = (partition: number): Buffer => {
      const numbers = Buffer.from([kind.committed, 0, 0, 0, 0])
      numbers.writeUInt16BE(streamId, 1)
      numbers.writeUInt16BE(partition, 3)
      return Buffer.concat([numbers, Buffer.from(group)])
    }
    return {
      of: partition => {
        const name = key(partition).toString('latin1')
        const unwritten = this.waiting.get(name) ?? this.written.get(name)
        if (unwritten !== undefined) return unwritten
        const stored = this.store.env.getBinary(key(partition))
        return BigInt(stored?.readUIntBE(0, 6) ?? 0)
      },
      keep: (partition, next) => {
        this.waiting.set(key(partition).toString('latin1'), next)
        this.store.request(true)
      },
    }
  }

  write (batch: WriteBatch): void {
    this.written = this.waiting
    this.waiting = new Map()
    for (const [name, next] of this.written) {
      const value = batch.room(6)
      value.writeUIntBE(Number(next), 0, 6)
      batch.put(Buffer.from(name, 'latin1'), value)
    }
  }

  committed (): void { this.written = new Map() }

  /** The commit under way has failed: the next one has it all. */
  failed (): void {
    this.waiting = new Map([...this.written, ...this.waiting])
    this.written = new Map()
  }
}
