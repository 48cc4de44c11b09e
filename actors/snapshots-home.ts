import type { Change, Changelog, ChangelogWriter } from '../ledger/changelog.js'
import { headField, partField, versioned } from './snapshots-redis-scripts.js'
import type { PartId, SavedState, StateChanges } from './snapshots.js'

/** Names what `Place` says, and no user: his fields begin otherwise. */
const placeKey = Buffer.from('place')

/** How far the states are, written with the last of them. */
interface Place {
  /** Names the ledger. */
  readonly identity: string
  /** The first ledger offset that the states do not include. */
  readonly next: string
  /** Where the changelog of this ledger begins: what stands before it is of another one. */
  readonly from: string
}

/** One transaction takes users up to so many bytes. */
const writeBytesMax = 16 << 20

/**
 * The saved states of one partition where they are at home: a changelog of the very fields that Redis has in its hash.
 * Each user's changes are in one transaction, and the place is in that of the last of them.
 */
export class SnapshotsHome {
  /**
   * Takes the partition from its owner before. States may be beyond the end of a ledger that was cut back: they are
   * kept, and the partition stands still until somebody decides.
   */
  static async open (changelog: Changelog, partition: number, identity: string): Promise<SnapshotsHome> {
    const writer = await changelog.open(partition)
    const text = await writer.last(placeKey)
    const place = text ? JSON.parse(text.toString()) as Place : undefined
    if (place?.identity === identity) {
      return new SnapshotsHome(writer, identity, BigInt(place.from), BigInt(place.next), false)
    }
    return new SnapshotsHome(writer, identity, await writer.next(), 0n, true)
  }

  private constructor (
    private readonly writer: ChangelogWriter, private readonly identity: string, private readonly from: bigint,
    /** The first ledger offset that it does not include. */
    public next: bigint,
    /** Nothing was ever written here for this ledger. */
    readonly isNew: boolean
  ) {}

  /** @throws ChangelogFenced, GatewayError `ledger-unavailable` */
  async write (next: bigint, users: ReadonlyMap<string, StateChanges>): Promise<void> {
    let together: Change[] = []
    let bytes = 0
    for (const [userId, changes] of users) {
      const own = changesOf(userId, next, changes)
      const ownBytes = bytesOf(own)
      if (together.length > 0 && bytes + ownBytes > writeBytesMax) {
        await this.writer.write(together)
        together = []
        bytes = 0
      }
      together.push(...own)
      bytes += ownBytes
    }
    await this.finish(next, together)
  }

  /** Writes what a copy holds, in a home that is new. */
  async seed (next: bigint, fields: AsyncIterable<Change>): Promise<void> {
    let together: Change[] = []
    let bytes = 0
    for await (const change of fields) {
      together.push(change)
      bytes += bytesOf([change])
      if (bytes < writeBytesMax / 4) continue
      await this.writer.write(together)
      together = []
      bytes = 0
    }
    await this.finish(next, together)
  }

  /**
   * Puts states in place of those that are there, undefined to remove one; how far they are stays as it is.
   *
   * @param stored the ids of all parts that are stored of each user
   */
  async replace (
    states: ReadonlyMap<string, SavedState | undefined>, stored: ReadonlyMap<string, readonly PartId[]>
  ): Promise<void> {
    const changes = Array.from(states, ([userId, state]): Change[] => {
      const gone = stored.get(userId)!.filter(id => state?.parts.has(id) !== true)
      if (state) return changesOf(userId, this.next, { head: state.head, added: state.parts, changed: new Map(), gone })
      return [headField(userId), ...gone.map(id => partField(userId, id))]
        .map(key => ({ key: Buffer.from(key), value: null }))
    })
    await this.finish(this.next, changes.flat())
  }

  /** Everything that a copy needs. */
  async * read (): AsyncGenerator<Change> {
    for await (const change of this.writer.read(this.from)) if (!change.key.equals(placeKey)) yield change
  }

  private async finish (next: bigint, last: readonly Change[]): Promise<void> {
    const { identity, from } = this
    const place: Place = { identity, next: `${next}`, from: `${from}` }
    await this.writer.write([...last, { key: placeKey, value: Buffer.from(JSON.stringify(place)) }])
    this.next = next
  }
}

function changesOf (userId: string, next: bigint, { head, added, changed, gone }: StateChanges): Change[] {
  const put = ([id, value]: [PartId, Uint8Array]) =>
    ({ key: partField(userId, id), value: Buffer.from(value.buffer, value.byteOffset, value.byteLength) })
  return [
    ...Array.from(added, put),
    ...Array.from(changed, put),
    { key: Buffer.from(headField(userId)), value: head ? versioned(next, head) : null },
    ...gone.map(id => ({ key: partField(userId, id), value: null })),
  ]
}

function bytesOf (changes: readonly Change[]): number {
  return changes.reduce((sum, { key, value }) => sum + key.length + (value?.length ?? 0), 0)
}
