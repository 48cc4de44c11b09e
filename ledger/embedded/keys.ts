import { GatewayError } from '../../schemas/errors.js'

/*
  One LMDB database holds everything, under binary keys that begin with a kind:

    STREAM   0x01 NAME                                               -> JSON { streamId, partitions }
    INDEXED  0x02                                                    -> COMMIT: every block up to it is in an INDEX row
    INDEX    0x02 streamId:uint16 partition:uint16 first:uint48      -> where the blocks from offset `first` on are
    KEPT     0x03 streamId:uint16 partition:uint16                   -> the first offset kept, and bytes deleted so far
    SNAPSHOT 0x04 partition:uint16 USERID                            -> the head of one user's saved state
    PART     0x04 partition:uint16 USERID 0xff PARTID                -> one part of it; UTF-8 has no byte 0xff
    CHECK    0x05 partition:uint16                                   -> checkpoint of the snapshots
    FIELD    0x06 table:uint8 generation:uint16 partition:uint16 length:uint16 KEY FIELD -> one field of a table, JSON
      length => bytes of KEY
    TABLE    0x07 table:uint8                                        -> JSON { generation }
    POSITION 0x08 table:uint8 generation:uint16 partition:uint16     -> JSON { next, atMs, indexed }: how far a table is
    COMMITTED 0x09 streamId:uint16 partition:uint16 GROUP            -> next:uint48: what the group has committed
    ROOM     0x0b partition:uint16 ROOMID                            -> as SNAPSHOT, of a room; its PARTs likewise
    ROOMCHECK 0x0c partition:uint16                                  -> as CHECK, of rooms
    KEYS     0x0a streamId:uint16 partition:uint16 first:uint48      -> the keys of the blocks from `first` on
    BLOCK    0x10 commit:uint48 streamId:uint16 partition:uint16     -> one block

  All blocks of one commit are neighbours at the very end of the tree, whatever streams and partitions they belong to.
  A commit then rewrites one path from leaf to root instead of one per partition, which is a third of its CPU with eight
  partitions, and pages fill up completely because nothing is ever put between two blocks.
*/
export const kind = {
  stream: 0x01,
  index: 0x02,
  kept: 0x03,
  snapshot: 0x04,
  checkpoint: 0x05,
  field: 0x06,
  table: 0x07,
  position: 0x08,
  committed: 0x09,
  keys: 0x0a,
  room: 0x0b,
  roomCheckpoint: 0x0c,
  block: 0x10,
} as const

export const indexedKey = Buffer.from([kind.index])

/** Two names go into one key, and LMDB takes keys of up to 1978 bytes. */
export const nameBytesMax = 900
const partIdBytesMax = 20

// Keys are copied by lmdb within the call that takes them, so one buffer per kind serves every call.
const block = Buffer.alloc(11, kind.block)
const index = Buffer.alloc(11, kind.index)
const keys = Buffer.alloc(11, kind.keys)
const kept = Buffer.alloc(5, kind.kept)
const checkpoint = Buffer.alloc(3)
const snapshot = Buffer.alloc(3 + nameBytesMax + 1 + partIdBytesMax)
const partMark = 0xff

/** Valid until the next call, like every key here but those of streams. */
export function blockKey (commit: number, streamId: number, partition: number): Buffer {
  block.writeUIntBE(commit, 1, 6)
  block.writeUInt16BE(streamId, 7)
  block.writeUInt16BE(partition, 9)
  return block
}

export function parseBlockKey (key: Buffer): { commit: number, streamId: number, partition: number } {
  return { commit: key.readUIntBE(1, 6), streamId: key.readUInt16BE(7), partition: key.readUInt16BE(9) }
}

export function indexKey (streamId: number, partition: number, first: number): Buffer {
  index.writeUInt16BE(streamId, 1)
  index.writeUInt16BE(partition, 3)
  index.writeUIntBE(first, 5, 6)
  return index
}

export function keysKey (streamId: number, partition: number, first: number): Buffer {
  keys.writeUInt16BE(streamId, 1)
  keys.writeUInt16BE(partition, 3)
  keys.writeUIntBE(first, 5, 6)
  return keys
}

export function keptKey (streamId: number, partition: number): Buffer {
  kept.writeUInt16BE(streamId, 1)
  kept.writeUInt16BE(partition, 3)
  return kept
}

/** Whose states: each kind has its own keys. */
export type StatesOf = 'users' | 'rooms'

/**
 * @param key of the user or room; '' for what the partition itself keeps
 * @throws GatewayError `bad-record` it has more than `nameBytesMax` bytes
 */
export function snapshotKey (partition: number, key: string, of: StatesOf = 'users'): Buffer {
  return snapshot.subarray(0, writeSnapshotKey(partition, key, of))
}

/**
 * @param part of at most 20 bytes; the key of '' stands before those of all parts of the user or room
 * @throws GatewayError `bad-record` as `snapshotKey`
 */
export function snapshotPartKey (partition: number, key: string, part: string, of: StatesOf = 'users'): Buffer {
  const end = writeSnapshotKey(partition, key, of)
  snapshot[end] = partMark
  return snapshot.subarray(0, end + 1 + snapshot.write(part, end + 1, 'latin1'))
}

function writeSnapshotKey (partition: number, key: string, of: StatesOf): number {
  const bytes = Buffer.byteLength(key)
  if (bytes > nameBytesMax) throw new GatewayError('bad-record', `${of === 'users' ? 'user' : 'room'} id: got ${bytes} bytes, want at most ${nameBytesMax}`)
  snapshot[0] = of === 'users' ? kind.snapshot : kind.room
  snapshot.writeUInt16BE(partition, 1)
  return 3 + snapshot.write(key, 3)
}

/** @returns `part` undefined for the key of a head */
export function parseSnapshotKey (key: Buffer): { userId: string, part: string | undefined } {
  const mark = key.indexOf(partMark, 3)
  if (mark < 0) return { userId: key.toString('utf8', 3), part: undefined }
  return { userId: key.toString('utf8', 3, mark), part: key.toString('latin1', mark + 1) }
}

export function checkpointKey (partition: number, of: StatesOf = 'users'): Buffer {
  checkpoint[0] = of === 'users' ? kind.checkpoint : kind.roomCheckpoint
  checkpoint.writeUInt16BE(partition, 1)
  return checkpoint
}

export function streamKey (name: string): Buffer {
  return Buffer.concat([Buffer.from([kind.stream]), Buffer.from(name)])
}
