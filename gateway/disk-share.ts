import { statfsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { streams } from '../ledger/streams.js'
import { ledger, posts, rooms, uplinks } from '../schemas/streams.js'

/**
 * All streams together get a third of what the data directory can have: a block may take up to twice its bytes in pages
 * of the file, and there are saved states, tables and whatever else is on the disk.
 */
const share = 1 / 3
/** On a disk that is nearly full the streams keep so much all the same, or nobody could read what has just come. */
const bytesMin = 16 << 20
/** By stream: payloads stand in these. */
const weightsOfLarge: ReadonlyMap<string, number> = new Map([
  [ledger.name, 16], [uplinks.name, 16], [rooms.name, 8], [posts.name, 8],
])
/** All `.rejected` streams together count as one more. */
const weights = streams.reduce((sum, { name }) => sum + weightOf(name), 1)

/**
 * How many bytes of blocks a stream of the embedded log may hold, by its name; undefined for no bound.
 *
 * @param configured for each stream; 0 for no bound; undefined for a share of the disk as it is now
 */
export function streamBytesMax (
  configured: number | undefined, dataDir: string, roomBytes = roomOf
): (name: string) => number | undefined {
  if (configured !== undefined) return () => configured || undefined
  const all = Math.max(bytesMin, roomBytes(dataDir) * share)
  return name => Math.floor(all * weightOf(name) / weights)
}

function weightOf (name: string): number {
  if (name.endsWith('.rejected')) return 1 / streams.length
  return weightsOfLarge.get(name) ?? 1
}

/** What the disk has free, and what the data file has taken of it: the same at each start. */
function roomOf (dataDir: string): number {
  const { bavail, bsize } = statfsSync(dataDir)
  const { blocks } = statSync(join(dataDir, 'data.mdb'))
  return bavail * bsize + blocks * 512
}
