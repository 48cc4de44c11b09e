import { readFileSync } from 'node:fs'
import type { NodeProcess } from './node-process.js'
import { until } from './node-process.js'

const quietMs = 3_000

/** Bytes that a process has handed to the kernel so far to be written, to files and sockets. */
export function handedBytes ({ pid }: NodeProcess): number {
  return Number(/^wchar: (\d+)/m.exec(readFileSync(`/proc/${pid}/io`, 'latin1'))![1])
}

/** Waits until it has written nothing for 3 s: a checkpoint comes every second, and a user rests after two. */
export async function untilQuiet (node: NodeProcess): Promise<void> {
  let seen = -1
  let sinceMs = 0
  await until(() => {
    const bytes = handedBytes(node)
    if (bytes !== seen) sinceMs = performance.now()
    seen = bytes
    return performance.now() - sinceMs > quietMs
  }, 50)
}
