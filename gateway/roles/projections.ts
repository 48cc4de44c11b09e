import type { Logger } from 'pino'
import { endOf } from '../../ledger/end.js'
import type { EventLog } from '../../ledger/log.js'
import { History } from '../../projections/history.js'
import { nodes as nodesProjection } from '../../projections/nodes.js'
import { presence } from '../../projections/presence.js'
import type { Projection } from '../../projections/projection.js'
import { routing } from '../../projections/routing.js'
import { Runner, type RunnerOptions } from '../../projections/runner.js'
import { GatewayError } from '../../schemas/errors.js'
import type { Health } from '../../schemas/conditions.js'
import { connections, ledger, nodes, type Stream } from '../../schemas/streams.js'
import type { SetAsides } from '../set-asides.js'
import type { Stores } from '../stores.js'

export interface ProjectionsRoleDeps {
  readonly stores: Pick<Stores, 'log' | 'tables'>
  readonly asides: SetAsides
  readonly logger: Logger
  readonly health: Health
}

/**
 * Keeps the tables, and writes the stream `connections`: this node's share of the partitions of the ledger and of
 * `nodes`.
 */
export interface Projections {
  /** Blocks that each table is behind. */
  lag (): ReadonlyMap<string, number>
  /** Waits until the tables hold all that was in the log at the call. One process has it all then. */
  caughtUp (): Promise<void>
  stop (): Promise<void>
}

export async function startProjectionsRole (
  { stores, asides, logger, health }: ProjectionsRoleDeps
): Promise<Projections> {
  const nodeRunner = await startRunner(stores, nodes, [nodesProjection], logger, health)
  const runner = await startRunner(stores, ledger, [presence, routing], logger, health)
  const { log, tables } = stores
  // On its own: that `connections` can't be written must not hold up where messages go.
  const history = await History.start({
    log,
    tables,
    ...reports(logger, health, 'connections'),
    setAside ({ userId, connectionId }, partition, error) {
      asides.add('connection', 'a record of a connection was set aside', error, { userId, connectionId, partition }, {
        stream: connections,
        partition,
        where: `${partition}`,
        reason: `record ${connectionId} of the stream can not be published: ${error.message}`,
        key: userId,
      })
    },
  })
  return {
    lag () {
      const lag = new Map<string, number>()
      for (const { table, blocks } of [...runner.lag(), ...history.lag(), ...nodeRunner.lag()]) {
        lag.set(table, (lag.get(table) ?? 0) + blocks)
      }
      return lag
    },
    async caughtUp () {
      await caughtUp(log, nodes, nodeRunner)
      await caughtUp(log, ledger, runner)
    },
    async stop () {
      await history.stop()
      await runner.stop()
      await nodeRunner.stop()
    },
  }
}

function startRunner<T extends { atMs: number }> (
  { log, tables }: Pick<Stores, 'log' | 'tables'>, stream: Stream<T>, projections: ReadonlyArray<Projection<T>>, logger: Logger,
  health: Health
): Promise<Runner<T>> {
  return Runner.start({ log, stream, group: 'projections', tables, projections, ...reports(logger, health, 'tables') })
}

function reports (
  logger: Logger, health: Health, condition: 'tables' | 'connections'
): Pick<RunnerOptions<unknown>, 'onPoison' | 'onFailed' | 'onHealed'> {
  const what = ({ table, partition }: { table: string, partition: number }) => `${table}, partition ${partition}`
  return {
    onPoison: poison => { logger.error(poison, 'an item was left out of a table') },
    onFailed: failure => { health.begin(condition, (failure.error as Error).message, what(failure)) },
    onHealed: healed => { health.end(condition, what(healed)) },
  }
}

async function caughtUp (log: EventLog, stream: Stream<any>, runner: Runner<any>): Promise<void> {
  const partitions = Array.from({ length: log.partitions(stream) }, (_, partition) => partition)
  const ends = await Promise.all(partitions.map(partition => endOf(log, stream, partition)))
  while (runner.lag().some(({ partition, next, blocks }) => next - BigInt(blocks) < ends[partition]!)) {
    const { ok, reason } = log.health()
    if (!ok) throw new GatewayError('ledger-unavailable', reason) // a start that waits for room says nothing
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}
