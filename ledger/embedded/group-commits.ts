import type { GatewayError } from '../../schemas/errors.js'
import type { Place } from '../log.js'
import type { WriteBatch } from './batch.js'
import type { Committed } from './followers.js'
import { kind } from './keys.js'
import type { Store } from './store.js'

interface Commit {
  /** Undefined: it is to be forgotten. */
  readonly place: Place | undefined
  /** Who waits for it, and for those that it takes the place of. */
  readonly waiting: readonly Waiting[]
}

interface Waiting {
  resolve (): void
  reject (err: GatewayError): void
}

const headBytes = 5
const start: Place = { next: 0n, index: 0 }

/**
 * How far the groups have come that keep no store of their own. What nobody waits for goes along with what is appended
 * next.
 */
export class GroupCommits {
  /** By key, in binary: not written yet, and written by the commit under way. */
  private waiting = new Map<string, Commit>()
  private written = new Map<string, Commit>()

  constructor (private readonly store: Store) {}

  by (streamId: number, group: string): Committed {
    const nameOf = (partition: number) => keyOf(streamId, partition, group).toString('latin1')
    return {
      of: partition => this.placeOf(nameOf(partition)),
      keep: (partition, next) => {
        this.put(nameOf(partition), { next, index: 0 }, [])
        this.store.request(true)
      },
      store: (partition, place) => this.putNow(nameOf(partition), place),
      stored: partition => {
        const place = this.placeOf(nameOf(partition))
        return place === start ? undefined : place
      },
      forget: partition => this.putNow(nameOf(partition), undefined),
    }
  }

  /** Groups that have committed something of the stream and not been forgotten. */
  names (streamId: number): string[] {
    const names = new Set<string>()
    const prefix = keyOf(streamId, 0, '').subarray(0, 3)
    const end = keyOf(streamId + 1, 0, '').subarray(0, 3)
    for (const key of this.store.env.getKeys({ start: prefix, end })) names.add(key.toString('latin1', headBytes))
    for (const name of [...this.written.keys(), ...this.waiting.keys()]) {
      if (name.startsWith(prefix.toString('latin1'))) names.add(name.slice(headBytes))
    }
    return [...names].map(name => Buffer.from(name, 'latin1').toString())
  }

  write (batch: WriteBatch): void {
    this.written = this.waiting
    this.waiting = new Map()
    for (const [name, { place }] of this.written) {
      if (!place) {
        batch.remove(Buffer.from(name, 'latin1'))
        continue
      }
      const { next, index } = place
      const value = batch.room(index === 0 ? 6 : 10)
      value.writeUIntBE(Number(next), 0, 6)
      if (index > 0) value.writeUInt32BE(index, 6)
      batch.put(Buffer.from(name, 'latin1'), value)
    }
  }

  committed (): void {
    for (const { waiting } of this.written.values()) for (const { resolve } of waiting) resolve()
    this.written = new Map()
  }

  /** The commit under way has failed: the next one has it all. Nobody waits for that. */
  failed (err: GatewayError): void {
    const all = new Map([...this.written, ...this.waiting])
    for (const { waiting } of all.values()) for (const { reject } of waiting) reject(err)
    this.waiting = new Map([...all].map(([name, { place }]) => [name, { place, waiting: [] }]))
    this.written = new Map()
  }

  private placeOf (name: string): Place {
    const unwritten = this.waiting.get(name) ?? this.written.get(name)
    if (unwritten) return unwritten.place ?? start
    const stored = this.store.env.getBinary(Buffer.from(name, 'latin1'))
    if (!stored) return start
    return { next: BigInt(stored.readUIntBE(0, 6)), index: stored.length < 10 ? 0 : stored.readUInt32BE(6) }
  }

  private putNow (name: string, place: Place | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      this.put(name, place, [{ resolve, reject }])
      this.store.request(false)
    })
  }

  private put (name: string, place: Place | undefined, waiting: Commit['waiting']): void {
    this.waiting.set(name, { place, waiting: [...this.waiting.get(name)?.waiting ?? [], ...waiting] })
  }
}

function keyOf (streamId: number, partition: number, group: string): Buffer {
  const numbers = Buffer.from([kind.committed, 0, 0, 0, 0])
  numbers.writeUInt16BE(streamId, 1)
  numbers.writeUInt16BE(partition, 3)
  return Buffer.concat([numbers, Buffer.from(group)])
}
