import { open, readFile, rename, rm } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type { ClientStorage } from './storage.js'

/*
  File => LINE*
    LINE => JSON array of [key, value], one line a write; without a value the key is gone
  A crash may cut the last line, which then counts as never written. What is dead is left out at every start, and when
  it outgrows what lives.
*/

/** A smaller file is left to grow. */
const journalBytesMin = 1 << 20

/** Paths that this process has open: its own pid in a lock is else taken for that of an earlier process. */
const openPaths = new Set<string>()

/**
 * In a file, synced before a write counts. One process at a time: `<path>.lock` names it, and a lock of a process that
 * is gone does not count.
 *
 * @param path of its own for each user and device; its folder exists
 */
export function inFile (path: string): ClientStorage {
  const target = resolve(path)
  const lock = `${target}.lock`
  let kept = new Map<string, string>()
  let file: FileHandle | undefined
  let bytes = 0
  let liveBytes = 0
  /** A write failed, and may have left half a line. */
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
    async open () {
      await takeLock(lock)
      openPaths.add(lock)
      kept = await readJournal(target)
      await compact()
      return new Map(kept)
    },
    async write (changes) {
      if (file === undefined) throw new Error(`${target} is not open`)
      apply(kept, changes)
      if (isTorn || (bytes > journalBytesMin && bytes > 2 * liveBytes)) {
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
      await file?.close()
      file = undefined
      if (openPaths.delete(lock)) await rm(lock, { force: true })
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
      throw new Error(`${path} is damaged in line ${i + 1}`, { cause })
    }
  }
  return kept
}

async function takeLock (lock: string): Promise<void> {
  if (openPaths.has(lock)) throw new Error(`${lock}: another client of this process has it`)
  for (let attempt = 1; ; attempt++) {
    try {
      const file = await open(lock, 'wx', 0o600)
      await file.writeFile(`${process.pid}\n`)
      await file.close()
      return
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code !== 'EEXIST') throw err
    }
    const pid = Number(await readFile(lock, 'utf8').catch(() => ''))
    if (attempt === 3 || isAlive(pid)) throw new Error(`${lock}: process ${pid} has it`)
    await rm(lock, { force: true })
  }
}

function isAlive (pid: number): boolean {
  if (!(pid > 0) || pid === process.pid) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (err) {
    return (err as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** So that the new name survives a crash of the machine; where a folder can't be opened (Windows) it does anyway. */
async function syncFolder (path: string): Promise<void> {
  const folder = await open(path, 'r').catch(() => undefined)
  await folder?.sync().catch(() => {})
  await folder?.close()
}
