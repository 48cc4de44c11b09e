import type { LogReader, StoredBlocks } from '../log.js'
import { isRejectedStream, type RejectedAt } from '../rejected.js'
import { SetAside } from '../set-aside.js'
import type { Catalog } from './catalog.js'
import { claimExclusively, claimToRead, releaseDirectory } from './directory.js'
import { openEnvironment } from './environment.js'
import { Streams } from './streams.js'

export interface StoredLog extends LogReader, StoredBlocks {
  close (): Promise<void>
}

export interface StoredLogOptions {
  /** A block is skipped: it is damaged or can not be decoded. Told once for each that is met. */
  readonly onDamage?: (damage: RejectedAt) => void
}

/** Of a directory that has no stream at all. */
const partitionsUsual = 8

/**
 * The streams in the data directory of a node that does not run, however it ended. Nothing in the directory changes
 * but LMDB's lock file, which is made where it is missing: it keeps a node from starting while it is being read.
 *
 * @throws StoreError when the directory can not be read: absent, in use by another process, of a newer format, damaged
 */
export async function openStoredLog (directory: string, { onDamage }: StoredLogOptions = {}): Promise<StoredLog> {
  const path = claimToRead(directory)
  try {
    const env = await claimExclusively(path, () => openEnvironment(path, { readOnly: true }))
    const closing = new AbortController()
    const setAside = new SetAside({ told: onDamage })
    try {
      const streams: Streams = new Streams(env, {
        closing: closing.signal,
        now: Date.now,
        partitionsOf: () => partitionsAsOthers(streams.catalog),
        opened () {},
        released () {},
        setAside ({ stream, partition }, offset, bytes, reason) {
          setAside.add(stream, partition, BigInt(offset), bytes, reason)
        },
      })
      return Object.assign(streams, {
        async close () {
          closing.abort()
          for (const log of streams.logs()) log.wakeReaders()
          await env.close()
          releaseDirectory(path)
        },
      })
    } catch (err) {
      await env.close()
      throw err
    }
  } catch (err) {
    releaseDirectory(path)
    throw err
  }
}

/** Of a stream that the directory does not have: it is empty, in as many partitions as a node would make. */
function partitionsAsOthers (catalog: Catalog): number {
  const other = catalog.names().find(name => !isRejectedStream({ name }))
  return other === undefined ? partitionsUsual : catalog.find(other)!.partitions
}
