import type { Stream } from '../schemas/streams.js'
import type { EventLog } from './log.js'
import { isRejectedStream, type Rejected, type RejectedAt, rejectedRecord, rejectedStream } from './rejected.js'

export interface SetAsideOptions {
  /** Keeps the bytes of each, in `<stream>.rejected`; undefined where nothing may be written. */
  readonly evidence?: Pick<EventLog, 'append' | 'partitions'> | undefined
  /** Of each, so many of the first bytes are kept. */
  readonly bytesMax?: number
  /** Told of each once. Must not throw. */
  readonly told?: ((rejected: RejectedAt) => void) | undefined
  /** By default the time of day, ms since 1970. */
  readonly now?: () => number
}

/** Places that are remembered, so that each is told of once. */
const placesMax = 10_000

/** Stored records and blocks that nobody can take: a log skips them, and goes on with those behind. */
export class SetAside {
  /** How many there were. */
  count = 0
  readonly #options: SetAsideOptions
  readonly #places = new Set<string>()

  constructor (options: SetAsideOptions) {
    this.#options = options
  }

  add (stream: Stream<any>, partition: number, offset: bigint, bytes: Uint8Array, reason: string): void {
    const { told, bytesMax, now = Date.now } = this.#options
    const where = `${partition}@${offset}`
    const place = `${stream.name} ${where}`
    if (this.#places.has(place)) return
    if (this.#places.size < placesMax) this.#places.add(place)
    this.count++
    told?.({ stream: stream.name, partition, offset, reason })
    if (isRejectedStream(stream)) return
    this.#keep(stream, partition, rejectedRecord(bytes.subarray(0, bytesMax), where, reason, now()))
  }

  #keep (stream: Stream<any>, partition: number, record: Rejected): void {
    const { evidence } = this.#options
    if (!evidence) return
    const rejected = rejectedStream(stream)
    // A failure to keep the evidence must not stop the partition: `told` has told of the record.
    evidence.append(rejected, partition % evidence.partitions(rejected), [record], { lazy: true, reserved: true })
      .catch(() => {})
  }
}
