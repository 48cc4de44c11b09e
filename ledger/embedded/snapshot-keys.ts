import { GatewayError } from '../../schemas/errors.js'
import { kind, nameBytesMax, type StatesOf } from './keys.js'

/*
  Keys of saved states, behind the kind and the partition:

    head => USERID
    part => USERID 0xff TAIL                 UTF-8 has no byte 0xff
      TAIL => PARTID                         of a part that is not numbered as it comes
            | 0x01 RANK:uint48 LETTER        of one that is
      RANK => 2^48 - 1 less its place in time: the newest comes first

  So what a push changes of its user stands side by side whatever waits for him: his head, the requests remembered last,
  and the newest downlink; and so does what goes of the oldest one. Those are one page each of what a commit writes
  (docs/decisions/0052-parts-by-their-time.md).
*/

const partIdBytesMax = 20
const partMark = 0xff
const rankMark = 0x01
const rankMax = 2 ** 48 - 1
const rankedTailBytes = 8

/**
 * Parts that are numbered as they come, by the letters of their ids, and for how many messages one number stands:
 * messages and their payloads, and requests in chunks. Nearly every message has a request, so their numbers stay close.
 */
const numbersOfOne: Readonly<Record<string, number>> = { m: 1, p: 1, r: 32 }

/** Keys are copied by lmdb within the call that takes them, so one buffer serves every call. */
const buffer = Buffer.alloc(3 + nameBytesMax + 1 + partIdBytesMax)

/**
 * Valid until the next call, as all keys here.
 *
 * @param key of the user or room; '' for what the partition itself keeps
 * @throws GatewayError `bad-record` it has more than `nameBytesMax` bytes
 */
export function snapshotKey (partition: number, key: string, of: StatesOf = 'users'): Buffer {
  return buffer.subarray(0, write(partition, key, of))
}

/**
 * @param part of at most 20 bytes; the key of '' stands before those of all parts of the user or room
 * @throws GatewayError `bad-record` as `snapshotKey`
 */
export function snapshotPartKey (partition: number, key: string, part: string, of: StatesOf = 'users'): Buffer {
  const rank = rankOf(part)
  if (rank === undefined) return namedPartKey(partition, key, part, of)
  const end = write(partition, key, of)
  buffer[end] = partMark
  buffer[end + 1] = rankMark
  buffer.writeUIntBE(rank, end + 2, 6)
  buffer[end + 8] = part.charCodeAt(0)
  return buffer.subarray(0, end + 1 + rankedTailBytes)
}

/** The key that the format before gave a part which is ranked now; undefined for any other one. */
export function olderPartKey (partition: number, key: string, part: string, of: StatesOf = 'users'): Buffer | undefined {
  return rankOf(part) === undefined ? undefined : namedPartKey(partition, key, part, of)
}

/** @returns `part` undefined for the key of a head */
export function parseSnapshotKey (key: Buffer): { userId: string, part: string | undefined } {
  const mark = key.indexOf(partMark, 3)
  if (mark < 0) return { userId: key.toString('utf8', 3), part: undefined }
  return { userId: key.toString('utf8', 3, mark), part: partIn(key, mark + 1) }
}

/** @param key of a part. @returns what stands behind all parts of its user or room, and before all else */
export function behindParts (key: Buffer): Buffer {
  return Buffer.concat([key.subarray(0, key.indexOf(partMark, 3) + 1), Buffer.of(partMark)])
}

function partIn (key: Buffer, start: number): string {
  if (key[start] !== rankMark) return key.toString('latin1', start)
  const letter = key.toString('latin1', start + 7)
  return letter + String(Math.floor((rankMax - key.readUIntBE(start + 1, 6)) / numbersOfOne[letter]!))
}

function namedPartKey (partition: number, key: string, part: string, of: StatesOf): Buffer {
  const end = write(partition, key, of)
  buffer[end] = partMark
  return buffer.subarray(0, end + 1 + buffer.write(part, end + 1, 'latin1'))
}

/** A chunk counts as new as the last that it has room for: what is written with it comes next to it. */
function rankOf (part: string): number | undefined {
  const numbers = numbersOfOne[part.charAt(0)]
  if (numbers === undefined || !/^.(0|[1-9]\d{0,11})$/.test(part)) return undefined
  return rankMax - (Number(part.slice(1)) * numbers + numbers - 1)
}

function write (partition: number, key: string, of: StatesOf): number {
  const bytes = Buffer.byteLength(key)
  if (bytes > nameBytesMax) {
    throw new GatewayError('bad-record', `${of === 'users' ? 'user' : 'room'} id: got ${bytes} bytes, want at most ${nameBytesMax}`)
  }
  buffer[0] = of === 'users' ? kind.snapshot : kind.room
  buffer.writeUInt16BE(partition, 1)
  return 3 + buffer.write(key, 3)
}
