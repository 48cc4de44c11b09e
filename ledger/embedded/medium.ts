import { join } from 'node:path'
import { type DataFile, LocalFile } from './data-file.js'
import { claimDirectory, claimExclusively, releaseDirectory, stampFormat } from './directory.js'
import { type Environment, freeBytes, type LmdbEnvironment, openEnvironment, textOf, usedBytes } from './environment.js'
import type { Pages } from './headroom.js'

/** What a store keeps its data in: an environment that it alone has open, and the file that this stands in. */
export interface Medium<E extends Environment = Environment> {
  readonly env: E
  readonly file: DataFile
  readonly pages: Pages
  /** Why a commit failed, in words. */
  textOf (err: unknown): string
  /** Closes the environment, and lets others have it. The file is closed before. */
  close (): Promise<void>
}

/**
 * A data directory of this machine, claimed and opened.
 *
 * @param neighbours names that may stand in the directory beside ours, before it was first opened
 * @throws StoreError when the directory can not be used: in use by another process, not ours, of a newer format, not
 *   writable, or its data file is damaged
 */
export async function openDirectory (
  directory: string, neighbours: readonly string[]
): Promise<Medium<LmdbEnvironment>> {
  const path = claimDirectory(directory, neighbours)
  try {
    const env = await claimExclusively(path, () => openEnvironment(path))
    try {
      stampFormat(path)
      return {
        env,
        file: await LocalFile.open(join(path, 'data.mdb')),
        pages: { usedBytes: () => usedBytes(env), freeBytes: () => freeBytes(env) },
        textOf: err => textOf(err, path),
        async close () {
          await env.close()
          releaseDirectory(path)
        },
      }
    } catch (err) {
      await env.close()
      throw err
    }
  } catch (err) {
    releaseDirectory(path)
    throw err
  }
}
