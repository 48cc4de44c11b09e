import type { RootDatabase } from 'lmdb'

export interface WriteBatch {
  /** Bytes put so far in this commit. */
  readonly bytes: number
  /** `key` is copied; `value` must stay as it is until the outcome. */
  put (key: Buffer, value: Uint8Array): void
  remove (key: Buffer): void
  /** Room for a value, valid until the outcome. Cheaper than a buffer of its own per value. */
  room (bytes: number): Buffer
}

const arenaBytes = 1 << 16
/** An arena that one huge commit made is given back. */
const arenaBytesKept = 1 << 22

/** The writes of one commit. Values live in an arena that the next commit uses again. */
export class Batch implements WriteBatch {
  bytes = 0
  private arena = Buffer.allocUnsafeSlow(arenaBytes)
  private used = 0
  /** Where they are collected first, pairs of key and value. */
  private writes: Array<Uint8Array | undefined> | undefined

  constructor (private readonly env: RootDatabase<Buffer, Buffer>) {}

  /** @param collecting whether the writes wait for `replay`, because what lmdb has taken could not be taken back */
  start (collecting: boolean): void {
    this.bytes = this.used = 0
    this.writes = collecting ? [] : undefined
    if (this.arena.length > arenaBytesKept) this.arena = Buffer.allocUnsafeSlow(arenaBytes)
  }

  put (key: Buffer, value: Uint8Array): void {
    this.bytes += value.length
    if (this.writes) this.writes.push(Buffer.from(key), value)
    else this.env.put(key, value as Buffer)
  }

  remove (key: Buffer): void {
    if (this.writes) this.writes.push(Buffer.from(key), undefined)
    else this.env.remove(key)
  }

  replay (): void {
    const writes = this.writes!
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
