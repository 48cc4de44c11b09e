import { performance } from 'node:perf_hooks'
import { getHeapStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

const checkEveryMs = 1_000

/** Share of time that the event loop is busy, below which a pause for compaction meets nobody. */
const idleUtilization = 0.1

/**
 * After so many checks without a load: first users are passivated; and V8 makes the young generation smaller only when
 * it has seen for 5 s that little is allocated (kThroughputTimeFrameMs), which begins with the collection before.
 */
const collectAt = [8, 14]

/** A larger heap would stop for longer than anybody should wait, idle or not: it is left to V8, which goes in steps. */
const heapBytesMax = 256 << 20

/**
 * Gives memory back once the node has become idle. V8 itself collects when it allocates, so a burst leaves its garbage
 * and a young generation at its largest behind: 10,000 connections at once, then nothing, took 194 MB a minute later
 * and 71 MB after a collection. Nor does it put the heap together, which such a burst leaves in pieces: 8.2 KB a
 * connection after 8,000 at once, and 5.1 KB after a compacting collection. One that compacts stops the process for
 * longer, so under load it stays off.
 */
export function collectWhileIdle (): void {
  const collect = collector()
  let last = performance.eventLoopUtilization()
  let compacts = false
  /** Without a load, since there was one. */
  let checks = Infinity
  const timer = setInterval(() => {
    const now = performance.eventLoopUtilization()
    const idle = performance.eventLoopUtilization(now, last).utilization < idleUtilization
    last = now
    if (idle !== compacts) {
      compacts = idle
      setFlagsFromString(compacts ? '--compact-on-every-full-gc' : '--no-compact-on-every-full-gc')
    }
    checks = idle ? checks + 1 : 0
    if (!collectAt.includes(checks) || getHeapStatistics().used_heap_size > heapBytesMax) return
    collect()
    last = performance.eventLoopUtilization() // the collection is no load
  }, checkEveryMs)
  timer.unref()
}

/** V8's function, without its flag for the whole program. */
function collector (): () => void {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  setFlagsFromString('--no-expose-gc')
  return collect
}
