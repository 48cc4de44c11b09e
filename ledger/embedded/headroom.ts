import { open, type FileHandle } from 'node:fs/promises'

const chunkBytes = 1 << 20
const zeros = Buffer.alloc(chunkBytes)

/**
 * Keeps written zeros at the end of the data file, ahead of the pages in use. A commit into bytes that exist takes the
 * file system half the time of one that makes the file grow: no journal entry for the new length. They are written in
 * append mode, which can not hit bytes that LMDB has written, whoever of the two is faster.
 */
export class Headroom {
  private sizeBytes: number
  private growing: Promise<void> | undefined
  /** The file could not grow when it was last tried. */
  private full = false

  private constructor (
    private readonly file: FileHandle,
    sizeBytes: number,
    private readonly usedBytes: () => number,
    private readonly wantedBytes: number
  ) {
    this.sizeBytes = sizeBytes
  }

  static async open (path: string, usedBytes: () => number, wantedBytes: number): Promise<Headroom> {
    const file = await open(path, 'a')
    const headroom = new Headroom(file, (await file.stat()).size, usedBytes, wantedBytes)
    await headroom.keep()
    return headroom
  }

  /**
   * True where the disk is full and the file has less left than a commit of `bytes` may take. LMDB must not find that
   * out: after a write that failed for want of space it may corrupt its heap, which ends the process, or never answer.
   */
  isShort (bytes: number): boolean {
    return this.full && this.sizeBytes - this.usedBytes() < Math.max(this.wantedBytes / 4, 2 * bytes)
  }

  /** Grows the file where less than half of what is wanted is left. */
  keep (): Promise<void> {
    if (this.growing === undefined && this.sizeBytes < this.usedBytes() + this.wantedBytes / 2) {
      this.growing = this.grow().then(() => { this.full = false }, () => { this.full = true })
        .finally(() => { this.growing = undefined })
    }
    return this.growing ?? Promise.resolve()
  }

  async close (): Promise<void> {
    await this.growing
    await this.file.close()
  }

  private async grow (): Promise<void> {
    const wanted = this.usedBytes() + this.wantedBytes
    this.sizeBytes = (await this.file.stat()).size
    while (this.sizeBytes < wanted) {
      await this.file.write(zeros, 0, Math.min(chunkBytes, wanted - this.sizeBytes))
      await this.file.datasync()
      this.sizeBytes = (await this.file.stat()).size
    }
  }
}
