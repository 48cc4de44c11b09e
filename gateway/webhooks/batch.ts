import { eventOf } from './events.js'
import type { Lane, OutgoingRecord } from './lanes.js'
import { batchId } from './signature.js'

/** Records of one request, and of its repeats. */
export class Batch {
  records: readonly OutgoingRecord[]
  readonly lanes: readonly Lane[]
  readonly #isOne: boolean
  #request: { readonly id: string, readonly body: string } | undefined
  attempts = 0
  /** When it was tried first, by `performance.now`. */
  firstMs = 0

  /** @param isOne its webhook has one record a request, which is no array then */
  constructor (records: readonly OutgoingRecord[], lanes: readonly Lane[], isOne: boolean) {
    this.records = records
    this.lanes = lanes
    this.#isOne = isOne
  }

  /** The same one for each attempt, unless records have left it. */
  get request (): { readonly id: string, readonly body: string } {
    this.#request ??= this.#made()
    return this.#request
  }

  begin (): void {
    const [nowMs, atMs] = [performance.now(), Date.now()]
    this.firstMs ||= this.records[0]!.firstMs || nowMs // it may have been in a batch with others
    this.attempts++
    for (const record of this.records) {
      record.firstMs ||= nowMs
      record.firstAtMs ||= atMs
      record.attempts++
    }
  }

  /** Those whose partition was given back are another node's. */
  leaveOutEnded (): void {
    if (!this.records.some(({ place }) => place.progress.ended)) return
    this.records = this.records.filter(({ place }) => !place.progress.ended)
    this.#request = undefined
  }

  #made (): { readonly id: string, readonly body: string } {
    const { records } = this
    const events = records.map(({ of, item, id, atMs }) => eventOf(of, item, id, atMs))
    if (this.#isOne) return { id: records[0]!.id, body: events[0]! }
    return { id: batchId(records.map(({ id }) => id)), body: `[${events.join(',')}]` }
  }
}
