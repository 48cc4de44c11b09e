/*
  One LMDB database holds everything, under binary keys that begin with a kind:

    STREAM   0x01 NAME                                               -> JSON { streamId, partitions }
    INDEXED  0x02                                                    -> COMMIT: every block up to it is in an INDEX row
    INDEX    0x02 streamId:uint16 partition:uint16 first:uint48      -> where the blocks from offset `first` on are
    KEPT     0x03 streamId:uint16 partition:uint16                   -> the first offset kept, and bytes deleted so far
    SNAPSHOT 0x04 partition:uint16 USERID                            -> the head of one user's saved state
    PART     0x04 partition:uint16 USERID 0xff TAIL                  -> one part of it: see snapshot-keys.ts
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

// Keys are copied by lmdb within the call that takes them, so one buffer per kind serves every call.
const block = Buffer.alloc(11, kind.block)
const index = Buffer.alloc(11, kind.index)
const keys = Buffer.alloc(11, kind.keys)
const kept = Buffer.alloc(5, kind.kept)
const checkpoint = Buffer.alloc(3)

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

export function checkpointKey (partition: number, of: StatesOf = 'users'): Buffer {
  checkpoint[0] = of === 'users' ? kind.checkpoint : kind.roomCheckpoint
  checkpoint.writeUInt16BE(partition, 1)
  return checkpoint
}

export function streamKey (name: string): Buffer {
  return Buffer.concat([Buffer.from([kind.stream]), Buffer.from(name)])
}
