import type { Health } from '../../schemas/conditions.js'
import type { Kept } from './membership.js'
import type { Place } from './places.js'

export interface KeepingDeps {
  readonly groupId: string
  readonly health: Health
  /** @throws NoAnswer or KafkaError, as `store` */
  load (partition: number): Promise<Kept>
  store (kept: ReadonlyMap<number, Kept>): Promise<void>
}

const storeEveryMs = 1_000
const nothing: Kept = { committed: 0n, index: 0, place: undefined }

/** What the group keeps of the partitions that this member has: stored a little later, and many in one request. */
export class Keeping {
  private readonly known = new Map<number, Kept>()
  private readonly unstored = new Set<number>()
  private timer: NodeJS.Timeout | undefined
  /** The last store that somebody waits for, and the one that comes after it. */
  private flushing: Promise<void> | undefined
  private next: Promise<void> | undefined
  private ended = false

  constructor (private readonly deps: KeepingDeps) {}

  /** @throws NoAnswer or KafkaError */
  async of (partition: number): Promise<Kept> {
    if (!this.unstored.has(partition)) {
      const stored = await this.deps.load(partition)
      if (!this.unstored.has(partition)) this.known.set(partition, stored)
    }
    return this.known.get(partition)!
  }

  commit (partition: number, committed: bigint, index = 0): void {
    this.set(partition, { ...this.known.get(partition) ?? nothing, committed, index })
  }

  /** Resolves once it is stored. What is asked for meanwhile goes together. @throws NoAnswer or KafkaError */
  async commitNow (partition: number, committed: bigint, index: number): Promise<void> {
    this.commit(partition, committed, index)
    const under = this.flushing
    this.next ??= (under ?? Promise.resolve()).catch(() => {}).then(async () => {
      this.flushing = this.next
      this.next = undefined
      await this.flush()
    })
    await this.next
  }

  /** The follower has come so far. */
  came (partition: number, place: Place): void {
    const known = this.known.get(partition) ?? nothing
    if (place.epoch < 0 || (known.place?.next === place.next && known.place.epoch === place.epoch)) return
    this.set(partition, { ...known, place })
  }

  /** The follower goes on there, before what it had come to. */
  goBack (partition: number, place: Place): void {
    const { committed, index } = this.known.get(partition) ?? nothing
    const isBefore = committed < place.next
    this.set(partition, isBefore ? { committed, index, place } : { committed: place.next, index: 0, place })
  }

  /** @throws NoAnswer or KafkaError where it was not stored */
  async flush (): Promise<void> {
    if (this.unstored.size === 0) return
    const sent = new Map([...this.unstored].map(partition => [partition, this.known.get(partition)!]))
    await this.deps.store(sent)
    for (const [partition, kept] of sent) if (this.known.get(partition) === kept) this.unstored.delete(partition)
  }

  /** Of partitions that were given back: stored later, it would undo what the next owner stores. */
  forget (isHeld: (partition: number) => boolean): void {
    for (const partition of this.known.keys()) {
      if (isHeld(partition)) continue
      this.known.delete(partition)
      this.unstored.delete(partition)
    }
  }

  /** Stores what is left. */
  async end (): Promise<void> {
    this.ended = true
    clearTimeout(this.timer)
    await this.flush().catch(() => {}) // the next owner starts at an older one
    this.deps.health.end('followers', this.what)
  }

  private get what (): string { return `${this.deps.groupId}, commits` }

  private set (partition: number, kept: Kept): void {
    this.known.set(partition, kept)
    this.unstored.add(partition)
    this.storeLater()
  }

  /** Until it has succeeded: nobody else may ask for another one. */
  private storeLater (): void {
    if (this.ended) return
    this.timer ??= setTimeout(() => {
      this.timer = undefined
      this.flush().then(() => { this.deps.health.end('followers', this.what) }, (err: Error) => {
        if (this.ended) return
        this.deps.health.begin('followers', `its place can not be stored: ${err.message}`, this.what)
        this.storeLater()
      })
    }, storeEveryMs)
  }
}
