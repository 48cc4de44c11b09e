import { open, type FileHandle } from 'node:fs/promises'

const chunkBytes = 1 << 20
const zeros = Buffer.alloc(chunkBytes)

/**
 * Keeps written zeros at the end of the data file, ahead of the pages in use. A commit into bytes that exist takes the
 * file system half the time of one that makes the file grow: no journal entry for the new length. They are written in
 * append mode, which can not hit bytes that LMDB has written, whoever of the two is faster.
 *
 * It is also what keeps LMDB from finding out that the disk is full: after a write that failed for want of space it may
 * corrupt its heap, which ends the process, or never answer. A commit begins only where `has` or `reach` say yes.
 */
export class Headroom {
  private sizeBytes: number
  private growing: Promise<void> | undefined

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
    await headroom.reach(0)
    return headroom
  }

  /** True where the file has `bytes` for a commit, and a reserve for what no estimate of a commit knows. */
  has (bytes: number): boolean {
    return this.sizeBytes - this.usedBytes() >= bytes + this.wantedBytes / 4
  }

  /** Grows the file where it has to be, and says as `has` does what came of it: false where the disk is full. */
  async reach (bytes: number): Promise<boolean> {
    while (this.growing !== undefined) await this.growing
    if (!this.has(bytes)) await this.grow(bytes)
    return this.has(bytes)
  }

  /** Grows the file in the background where less than half of what is wanted is left. */
  keep (): void {
    if (this.growing === undefined && this.sizeBytes < this.usedBytes() + this.wantedBytes / 2) {
      this.grow(0).catch(() => {}) // it never rejects
    }
  }

  async close (): Promise<void> {
    await this.growing
    await this.file.close()
  }

  private grow (bytes: number): Promise<void> {
    this.growing = this.append(this.usedBytes() + this.wantedBytes + bytes)
      .catch(() => {}) // as far as the disk let it: what there is says the size of the file
      .finally(() => { this.growing = undefined })
    return this.growing
  }

  private async append (wanted: number): Promise<void> {
    try {
      this.sizeBytes = (await this.file.stat()).size
      while (this.sizeBytes < wanted) {
        await this.file.write(zeros, 0, Math.min(chunkBytes, wanted - this.sizeBytes))
        await this.file.datasync()
        this.sizeBytes = (await this.file.stat()).size
      }
    } finally {
      this.sizeBytes = (await this.file.stat()).size
    }
  }
}
