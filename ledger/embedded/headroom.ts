import { pageBytes } from './batch.js'
import { chunkBytes, type DataFile } from './data-file.js'

/**
 * What a commit leaves of the headroom. What the gateway itself must write, such as acks of downlinks, may go deeper
 * than appends of clients and services; what is derived deeper than that, for retention waits until it is stored, but
 * not payloads of downlinks, which acks let go of; and deletions deepest. The last part stays in any case, for what no
 * estimate of a commit knows.
 */
export const reserves = { others: 1 / 4, own: 3 / 16, derived: 1 / 8, relief: 1 / 16 }

/** Of the data file. */
export interface Pages {
  /** Up to the last page that was ever used. */
  usedBytes (): number
  /** Pages among them that nothing uses any more. */
  freeBytes (): number
}

/**
 * Keeps written zeros at the end of the data file, ahead of the pages in use. A commit into bytes that exist takes the
 * file system half the time of one that makes the file grow: no journal entry for the new length.
 *
 * It is also what keeps LMDB from finding out that the disk is full: after a write that failed for want of space it may
 * corrupt its heap, which ends the process, or never answer. A commit begins only where `has` or `reach` say yes, and
 * that is only where the file has bytes for all that it may grow by.
 */
export class Headroom {
  private sizeBytes: number
  private growing: Promise<void> | undefined
  /** As of the last commit. */
  private usedBytes = 0
  /** Pages inside the file that were free after each of the last commits. */
  private recent: number[] = []
  /** So many free ones lie too far apart for what is written, or are still read. */
  private uselessBytes = 0

  private constructor (
    private readonly file: DataFile,
    sizeBytes: number,
    private readonly pages: Pages,
    private readonly wantedBytes: number
  ) {
    this.sizeBytes = sizeBytes
  }

  /** @param file closed with it */
  static async open (file: DataFile, pages: Pages, wantedBytes: number): Promise<Headroom> {
    const headroom = new Headroom(file, await file.bytes(), pages, wantedBytes)
    await headroom.reach(0)
    return headroom
  }

  /**
   * True where the file has `bytes` for a commit, and that part of the reserve behind them; or less of it, where enough
   * pages inside the file are free, such as those that retention has made so. A commit takes them first. How many of
   * them a long value finds side by side nobody knows, so it must be able to do without.
   */
  has (bytes: number, reserve: number = reserves.others): boolean {
    const left = this.sizeBytes - this.pages.usedBytes()
    return bytes <= left - this.wantedBytes * reserve || bytes <= this.roomOfFree(left)
  }

  /** The most that `has` takes for a commit with that part of the reserve behind it; may be below 0. */
  room (reserve: number): number {
    const left = this.sizeBytes - this.pages.usedBytes()
    return Math.max(left - this.wantedBytes * reserve, this.roomOfFree(left))
  }

  /** What a commit may take that has free pages inside the file. To ask how many there are takes 11 us. */
  private roomOfFree (left: number): number {
    const least = this.wantedBytes * reserves.relief
    return Math.min(left - least, (this.pages.freeBytes() - this.uselessBytes - least) / 2)
  }

  /** After each commit: where the file has grown all the same, the pages that were free then are of no use. */
  committed (): void {
    const usedBytes = this.pages.usedBytes()
    const grew = usedBytes > this.usedBytes
    this.usedBytes = usedBytes
    if (this.sizeBytes - usedBytes >= this.wantedBytes / 2) {
      this.recent = []
      return
    }
    const freeBytes = this.pages.freeBytes()
    this.recent = [...this.recent.slice(-2), freeBytes]
    // What a commit makes free can be used by the one after the next.
    this.uselessBytes = Math.min(grew ? Infinity : this.uselessBytes, ...this.recent)
  }

  /** Grows the file where it has to be, and says as `has` does what came of it: false where the disk is full. */
  async reach (bytes: number, reserve: number = reserves.others): Promise<boolean> {
    while (this.growing !== undefined) await this.growing
    if (!this.has(bytes, reserve)) await this.grow(bytes)
    return this.has(bytes, reserve)
  }

  /** Grows the file in the background where less than half of what is wanted is left. */
  keep (): void {
    if (this.growing === undefined && this.sizeBytes < this.pages.usedBytes() + this.wantedBytes / 2) {
      this.grow(0).catch(() => {}) // it never rejects
    }
  }

  async close (): Promise<void> {
    await this.growing
    await this.file.close()
  }

  private grow (bytes: number): Promise<void> {
    this.growing = this.append(this.pages.usedBytes() + this.wantedBytes + bytes)
      .catch(() => {}) // as far as the disk let it: what there is says the size of the file
      .finally(() => { this.growing = undefined })
    return this.growing
  }

  private async append (wanted: number): Promise<void> {
    try {
      this.sizeBytes = await this.file.bytes()
      while (this.sizeBytes < wanted) {
        await this.file.extend(Math.min(chunkBytes, Math.ceil((wanted - this.sizeBytes) / pageBytes) * pageBytes))
        this.sizeBytes = await this.file.bytes()
      }
    } finally {
      this.sizeBytes = await this.file.bytes()
    }
  }
}
