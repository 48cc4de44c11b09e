import type { AppendOptions, EventLog, Follower, FollowOptions, Position, ReadRange } from '../../ledger/log.js'
import { formatPosition } from '../../ledger/log.js'
import type { Entry } from '../../schemas/facts.js'
import type { UplinkAccepted } from '../../schemas/records.js'
import { ledger, type Stream, uplinks } from '../../schemas/streams.js'
import { now, type Tracing } from './tracing.js'

/** A log whose appends have spans: requests to send in the ledger, and uplinks that are published. */
export class TracedLog implements EventLog {
  readonly #log: EventLog
  readonly #tracing: Tracing

  constructor (log: EventLog, tracing: Tracing) {
    this.#log = log
    this.#tracing = tracing
  }

  append<T> (stream: Stream<T>, partition: number, items: readonly T[], options?: AppendOptions): Promise<Position> {
    const appended = this.#log.append(stream, partition, items, options)
    if (stream.name === ledger.name) this.#requests(appended, items as readonly Entry[])
    else if (stream.name === uplinks.name) this.#published(appended, items as readonly UplinkAccepted[])
    return appended
  }

  partitions (stream: Stream<any>): number { return this.#log.partitions(stream) }
  read<T> (stream: Stream<T>, partition: number, range: ReadRange) { return this.#log.read(stream, partition, range) }
  bounds (stream: Stream<any>, partition: number) { return this.#log.bounds(stream, partition) }
  offsetAt (stream: Stream<any>, partition: number, atMs: number) { return this.#log.offsetAt(stream, partition, atMs) }
  derivedFrom (stream: Stream<any>, partition: number) { return this.#log.derivedFrom(stream, partition) }
  health () { return this.#log.health() }
  close () { return this.#log.close() }

  follow<T> (stream: Stream<T>, group: string, follower: Follower<T>, options?: FollowOptions) {
    return this.#log.follow(stream, group, follower, options)
  }

  /** An append has requests of one message to users, or of several messages to one: of each message one span. */
  #requests (appended: Promise<Position>, entries: readonly Entry[]): void {
    const traced = entries.flatMap(({ userId, fact }, i) => {
      if (fact.type !== 'DownlinkRequested' || fact === entries[i - 1]?.fact) return []
      const context = this.#tracing.contextOf(fact.messageId, userId)
      return context ? [{ messageId: fact.messageId, context, i }] : []
    })
    if (traced.length === 0) return
    const startMs = now()
    const add = (position?: Position, error?: string) => {
      const endMs = now()
      for (const { messageId, context, i } of traced) {
        this.#tracing.add(context, 'ledger append', 'client', startMs, endMs, {
          'messaging.message.id': messageId,
          ...position && { 'ledgerline.position': formatPosition({ ...position, index: position.index + i }) },
        }, error)
      }
    }
    appended.then(position => { add(position) }, (err: Error) => { add(undefined, err.message) })
  }

  #published (appended: Promise<Position>, items: readonly UplinkAccepted[]): void {
    const traced = items.flatMap(item => {
      const messageId = uplinks.messageId!(item)
      const context = this.#tracing.contextOfUplink(messageId, item.userId)
      return context ? [{ messageId, context }] : []
    })
    if (traced.length === 0) return
    const startMs = now()
    appended.then(
      position => {
        const endMs = now()
        const attributes = { 'messaging.destination.name': uplinks.name, 'ledgerline.position': formatPosition(position) }
        for (const { messageId, context } of traced) {
          this.#tracing.add(context, 'uplink publish', 'producer', startMs, endMs,
            { ...attributes, 'messaging.message.id': messageId })
        }
      },
      () => {}) // who appends tries again
  }
}
