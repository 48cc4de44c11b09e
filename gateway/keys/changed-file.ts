import { chown, open, readFile, realpath, rename, rm, stat } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { type KeyFile, parseKeyFile } from './key-file.js'

/** The file can't be read or written: the message says which one, and why. */
export class KeyFileUnusable extends Error {
  override readonly name = 'KeyFileUnusable'
}

/** How long another process may take with the file. */
const patienceMs = 5_000

/** @throws KeyFileUnusable where it can't be read; ConfigError where it does not hold what it should */
export async function readKeyFile (path: string): Promise<KeyFile> {
  try {
    return parseKeyFile(await readFile(path, 'utf8'), path)
  } catch (err) {
    throw unusable(path, err, 'read')
  }
}

/**
 * Puts another file in the place of the one that is there, or makes the first one. Nobody meets half of it, and of two
 * that write at a time the second one starts from what the first one made. A new file is its owner's alone; one that
 * was there keeps its mode and its owner, for the gateway may be another user than whoever makes keys.
 *
 * @throws KeyFileUnusable where it can't be written; ConfigError where the file does not hold what it should
 */
export async function changeKeyFile (path: string, change: (file: KeyFile) => KeyFile): Promise<void> {
  const target = await realpath(path).catch(() => path)
  const draft = `${target}.new`
  const handle = await openAlone(draft)
  try {
    const before = await stat(target).catch(() => undefined)
    const found = before === undefined ? { keys: [] } : await readKeyFile(target)
    await handle.writeFile(`${JSON.stringify(change(found), null, 2)}\n`)
    if (before) {
      await handle.chmod(before.mode & 0o777)
      // Only root may give a file away.
      if (before.uid !== process.getuid?.()) await chown(draft, before.uid, before.gid)
    }
    await handle.sync()
    await rename(draft, target)
  } catch (err) {
    await rm(draft, { force: true })
    throw unusable(target, err, 'written')
  } finally {
    await handle.close()
  }
}

/** The draft is the lock. */
async function openAlone (draft: string): Promise<FileHandle> {
  for (const end = Date.now() + patienceMs; ; await sleep(50)) {
    try {
      return await open(draft, 'wx', 0o600)
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code !== 'EEXIST') throw unusable(draft, err, 'written')
      if (Date.now() < end) continue
      throw new KeyFileUnusable(`${draft} is there: another process writes keys, or was cut off; remove it then`)
    }
  }
}

/** What the file system says, in one line; anything else as it is. */
function unusable (path: string, err: unknown, what: 'read' | 'written'): unknown {
  const { code, syscall } = err as NodeJS.ErrnoException
  if (syscall === undefined) return err
  return new KeyFileUnusable(`${path} can not be ${what} (${code})`, { cause: err })
}
