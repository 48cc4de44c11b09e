import type { AppendOptions, EventLog, Follower, FollowOptions, Position, ReadRange } from '../../ledger/log.js'
import { formatPosition } from '../../ledger/log.js'
import type { Stream } from '../../schemas/streams.js'
import { spansOfAppends } from './appends.js'
import { now, type Tracing } from './tracing.js'

/** A log whose appends have spans, one for each message that is traced. */
export class TracedLog implements EventLog {
  readonly #log: EventLog
  readonly #tracing: Tracing

  constructor (log: EventLog, tracing: Tracing) {
    this.#log = log
    this.#tracing = tracing
  }

  append<T> (stream: Stream<T>, partition: number, items: readonly T[], options?: AppendOptions): Promise<Position> {
    const appended = this.#log.append(stream, partition, items, options)
    this.#trace(stream, items, appended)
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

  #trace<T> (stream: Stream<T>, items: readonly T[], appended: Promise<Position>): void {
    const spans = spansOfAppends.get(stream.name)
    if (!spans) return
    const { name, kind, isRetried, messageOf } = spans
    const traced = items.flatMap((item, i) => {
      const message = messageOf(this.#tracing, item, items[i - 1])
      return message?.context ? [{ messageId: message.messageId, context: message.context, i }] : []
    })
    if (traced.length === 0) return
    const startMs = now()
    const add = (position?: Position, error?: string): void => {
      const endMs = now()
      for (const { messageId, context, i } of traced) {
        this.#tracing.add(context, name, kind, startMs, endMs, {
          'messaging.message.id': messageId,
          'messaging.destination.name': stream.name,
          ...position && { 'ledgerline.position': formatPosition({ ...position, index: position.index + i }) },
        }, error)
      }
    }
    appended.then(position => { add(position) }, (err: Error) => { if (!isRetried) add(undefined, err.message) })
  }
}
