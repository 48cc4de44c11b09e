import type { Logger } from 'pino'
import type { PartitionDeps } from '../../actors/partition.js'
import { partitionLimits } from '../../actors/partition-limits.js'
import type { ActorSystem } from '../../actors/system.js'
import { startUsers, type Users } from '../../actors/users.js'
import type { WaitProbe } from '../../actors/wait-probe.js'
import { type Rejected, rejectedRecord, rejectedStream } from '../../ledger/rejected.js'
import { ledger, type Stream, uplinks } from '../../schemas/streams.js'
import type { Health } from '../../schemas/conditions.js'
import { LedgerCut } from '../ledger-cut.js'
import type { GatewayMetrics, SetAside } from '../metrics.js'
import { PartitionWatch } from '../partition-watch.js'
import type { Stores } from '../stores.js'

const nothing = new Uint8Array(0)

/** Owns this node's share of the ledger's partitions and runs the user actors of it. */
export async function startUsersRole (
  { log, snapshots, tables, links, cutting }: Stores, system: ActorSystem, metrics: GatewayMetrics, logger: Logger,
  health: Health, folds: WaitProbe
): Promise<Users> {
  const failed = (what: string, error: Error, fields: object) => { logger.error({ err: error, ...fields }, what) }
  const record = (stream: Stream<any>, what: SetAside, partition: number, record: Rejected) => {
    metrics.setAside(what)
    const rejected = rejectedStream(stream)
    log.append(rejected, partition % log.partitions(rejected), [record], { lazy: true, reserved: true })
      .catch(err => { failed('what was set aside could not be recorded', err, { what, reason: record.reason }) })
  }
  const deps: PartitionDeps = {
    log,
    snapshots,
    system,
    links,
    limits: partitionLimits,
    folds,
    settled: metrics.settled,
    setAside (entry, partition, offset, error) {
      const position = `${partition}@${offset}`
      const { userId } = entry
      logger.error({ err: error, userId, fact: entry.fact.type, position }, 'an entry was set aside')
      record(ledger, 'entry', partition, rejectedRecord(ledger.encodeBlock([entry]), position, error.message, Date.now()))
    },
    userSetAside (userId, partition, offset, error) {
      const position = `${partition}@${offset}`
      logger.error({ err: error, userId, position }, 'a user was set aside: nothing of theirs is folded any more')
      const reason = `the state of this user can not be used, so none of their entries is folded: ${error.message}`
      record(ledger, 'user', partition, { ...rejectedRecord(nothing, position, reason, Date.now()), userId })
    },
    uplinkSetAside (uplink, partition, error) {
      const { userId, userSeq } = uplink
      logger.error({ err: error, userId, userSeq, partition }, 'an uplink was set aside')
      const reason = `uplink ${userSeq} of the user can not be published: ${error.message}`
      const rejectedUplink = { ...rejectedRecord(nothing, `${partition}`, reason, Date.now()), userId }
      record(uplinks, 'uplink', partition, rejectedUplink)
    },
    failed,
  }
  const users = await startUsers(log, deps)
  links.users = question => { users.ask(question) }
  const progress = () => users.progress()
  const watch = new PartitionWatch({ log, health, progress })
  const cut = cutting && new LedgerCut({ ...cutting, tables, health, progress })
  cut?.start()
  return {
    ...users,
    async stop () {
      await watch.stop()
      await cut?.stop()
      await users.stop()
    },
  }
}
