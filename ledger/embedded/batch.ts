import type { Environment } from './environment.js'

export interface WriteBatch {
  /** Bytes put so far in this commit. */
  readonly bytes: number
  /** What the file may grow by for them, at most: see `pageBytesOf`. */
  readonly pageBytes: number
  /** What appends should have in this commit, in bytes as they count in memory; one goes whatever its size. */
  readonly appendsMax: number
  /** A writer of derived data leaves what is beyond so many page bytes for the next commits, but for one step. */
  readonly derivedEnd: number
  /** Set by who has put in what may be as much as all that fills the disk, and is worth nothing once that was acked. */
  hasBulk: boolean
  /**
   * `key` is copied; `value` must stay as it is until the outcome.
   *
   * @param isNeighbour the key stands near the last one of this commit, so that most of its way is new already
   */
  put (key: Buffer, value: Uint8Array, isNeighbour?: boolean): void
  remove (key: Buffer, isNeighbour?: boolean): void
  /** Room for a value, valid until the outcome. Cheaper than a buffer of its own per value. */
  room (bytes: number): Buffer
}

export const pageBytes = 4096
/** A longer value stands in pages of its own. */
const inlineBytesMax = 2000

/**
 * What each writer of derived data puts into one commit, in page bytes: half of what the commit has besides, at least
 * `busy`; and `idle` where it has nothing else. The rest goes with the next ones. A small value in a place of its own
 * takes 16 us of a commit and counts for two pages, so a checkpoint of 200 users at once would keep appends waiting for
 * 4 ms (docs/decisions/0017-the-tail-of-a-commit.md).
 */
export const derivedBytes = { busy: 1 << 16, idle: 1 << 18 }

const arenaBytes = 1 << 16
/** An arena that one huge commit made is given back. */
const arenaBytesKept = 1 << 22

/** A place in a batch. */
export interface Mark {
  readonly bytes: number
  readonly pageBytes: number
  readonly length: number
  readonly hasBulk: boolean
}

/** The writes of one commit, all collected before lmdb takes the first. Values live in an arena that is used again. */
export class Batch implements WriteBatch {
  bytes = 0
  pageBytes = 0
  appendsMax = Infinity
  derivedEnd = 0
  hasBulk = false
  private arena = Buffer.allocUnsafeSlow(arenaBytes)
  private used = 0
  /** Pairs of key and value; undefined for one that is removed. */
  private writes: Array<Uint8Array | undefined> = []

  constructor (private readonly env: Environment) {}

  start (): void {
    this.bytes = this.pageBytes = this.used = 0
    this.hasBulk = false
    this.appendsMax = Infinity
    this.writes = []
    if (this.arena.length > arenaBytesKept) this.arena = Buffer.allocUnsafeSlow(arenaBytes)
  }

  /** What it has so far, for `cutBack`. */
  mark (): Mark {
    return { bytes: this.bytes, pageBytes: this.pageBytes, length: this.writes.length, hasBulk: this.hasBulk }
  }

  /** Forgets what came after the mark. */
  cutBack ({ bytes, pageBytes, length, hasBulk }: Mark): void {
    this.bytes = bytes
    this.pageBytes = pageBytes
    this.writes.length = length
    this.hasBulk = hasBulk
  }

  get isEmpty (): boolean { return this.writes.length === 0 }

  put (key: Buffer, value: Uint8Array, isNeighbour = false): void {
    this.bytes += value.length
    this.pageBytes += pageBytesOf(value.length, isNeighbour)
    this.writes.push(Buffer.from(key), value)
  }

  remove (key: Buffer, isNeighbour = false): void {
    this.pageBytes += pageBytesOf(0, isNeighbour)
    this.writes.push(Buffer.from(key), undefined)
  }

  /** Gives all of it to lmdb, which can not give back what it has taken. */
  replay (): void {
    const { writes } = this
    for (let i = 0; i < writes.length; i += 2) {
      if (writes[i + 1]) this.env.put(writes[i] as Buffer, writes[i + 1] as Buffer)
      else this.env.remove(writes[i] as Buffer)
    }
  }

  room (bytes: number): Buffer {
    if (this.used + bytes > this.arena.length) {
      // The old arena stays alive as long as lmdb holds values in it.
      this.arena = Buffer.allocUnsafeSlow(Math.max(2 * this.arena.length, bytes))
      this.used = 0
    }
    const room = this.arena.subarray(this.used, this.used + bytes)
    this.used += bytes
    return room
  }
}

/**
 * No page is changed in place: new copies of the leaf and of the page above it, and a long value's own pages.
 * Neighbours share the leaf: each takes its share of one that is half full, and of what is noted of pages that go.
 */
export function pageBytesOf (valueBytes: number, isNeighbour = false): number {
  const own = valueBytes > inlineBytesMax ? Math.ceil((valueBytes + 16) / pageBytes) * pageBytes : 0
  const inline = own > 0 ? 0 : valueBytes
  return own + Math.min(2 * pageBytes, isNeighbour ? neighbourBytes + 2 * inline : 2 * pageBytes)
}

/** Room for a key, and for a value that was as long as an ordinary one and goes. */
const neighbourBytes = 1024
