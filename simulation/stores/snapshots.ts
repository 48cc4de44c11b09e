import type { RedisSnapshots } from '../../actors/snapshots-redis.js'
import { headField, parseField, parseHead, partField, versioned } from '../../actors/snapshots-redis-scripts.js'
import {
  type LoadedState, ofPartition, type PartId, type PartsOf, type SavedHead, type SavedKey, type SavedState,
  SnapshotsLost,
  type StateChanges,
} from '../../actors/snapshots.js'
import type { Change } from '../../ledger/changelog.js'
import { GatewayError } from '../../schemas/errors.js'
import type { Channel } from './channel.js'

interface StoredUser {
  head: Buffer
  readonly parts: Map<PartId, Buffer>
  /** The `next` of the save that wrote it: one that is behind it leaves the user as he is. */
  version: bigint
}

interface StoredSnapshots {
  next: bigint
  readonly users: Map<string, StoredUser>
  /** Who took the partition last: whoever had it before may not save any more. */
  owner: object | undefined
  /** Another one where what was stored is gone, or was put right. */
  generation: object
}

/** The copies of saved states that a simulated Redis has. */
export class SnapshotStore {
  readonly #partitions = new Map<number, StoredSnapshots>()

  of (partition: number): StoredSnapshots {
    let stored = this.#partitions.get(partition)
    if (!stored) {
      stored = { next: 0n, users: new Map(), owner: undefined, generation: {} }
      this.#partitions.set(partition, stored)
    }
    return stored
  }

  /** A copy of all that is stored, for `restore`. */
  copy (): ReadonlyMap<number, StoredSnapshots> {
    return new Map(Array.from(this.#partitions, ([partition, { next, users, owner }]) => [partition, {
      next,
      users: new Map(Array.from(users, ([userId, user]) => [userId, { ...user, parts: new Map(user.parts) }])),
      owner,
      generation: {},
    }]))
  }

  /** The store went back to an older copy, or to nothing. */
  restore (copy: ReadonlyMap<number, StoredSnapshots> = new Map()): void {
    this.#partitions.clear()
    for (const [partition, stored] of copy) {
      this.#partitions.set(partition, { ...stored, owner: undefined, generation: {} })
    }
  }
}

/** What this node knew of a partition when it was assigned. */
interface Ownership { readonly token: object, readonly generation: object }

/** Probability that a save goes in two calls. */
const inTwo = 0.3
/** How long until the second one, which has much to write. */
const betweenMsMax = 100

/** How long until a save that failed is tried again, ms. */
const retryMs = 100

/** A node's view of them. Whoever asks for the checkpoint owns the partition from then on. */
export class SimulatedSnapshots implements RedisSnapshots {
  readonly #owned = new Map<number, Ownership>()
  /** Saves go one after the other, for one that failed is tried again before any later one. */
  readonly #saving = new Map<number, Promise<void>>()
  /** The highest checkpoint that was given to `save`. */
  readonly #given = new Map<number, bigint>()
  /** Users whose changes are on their way, and how many of them. */
  readonly #waiting = new Map<string, number>()
  #isClosed = false

  constructor (readonly snapshots: SnapshotStore, readonly channel: Channel) {}

  async checkpoint (partition: number): Promise<bigint> {
    const token = {}
    const { next, generation } = await this.channel.ask('checkpoint', () => {
      const stored = this.snapshots.of(partition)
      stored.owner = token
      return stored
    })
    this.#owned.set(partition, { token, generation })
    this.#given.delete(partition)
    return next
  }

  async load (partition: number, userId: string, partsOf: PartsOf): Promise<LoadedState | undefined> {
    await this.#settled(partition, userId)
    const owned = this.#owned.get(partition)
    return await this.channel.ask('load', () => {
      this.#check(partition, owned)
      return this.#find(partition, userId, partsOf)
    })
  }

  async parts (partition: number, userId: string, ids: readonly PartId[]): Promise<ReadonlyMap<PartId, Buffer>> {
    await this.#settled(partition, userId)
    const owned = this.#owned.get(partition)
    return await this.channel.ask('parts', () => {
      this.#check(partition, owned)
      return pick(this.snapshots.of(partition).users.get(userId), ids)
    })
  }

