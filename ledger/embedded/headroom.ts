import { constants } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { pageBytes } from './batch.js'

const chunkBytes = 1 << 20
/** Direct writes want memory that begins at a page. */
const zeros = Buffer.from(new WebAssembly.Memory({ initial: chunkBytes >> 16 }).buffer)

/**
 * Keeps written zeros at the end of the data file, ahead of the pages in use. A commit into bytes that exist takes the
 * file system half the time of one that makes the file grow: no journal entry for the new length. They are written in
 * append mode, which can not hit bytes that LMDB has written, whoever of the two is faster.
 *
 * And directly, past the page cache, where the file system can do that. Zeros in the cache stand there in large folios:
 * each page that LMDB changes would then count, and be locked, as four to sixteen, and the next commit would have to
 * wait until zeros are on the disk.
 *
 * It is also what keeps LMDB from finding out that the disk is full: after a write that failed for want of space it may
 * corrupt its heap, which ends the process, or never answer. A commit begins only where `has` or `reach` say yes.
 */
export class Headroom {
  private sizeBytes: number
  private growing: Promise<void> | undefined

  private constructor (
    private readonly file: FileHandle,
    private direct: FileHandle | undefined,
    sizeBytes: number,
    private readonly usedBytes: () => number,
    private readonly wantedBytes: number
  ) {
    this.sizeBytes = sizeBytes
  }

  static async open (path: string, usedBytes: () => number, wantedBytes: number): Promise<Headroom> {
    const file = await open(path, 'a')
    const headroom = new Headroom(file, await openDirectly(path), (await file.stat()).size, usedBytes, wantedBytes)
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
    await this.direct?.close()
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
        await this.write(Math.min(chunkBytes, Math.ceil((wanted - this.sizeBytes) / pageBytes) * pageBytes))
        this.sizeBytes = (await this.file.stat()).size
      }
    } finally {
      this.sizeBytes = (await this.file.stat()).size
    }
  }

  /** Until the disk has said that it has room for them. */
  private async write (bytes: number): Promise<void> {
    try {
      if (this.direct !== undefined) {
        await this.direct.write(zeros, 0, bytes)
        return
      }
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code !== 'EINVAL') throw err
      await this.direct!.close()
      this.direct = undefined // the file does not end at a page, or the disk has blocks larger than that
    }
    await this.file.write(zeros, 0, bytes)
    await this.file.datasync()
  }
}

async function openDirectly (path: string): Promise<FileHandle | undefined> {
  const { O_WRONLY, O_APPEND, O_DIRECT } = constants
  if (O_DIRECT === undefined) return undefined
  return await open(path, O_WRONLY | O_APPEND | O_DIRECT).catch(() => undefined)
}
