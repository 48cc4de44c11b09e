import { ofPartition, type RebuildableSnapshots } from '../../actors/snapshots.js'
import { roomHeadCodec } from '../../schemas/room-state.js'
import { headCodec } from '../../schemas/user-state.js'

/** The last block that a head includes; undefined for one of an older format, and for one that can not be read. */
export type OffsetOf = (head: Buffer) => number | undefined

export const offsets = {
  users: offsetBy(headCodec),
  rooms: offsetBy(roomHeadCodec),
} satisfies Record<string, OffsetOf>

/**
 * Sees that no owner of a partition saves a state that includes less than what it had loaded or saved. One that has
 * slept while another took the partition may try to: it is refused.
 *
 * @param snapshots an object of functions that need no `this`
 * @param complain told in words where one does
 */
export function forwardOnly (
  snapshots: RebuildableSnapshots, offsetOf: OffsetOf, complain: (complaint: string) => void
): RebuildableSnapshots {
  /** By partition, since it was assigned: how far each state is. */
  const known = new Map<number, Map<string, number>>()
  const of = (partition: number): Map<string, number> => {
    const offsets = known.get(partition) ?? new Map<string, number>()
    known.set(partition, offsets)
    return offsets
  }
  return {
    ...snapshots,
    async checkpoint (partition) {
      known.delete(partition)
      return await snapshots.checkpoint(partition)
    },
    async load (partition, key, partsOf) {
      const offsets = of(partition)
      const loaded = await snapshots.load(partition, key, partsOf)
      const offset = loaded && key !== ofPartition ? offsetOf(loaded.head) : undefined
      if (offset !== undefined) offsets.set(key, offset)
      return loaded
    },
    async save (partition, next, changes) {
      const offsets = of(partition)
      const complaints: string[] = []
      for (const [key, { head }] of changes) {
        const offset = key === ofPartition || !head ? undefined : offsetOf(head)
        if (offset === undefined) continue
        const before = offsets.get(key) ?? -1
        if (offset < before) complaints.push(`${key}, whose state includes block ${before}, is saved as of ${offset}`)
        offsets.set(key, offset)
      }
      await snapshots.save(partition, next, changes)
      for (const complaint of complaints) complain(complaint)
    },
  }
}

function offsetBy (codec: { reads (bytes: Buffer): boolean, decode (bytes: Buffer): { offset: number } }): OffsetOf {
  return head => codec.reads(head) ? codec.decode(head).offset : undefined
}