  async save (partition: number, next: bigint, changes: ReadonlyMap<string, StateChanges>): Promise<void> {
    if (next < (this.#given.get(partition) ?? 0n)) return
    this.#given.set(partition, next)
    const owned = this.#owned.get(partition)
    const users = [...changes.keys()].map(userId => `${partition}/${userId}`)
    for (const user of users) this.#waiting.set(user, (this.#waiting.get(user) ?? 0) + 1)
    const before = this.#saving.get(partition) ?? Promise.resolve()
    const saved = before.then(() => this.#store(partition, owned, next, changes)).finally(() => {
      for (const user of users) {
        const left = this.#waiting.get(user)! - 1
        if (left === 0) this.#waiting.delete(user)
        else this.#waiting.set(user, left)
      }
    })
    this.#saving.set(partition, saved.catch(() => {}))
    await saved
  }

  async savedTo (partition: number): Promise<bigint> {
    return await this.channel.ask('saved to', () => this.snapshots.of(partition).next)
  }

  async saved (partition: number, userId: string, partsOf: PartsOf): Promise<LoadedState | undefined> {
    return await this.channel.ask('saved', () => this.#find(partition, userId, partsOf))
  }

  async savedParts (partition: number, userId: string, ids: readonly PartId[]): Promise<ReadonlyMap<PartId, Buffer>> {
    return await this.channel.ask('saved parts', () => pick(this.snapshots.of(partition).users.get(userId), ids))
  }

  async * heads (partition: number): AsyncIterable<readonly SavedHead[]> {
    yield await this.channel.ask('heads', () => Array.from(this.snapshots.of(partition).users, ([userId, { head }]) =>
      ({ userId, head })).filter(({ userId }) => userId !== ofPartition))
  }

  async * keys (partition: number): AsyncIterable<SavedKey> {
    yield * await this.channel.ask('keys', () => {
      const keys: SavedKey[] = []
      for (const [userId, { parts }] of this.snapshots.of(partition).users) {
        if (userId === ofPartition) continue
        keys.push({ userId, part: undefined })
        for (const part of parts.keys()) keys.push({ userId, part })
      }
      return keys
    })
  }

  async partIds (partition: number, userIds: ReadonlySet<string>): Promise<ReadonlyMap<string, readonly PartId[]>> {
    return await this.channel.ask('part ids', () => {
      const { users } = this.snapshots.of(partition)
      return new Map(Array.from(userIds, userId => [userId, [...users.get(userId)?.parts.keys() ?? []]]))
    })
  }

  async replace (
    partition: number, checkpoint: bigint, states: ReadonlyMap<string, SavedState | undefined>
  ): Promise<ReadonlySet<string>> {
    return await this.channel.ask('replace', () => {
      const stored = this.snapshots.of(partition)
      if (stored.next !== checkpoint) return new Set<string>()
      stored.owner = {}
      stored.generation = {}
      for (const [userId, right] of states) {
        stored.users.delete(userId)
        if (!right) continue
        const parts = new Map(Array.from(right.parts, copied))
        stored.users.set(userId, { head: Buffer.from(right.head), parts, version: checkpoint })
      }
      return new Set(states.keys())
    })
  }

  async fill (partition: number, next: bigint, changes: AsyncIterable<Change>): Promise<void> {
    const before = await this.channel.ask('place', () => this.snapshots.of(partition).generation)
    const users = new Map<string, StoredUser>()
    for await (const { key, value } of changes) putField(users, key, value)
    // A part that no head names: its save never came to its end.
    for (const [userId, { head }] of users) if (head.length === 0) users.delete(userId)
    await this.channel.ask('fill', () => {
      const stored = this.snapshots.of(partition)
      if (stored.generation !== before) throw new GatewayError('not-ready', `partition ${partition} was written meanwhile`)
      stored.users.clear()
      for (const [userId, user] of users) stored.users.set(userId, user)
      stored.next = next
      stored.owner = {}
      stored.generation = {}
    })
  }

  async * fields (partition: number): AsyncGenerator<Change> {
    yield * await this.channel.ask('fields', () => {
      return Array.from(this.snapshots.of(partition).users).flatMap(([userId, { head, parts, version }]) => [
        { key: Buffer.from(headField(userId)), value: versioned(version, head) },
        ...Array.from(parts, ([id, part]) => ({ key: partField(userId, id), value: Buffer.from(part) })),
      ])
    })
  }

  close (): void { this.#isClosed = true }

  async #store (
    partition: number, owned: Ownership | undefined, next: bigint, changes: ReadonlyMap<string, StateChanges>
  ): Promise<void> {
    const calls = this.#callsOf(changes)
    for (let sent = 0; ;) {
      try {
        for (; sent < calls.length; sent++) {
          if (sent > 0) await this.#wait(this.channel.store.random.between(0, betweenMsMax), 'saves on')
          await this.channel.ask('save', () => {
            const stored = this.snapshots.of(partition)
            this.#check(partition, owned)
            if (owned && stored.owner !== owned.token) {
              throw new SnapshotsLost(`partition ${partition} has another owner`)
            }
            if (next < stored.next) return
            for (const [userId, change] of calls[sent]!) take(stored, userId, change, next)
            if (sent === calls.length - 1) stored.next = next
          })
        }
        return
      } catch (err) {
        if (err instanceof SnapshotsLost || this.#isClosed) throw err
        await this.#wait(retryMs, 'saves again')
      }
    }
  }

  async #wait (ms: number, what: string): Promise<void> {
    await new Promise<void>(resolve => { this.channel.node.later(ms, what, resolve) })
  }

  /** A save goes in one call or in two, as those do that are large: whoever crashes between them has saved a part. */
  #callsOf (changes: ReadonlyMap<string, StateChanges>): Array<Array<[string, StateChanges]>> {
    const { random } = this.channel.store
    const all = [...changes]
    const first = random.chance(inTwo) ? random.below(all.length + 1) : 0
    return first === 0 ? [all] : [all.slice(0, first), all.slice(first)]
  }

  /** What is being saved of this user must be there before anything of it is read. */
  async #settled (partition: number, userId: string): Promise<void> {
    if (this.#waiting.has(`${partition}/${userId}`)) await this.#saving.get(partition)
  }

  #find (partition: number, userId: string, partsOf: PartsOf): LoadedState | undefined {
    const user = this.snapshots.of(partition).users.get(userId)
    if (!user) return undefined
    const head = Buffer.from(user.head)
    const wanted = partsOf(head)
    const others = [...user.parts.keys()].filter(id => !wanted.includes(id))
    return { head, parts: pick(user, wanted), others }
  }

