import type { Logger } from 'pino'
import type { EventLog } from '../ledger/log.js'
import { rejectedRecord, rejectedStream } from '../ledger/rejected.js'
import type { Stream } from '../schemas/streams.js'
import type { GatewayMetrics, SetAside } from './metrics.js'

export interface SetAsidesDeps {
  readonly log: Pick<EventLog, 'append' | 'partitions'>
  readonly metrics: Pick<GatewayMetrics, 'setAside'>
  readonly logger: Logger
}

/** What is known of something that was set aside. */
export interface Evidence {
  /** The stream that it is of, or was to go to. */
  readonly stream: Stream<any>
  readonly partition: number
  /** Where it stands in the stream, or was to stand: a position, or the partition alone. */
  readonly where: string
  /** In words. */
  readonly reason: string
  /** Key of the user, or of the room, where there are no bytes that name him. */
  readonly key?: string
  /** As its stream stores it. */
  readonly bytes?: Uint8Array
}

const none = new Uint8Array(0)

/**
 * Records what a partition goes on without (docs/operations.md, Set aside): one record in `<stream>.rejected`, one line
 * in the log, one in the metric.
 */
export class SetAsides {
  readonly #deps: SetAsidesDeps

  constructor (deps: SetAsidesDeps) {
    this.#deps = deps
  }

  /** @param line of the log, with `fields` */
  add (what: SetAside, line: string, error: Error, fields: object, evidence: Evidence): void {
    const { log, metrics, logger } = this.#deps
    const { stream, partition, where, reason, key = '', bytes = none } = evidence
    logger.error({ err: error, ...fields }, line)
    metrics.setAside(what)
    const rejected = rejectedStream(stream)
    const record = { ...rejectedRecord(bytes, where, reason, Date.now()), userId: key }
    log.append(rejected, partition % log.partitions(rejected), [record], { lazy: true, reserved: true })
      .catch(err => { logger.error({ err, what, reason: record.reason }, 'what was set aside could not be recorded') })
  }
}
