import type { PartId, StateChanges } from './snapshots.js'

/** What waits to be stored of one user: it stands before what is stored. */
export interface Waiting {
  /** Undefined for a user that goes. */
  readonly head: Buffer | undefined
  /** Undefined for one that goes. */
  readonly parts: ReadonlyMap<PartId, Uint8Array | undefined>
}

/** @param all the changes of one user that wait, oldest first */
export function waitingOf (all: readonly StateChanges[]): Waiting | undefined {
  const newest = all.at(-1)
  if (!newest) return undefined
  const parts = new Map<PartId, Uint8Array | undefined>()
  for (const { added, changed, gone } of all) {
    for (const [id, part] of added) parts.set(id, part)
    for (const [id, part] of changed) parts.set(id, part)
    for (const id of gone) parts.set(id, undefined)
  }
  return { head: newest.head, parts }
}

/** @param stored gives a part that does not wait */
export function pickParts (
  ids: readonly PartId[], waiting: Waiting | undefined, stored: (id: PartId) => Buffer | undefined
): Map<PartId, Buffer> {
  const parts = new Map<PartId, Buffer>()
  for (const id of ids) {
    const part = waiting?.parts.has(id) ? waiting.parts.get(id) : stored(id)
    if (part) parts.set(id, inBuffer(part))
  }
  return parts
}

/** The same bytes, not a copy of them. */
export function inBuffer (part: Uint8Array): Buffer {
  return Buffer.isBuffer(part) ? part : Buffer.from(part.buffer, part.byteOffset, part.byteLength)
}
