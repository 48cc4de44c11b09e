import { open, readFile, rename } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { FileLock } from './file-lock.js'
import type { ClientStorage } from './storage.js'

/*
  File => LINE*
    LINE => JSON array of [key, value], one line a write; without a value the key is gone
  A crash may cut the last line, which then counts as never written. What is dead is left out at every start, and when
  it outgrows what lives.
*/

/** A smaller file is left to grow. */
const journalBytesMin = 1 << 20

/**
 * In a file, synced before a write counts. It belongs to one process at a time: another one waits until that is gone.
 *
 * @param path of its own for each user and device; its folder exists
 */
export function inFile (path: string): ClientStorage {
  const target = resolve(path)
  const lock = new FileLock(`${target}.lock`)
  let isOpen = false
  let kept = new Map<string, string>()
  let file: FileHandle | undefined
  let bytes = 0
  let liveBytes = 0
  /** A write failed, and may have left half a line; or the file is gone. */
  let isTorn = false

  /** Writes what lives into a new file, which takes the place of the old one in one step. */
  async function compact (): Promise<void> {
    const text = kept.size === 0 ? '' : line(kept)
    const next = await open(`${target}.new`, 'w', 0o600)
    try {
      await next.writeFile(text)
      await next.sync()
      await rename(`${target}.new`, target)
    } catch (err) {
      await next.close()
      throw err
    }
    await syncFolder(dirname(target))
    await file?.close()
    file = next
    isTorn = false
    bytes = liveBytes = Buffer.byteLength(text)
  }

  return {
    async open (lost) {
      await lock.take(lost)
      try {
        kept = await readJournal(target)
      } catch (err) {
        await lock.release()
        throw err
      }
      isOpen = true
      isTorn = true
      await compact().catch(() => {}) // a full disk can still be read; the next write tries again, and says so
      return new Map(kept)
    },
    async write (changes) {
      if (!isOpen) throw new Error(`${target} is not open`)
      apply(kept, changes)
      // Somebody may have removed it: what is appended then would be gone with it.
      if (!isTorn && file !== undefined) isTorn = (await file.stat()).nlink === 0
      if (file === undefined || isTorn || (bytes > journalBytesMin && bytes > 2 * liveBytes)) {
        await compact()
        return
      }
      const text = line(changes)
      isTorn = true
      await file.appendFile(text)
      await file.datasync()
      isTorn = false
      bytes += Buffer.byteLength(text)
    },
    async close () {
      isOpen = false
      await file?.close()
      file = undefined
      await lock.release()
    },
  }
}

function line (changes: ReadonlyMap<string, string | undefined>): string {
  return `${JSON.stringify([...changes])}\n`
}

function apply (kept: Map<string, string>, changes: Iterable<readonly [string, string | null | undefined]>): void {
  for (const [key, value] of changes) {
    if (typeof value === 'string') kept.set(key, value)
    else kept.delete(key)
  }
}

/** @throws Error where a line is damaged. The file is set aside then: it would be as damaged at every start. */
async function readJournal (path: string): Promise<Map<string, string>> {
  const kept = new Map<string, string>()
  let text = ''
  try {
    text = await readFile(path, 'utf8')
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code !== 'ENOENT') throw err
  }
  const lines = text.split('\n')
  lines.pop() // what stands behind the last newline was cut by a crash, or is empty
  for (const [i, each] of lines.entries()) {
    try {
      apply(kept, JSON.parse(each))
    } catch (cause) {
      await rename(path, `${path}.damaged`)
      throw new Error(`${path} is damaged in line ${i + 1}; it is ${path}.damaged now`, { cause })
    }
  }
  return kept
}

/** So that the new name survives a crash of the machine; where a folder can't be opened (Windows) it does anyway. */
async function syncFolder (path: string): Promise<void> {
  const folder = await open(path, 'r').catch(() => undefined)
  await folder?.sync().catch(() => {})
  await folder?.close()
}
