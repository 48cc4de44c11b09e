import type { Place } from '../../ledger/log.js'

/*
  CURSOR => base64url of TEXT
    TEXT => "g2:" STREAM ":" PARTITION "@" NEXT "." INDEX ":" EPOCH ":" NODEID
      NEXT, INDEX => the place behind the line: `INDEX` items of the block at `NEXT` are done as well
      EPOCH => of the lease of the partition, by which the reader had it
      NODEID => the node that gave it out
*/

/** What a line in a group is acked by: it names the place behind it, and the node that has the partition. */
export interface AckCursor {
  /** Name of the stream. */
  readonly stream: string
  readonly partition: number
  readonly place: Place
  readonly epoch: number
  readonly nodeId: string
}

export function formatAckCursor ({ stream, partition, place: { next, index }, epoch, nodeId }: AckCursor): string {
  return Buffer.from(`g2:${stream}:${partition}@${next}.${index}:${epoch}:${nodeId}`).toString('base64url')
}

/** @returns undefined for what is none */
export function parseAckCursor (text: string): AckCursor | undefined {
  const decoded = Buffer.from(text, 'base64url').toString()
  const [, stream, partition, next, index, epoch, nodeId] =
    /^g2:([a-z.]+):(\d{1,4})@(\d{1,15})\.(\d{1,9}):(\d{1,9}):(.+)$/s.exec(decoded) ?? []
  if (stream === undefined) return undefined
  const place = { next: BigInt(next!), index: Number(index) }
  const cursor = { stream, partition: Number(partition), place, epoch: Number(epoch), nodeId: nodeId! }
  return formatAckCursor(cursor) === text ? cursor : undefined
}

/** Below 0 where `a` stands before `b`, above 0 where it stands behind it. */
export function comparePlaces (a: Place, b: Place): number {
  return a.next === b.next ? a.index - b.index : a.next < b.next ? -1 : 1
}
