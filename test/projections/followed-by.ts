import type { Projection } from '../../projections/projection.js'
import { Runner } from '../../projections/runner.js'
import type { RunnerOptions } from '../../projections/runner.js'
import { MemoryLog } from './memory-log.js'
import { MemoryTables } from './memory-tables.js'

/** A runner's options for tests: failures and poison are errors unless a test wants them. */
export function options<T extends { atMs: number }> (
  log: MemoryLog<T>,
  tables: MemoryTables,
  projections: readonly Projection<T>[]
): RunnerOptions<T> {
  return {
    log,
    stream: log.stream,
    group: 'projections',
    tables,
    projections,
    onPoison: ({ error }) => { throw error },
    onFailed: () => {},
    retryMs: 1,
  }
}

/**
 * The tables after a runner has followed these blocks.
 *
 * @param restartAfter the runner dies after these blocks, without a word, and another one goes on
 * @param rewind how many offsets the log goes back before what the next runner asks for
 */
export async function followedBy<T extends { atMs: number }> (
  projections: readonly Projection<T>[],
  blocks: readonly (readonly T[])[],
  { restartAfter = [], rewind = 0n }: { restartAfter?: readonly number[], rewind?: bigint } = {}
): Promise<{ tables: MemoryTables, log: MemoryLog<T> }> {
  const tables = new MemoryTables()
  const log = new MemoryLog<T>({ gap: 3n })
  log.rewind = rewind
  let runner = await Runner.start(options(log, tables, projections))
  for (const [i, block] of blocks.entries()) {
    log.add(block)
    await log.pump()
    if (restartAfter.includes(i)) runner = await Runner.start(options(log, tables, projections))
  }
  await log.pump()
  await runner.stop()
  return { tables, log }
}