  #check (partition: number, owned: Ownership | undefined): void {
    if (owned && owned.generation !== this.snapshots.of(partition).generation) {
      throw new SnapshotsLost(`the states of partition ${partition} are not those that it was assigned with`)
    }
  }
}

/** Of a hash as Redis has it. */
function putField (users: Map<string, StoredUser>, key: Buffer, value: Buffer | null): void {
  const { userId, part } = parseField(key)!
  if (part === undefined && value === null) {
    users.delete(userId)
    return
  }
  if (value === null) {
    users.get(userId)?.parts.delete(part!)
    return
  }
  const user = users.get(userId) ?? { head: Buffer.alloc(0), parts: new Map<PartId, Buffer>(), version: -1n }
  users.set(userId, user)
  if (part === undefined) {
    const { head, version } = parseHead(value)
    user.head = Buffer.from(head)
    user.version = version
  } else {
    user.parts.set(part, Buffer.from(value))
  }
}

function take (
  { users }: StoredSnapshots, userId: string, { head, added, changed, gone }: StateChanges, version: bigint
): void {
  const before = users.get(userId)
  if (before && before.version > version) return
  const parts = before?.parts ?? new Map<PartId, Buffer>()
  for (const [id, part] of [...added, ...changed]) parts.set(id, Buffer.from(part))
  for (const id of gone) parts.delete(id)
  if (head) users.set(userId, { head: Buffer.from(head), parts, version })
  else users.delete(userId)
}

function pick (user: StoredUser | undefined, ids: readonly PartId[]): Map<PartId, Buffer> {
  const picked = new Map<PartId, Buffer>()
  for (const id of ids) {
    const part = user?.parts.get(id)
    if (part) picked.set(id, Buffer.from(part))
  }
  return picked
}

function copied ([id, part]: [PartId, Buffer]): [PartId, Buffer] { return [id, Buffer.from(part)] }
