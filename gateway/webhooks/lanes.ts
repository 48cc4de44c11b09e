import Denque from 'denque'
import type { PublicStream } from '../streams/public.js'
import type { Place, Progress } from './progress.js'

/** A record on its way to one webhook. */
export interface OutgoingRecord {
  readonly of: PublicStream
  readonly item: any
  /** Its id in requests. */
  readonly id: string
  /** In memory. */
  readonly bytes: number
  readonly place: Place
  /** Which records it keeps its order among. */
  readonly lane: string
  /** When it came to be, ms since 1970. */
  readonly atMs: number
  /** When it was taken from its stream, by `performance.now`. */
  readonly takenMs: number
  attempts: number
  /** Ms since 1970; 0 before the first attempt. */
  firstAtMs: number
  /** The same by `performance.now`, for a time of day may leap. */
  firstMs: number
  /** A batch with it was refused: it goes alone from then on. */
  isAlone: boolean
}

/** The records of one user, or room, or node: one request at a time has any of them. */
export interface Lane {
  readonly key: string
  queue: Denque<OutgoingRecord>
  isBusy: boolean
}

/** Bytes of records, as they are in memory, of one request. */
const batchBytesMax = 1 << 20

/** What waits for its first request, or for the next one. Lanes take turns; each keeps its order. */
export class Lanes {
  readonly #lanes = new Map<string, Lane>()
  readonly #ready = new Denque<Lane>()
  /** Records of the lanes that are ready. */
  #waiting = 0

  /** Records that could be sent now. */
  get waiting (): number { return this.#waiting }

  /** Of the record that has waited longest for its turn; undefined where none waits. */
  get waitingSinceMs (): number | undefined { return this.#ready.peekFront()?.queue.peekFront()?.takenMs }

  /** Of those that could be sent now, when the oldest one came to be, ms since 1970; undefined for none. */
  get oldestAtMs (): number | undefined {
    let oldest: number | undefined
    for (const { queue } of this.#ready.toArray()) {
      const { atMs } = queue.peekFront()!
      if (oldest === undefined || atMs < oldest) oldest = atMs
    }
    return oldest
  }

  add (record: OutgoingRecord): void {
    const { lane: key } = record
    let lane = this.#lanes.get(key)
    if (!lane) this.#lanes.set(key, lane = { key, queue: new Denque<OutgoingRecord>(), isBusy: false })
    lane.queue.push(record)
    if (lane.isBusy) return
    this.#waiting++
    if (lane.queue.length === 1) this.#ready.push(lane)
  }

  /** Takes records of lanes that are busy until they are released; none where nothing waits. */
  take (max: number): { readonly records: OutgoingRecord[], readonly lanes: Lane[] } {
    const records: OutgoingRecord[] = []
    const lanes: Lane[] = []
    let bytes = 0
    let isFull = false
    while (!isFull && records.length < max) {
      const lane = this.#ready.peekFront()
      if (!lane) break
      const { queue } = lane
      const before = records.length
      while (queue.length > 0 && records.length < max) {
        const { isAlone, bytes: more } = queue.peekFront()!
        isFull = records.length > 0 && (isAlone || bytes + more > batchBytesMax)
        if (isFull) break
        records.push(queue.shift()!)
        bytes += more
        isFull = isAlone
        if (isFull) break
      }
      if (records.length === before) break
      this.#ready.shift()
      this.#waiting -= records.length - before + queue.length
      lane.isBusy = true
      lanes.push(lane)
    }
    return { records, lanes }
  }

  /** Records that were taken are to be taken anew, before all others of their lanes. */
  putBack (records: readonly OutgoingRecord[], lanes: readonly Lane[]): void {
    for (let i = records.length - 1; i >= 0; i--) {
      const record = records[i]!
      if (!record.place.progress.ended) this.#lanes.get(record.lane)!.queue.unshift(record)
    }
    this.release(lanes)
  }

  release (lanes: readonly Lane[]): void {
    for (const lane of lanes) {
      lane.isBusy = false
      this.#readyOrGone(lane)
    }
  }

  /** Of a partition that was given back. What others have in the same lanes stays, in its order. */
  drop (progress: Progress): void {
    const before = this.#ready.toArray()
    this.#ready.clear()
    this.#waiting = 0
    for (const lane of this.#lanes.values()) {
      const left = lane.queue.toArray().filter(({ place }) => place.progress !== progress)
      if (left.length !== lane.queue.length) lane.queue = new Denque(left)
    }
    for (const lane of before) this.#readyOrGone(lane)
  }

  #readyOrGone (lane: Lane): void {
    const { key, queue } = lane
    if (queue.length === 0) {
      this.#lanes.delete(key)
      return
    }
    this.#waiting += queue.length
    this.#ready.push(lane)
  }
}
