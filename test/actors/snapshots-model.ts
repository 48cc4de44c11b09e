import type { LoadedState, PartId, Snapshots, StateChanges } from '../../actors/snapshots.js'

/*
  Users whose states follow from offsets alone, as those of the fold do from entries: owners that are at different
  places, crash and begin again must all make the same of them. At each offset a message begins, some end, and sessions
  change.
*/

export const users = ['ada', 'adam', 'bob'] as const

/** Bytes of the longest message. */
let messageBytes = 20

export function withMessagesOf (bytes: number): void { messageBytes = bytes }

/** The state after the entry at this offset: its head names its parts. */
export function stateAt (userId: string, offset: number): { head: Buffer, parts: Map<PartId, Buffer> } {
  const parts = new Map<PartId, Buffer>()
  for (let begun = Math.max(0, offset - 40); begun <= offset; begun++) {
    if (begun + livesFor(userId, begun) > offset) parts.set(`m${begun}`, message(userId, begun))
  }
  for (let session = 2; session <= 5; session++) {
    const changedAt = offset - offset % session
    parts.set(`s${session}`, Buffer.from(`${userId} s${session} ${changedAt}`))
  }
  if (offset % 7 < 3) parts.set('f0', Buffer.from(`${userId} f0 ${offset - offset % 7}`))
  return { head: Buffer.from([offset, ...parts.keys()].join(' ')), parts }
}

export function partsOf (head: Buffer): PartId[] { return head.toString().split(' ').slice(1) }

export function offsetOf (head: Buffer): number { return Number(head.toString().split(' ')[0]) }

/** What is wrong with a state that was found; undefined for nothing. */
export function faultOf (userId: string, found: Pick<LoadedState, 'head' | 'parts'>): string | undefined {
  const offset = offsetOf(found.head)
  const { parts } = stateAt(userId, offset)
  for (const [id, part] of parts) {
    const stored = found.parts.get(id)
    if (!stored) return `${userId} at ${offset}: ${id} is missing`
    if (!part.equals(stored)) return `${userId} at ${offset}: ${id} is "${stored.toString('utf8', 0, 40)}"`
  }
  return found.parts.size === parts.size ? undefined : `${userId} at ${offset}: got ${[...found.parts.keys()].join()}`
}

/** What has changed since `before`, where a state was saved, undefined for never. */
function changesBetween (
  userId: string, before: number | undefined, offset: number, strays: readonly PartId[]
): StateChanges {
  const old = before === undefined ? new Map<PartId, Buffer>() : stateAt(userId, before).parts
  const { head, parts } = stateAt(userId, offset)
  const added = new Map<PartId, Buffer>()
  const changed = new Map<PartId, Buffer>()
  for (const [id, part] of parts) {
    if (old.get(id)?.equals(part)) continue
    if (id.startsWith('m')) added.set(id, part)
    else changed.set(id, part)
  }
  return { head, added, changed, gone: [...old.keys(), ...strays].filter(id => !parts.has(id)) }
}

/** An owner of a partition, which may not know that it is none any more. */
export class Owner {
  at = -1
  readonly #saved = new Map<string, number | undefined>()
  readonly #strays = new Map<string, readonly PartId[]>()

  constructor (readonly snapshots: Snapshots, readonly partition = 0) {}

  /** Begins as one that the partition was just assigned to. */
  async begin (): Promise<void> {
    this.at = Number(await this.snapshots.checkpoint(this.partition)) - 1
    this.#saved.clear()
    this.#strays.clear()
  }

  async load (userId: string): Promise<LoadedState | undefined> {
    const found = await this.snapshots.load(this.partition, userId, partsOf)
    const fault = found && faultOf(userId, found)
    if (fault) throw new Error(fault)
    this.#saved.set(userId, found && offsetOf(found.head))
    this.#strays.set(userId, found?.others ?? [])
    return found
  }

  /** Takes what came up to `offset`, and saves all users that were touched. */
  async save (offset: number): Promise<void> {
    const changes = new Map<string, StateChanges>()
    for (const userId of users) {
      if (!this.#saved.has(userId)) await this.load(userId)
      const before = this.#saved.get(userId)
      if (before !== undefined && before >= offset) continue // loaded from an owner that is ahead
      changes.set(userId, changesBetween(userId, before, offset, this.#strays.get(userId)!))
      this.#saved.set(userId, offset)
      this.#strays.set(userId, [])
    }
    this.at = offset
    await this.snapshots.save(this.partition, BigInt(offset + 1), changes)
  }
}

function livesFor (userId: string, begun: number): number {
  const mixed = (begun * 2654435761 + userId.length * 40503) >>> 7
  return mixed % 5 === 0 ? 40 : mixed % 4
}

function message (userId: string, begun: number): Buffer {
  return Buffer.alloc(20 + begun * 7919 % messageBytes, `${userId} m${begun} `)
}
