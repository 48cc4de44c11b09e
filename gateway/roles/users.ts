import type { Logger } from 'pino'
import { type PartitionDeps, partitionLimits } from '../../actors/partition.js'
import type { ActorSystem } from '../../actors/system.js'
import { startUsers, type Users } from '../../actors/users.js'
import { rejectedRecord, rejectedStream } from '../../ledger/rejected.js'
import { ledger } from '../../schemas/streams.js'
import type { GatewayMetrics } from '../metrics.js'
import type { Stores } from '../stores.js'

/** Owns this node's share of the ledger's partitions and runs the user actors of it. */
export async function startUsersRole (
  { log, snapshots, links }: Stores, system: ActorSystem, metrics: GatewayMetrics, logger: Logger
): Promise<Users> {
  const rejected = rejectedStream(ledger)
  const failed = (what: string, error: Error, fields: object) => { logger.error({ err: error, ...fields }, what) }
  const deps: PartitionDeps = {
    log,
    snapshots,
    system,
    links,
    limits: partitionLimits,
    settled: metrics.settled,
    setAside (entry, partition, offset, error) {
      const where = `${partition}@${offset}`
      logger.error({ err: error, userId: entry.userId, fact: entry.fact.type, position: where }, 'an entry was set aside')
      log.append(rejected, partition % log.partitions(rejected),
        [rejectedRecord(ledger.encodeBlock([entry]), where, error.message, Date.now())], { lazy: true })
        .catch(err => { failed('a rejected entry could not be recorded', err, { position: where }) })
    },
    failed,
  }
  const users = await startUsers(log, deps)
  links.users = question => { users.ask(question) }
  return users
}
