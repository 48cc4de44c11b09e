import { constants } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'

/** Of one call of `extend`. */
export const chunkBytes = 1 << 20

/** The file that an environment stands in, as far as it is made longer. */
export interface DataFile {
  /** Its length now. */
  bytes (): Promise<number>
  /**
   * Writes zeros behind its end, and resolves once the disk has said that it has room for them.
   *
   * @param bytes whole pages, at most `chunkBytes`
   * @throws where the disk has none: a part of them may be written
   */
  extend (bytes: number): Promise<void>
  close (): Promise<void>
}

/** Direct writes want memory that begins at a page. */
const zeros = Buffer.from(new WebAssembly.Memory({ initial: chunkBytes >> 16 }).buffer)

/**
 * A file of this machine. Zeros are written in append mode, which can not hit bytes that LMDB has written, whoever of
 * the two is faster.
 *
 * And directly, past the page cache, where the file system can do that. Zeros in the cache stand there in large folios:
 * each page that LMDB changes would then count, and be locked, as four to sixteen, and the next commit would have to
 * wait until zeros are on the disk.
 */
export class LocalFile implements DataFile {
  static async open (path: string): Promise<LocalFile> {
    return new LocalFile(await open(path, 'a'), await openDirectly(path))
  }

  private constructor (private readonly file: FileHandle, private direct: FileHandle | undefined) {}

  async bytes (): Promise<number> { return (await this.file.stat()).size }

  async extend (bytes: number): Promise<void> {
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

  async close (): Promise<void> {
    await this.file.close()
    await this.direct?.close()
  }
}

async function openDirectly (path: string): Promise<FileHandle | undefined> {
  const { O_WRONLY, O_APPEND, O_DIRECT } = constants
  if (O_DIRECT === undefined) return undefined
  return await open(path, O_WRONLY | O_APPEND | O_DIRECT).catch(() => undefined)
}
