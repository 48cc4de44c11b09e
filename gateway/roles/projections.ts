import type { Logger } from 'pino'
import type { EventLog } from '../../ledger/log.js'
import { nodes as nodesProjection } from '../../projections/nodes.js'
import { presence } from '../../projections/presence.js'
import type { Projection } from '../../projections/projection.js'
import { routing } from '../../projections/routing.js'
import { Runner } from '../../projections/runner.js'
import { ledger, nodes, type Stream } from '../../schemas/streams.js'
import type { Stores } from '../stores.js'

/** Keeps the tables: this node's share of the partitions of the ledger and of `nodes`. */
export interface Projections {
  /** Blocks that each table is behind. */
  lag (): ReadonlyMap<string, number>
  /** Waits until the tables hold everything that was in the ledger when it was called. One process has it all then. */
  caughtUp (): Promise<void>
  stop (): Promise<void>
}

export async function startProjectionsRole (stores: Stores, logger: Logger): Promise<Projections> {
  const nodeRunner = await startRunner(stores, nodes, [nodesProjection], logger)
  const runner = await startRunner(stores, ledger, [presence, routing], logger)
  return {
    lag () {
      const lag = new Map<string, number>()
      for (const { table, blocks } of [...runner.lag(), ...nodeRunner.lag()]) {
        lag.set(table, (lag.get(table) ?? 0) + blocks)
      }
      return lag
    },
    caughtUp: () => caughtUp(stores.log, runner),
    async stop () {
      await runner.stop()
      await nodeRunner.stop()
    },
  }
}

function startRunner<T extends { atMs: number }> (
  { log, tables }: Stores, stream: Stream<T>, projections: ReadonlyArray<Projection<T>>, logger: Logger
): Promise<Runner<T>> {
  return Runner.start({
    log,
    stream,
    group: 'projections',
    tables,
    projections,
    onPoison: poison => { logger.error(poison, 'an item was left out of a table') },
    onFailed: ({ error, ...where }) => { logger.error({ err: error, ...where }, 'a table could not be written yet') },
  })
}

async function caughtUp (log: EventLog, runner: Runner<any>): Promise<void> {
  const partitions = Array.from({ length: log.partitions(ledger) }, (_, partition) => partition)
  const ends = await Promise.all(partitions.map(partition => endOf(log, partition)))
  while (runner.lag().some(({ partition, next, blocks }) => next - BigInt(blocks) < ends[partition]!)) {
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}

/** Behind the last block that followers get: one that was set aside, at the very end, they would wait for in vain. */
async function endOf (log: EventLog, partition: number): Promise<bigint> {
  const { first, next } = await log.bounds(ledger, partition)
  let end = first
  for (let from = next - 1n; from >= first && end === first; from--) {
    for await (const { offset } of log.read(ledger, partition, { from, to: next })) end = offset + 1n
  }
  return end
}
