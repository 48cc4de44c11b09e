import { setTimeout as sleep } from 'node:timers/promises'
import type { EventLog } from '../ledger/log.js'
import { GatewayError } from '../schemas/errors.js'
import type { Stream } from '../schemas/streams.js'
import { timeOf } from './item-time.js'

/** What stands in blocks that somebody is behind. */
export interface Behind {
  /** Null where they are too many to be counted, or were not read in time. */
  readonly entries: number | null
  /** When the first of them was written, ms since 1970; undefined where that is not known. */
  readonly oldestAtMs: number | undefined
}

/** All entries that are behind, where they are few, are counted; or the oldest is looked at alone. */
export type Reads = 'entries' | 'oldest' | 'nothing'

type Bounds = Awaited<ReturnType<EventLog['bounds']>>

interface Waiting { readonly blocks: bigint, readonly go: () => void }

const countedBlocksMax = 64n
/** Each takes an answer of a broker, of some megabytes at worst. */
const readsAtOnce = 8

const unread: Behind = { entries: null, oldestAtMs: undefined }

/** One look at a log on behalf of all who follow it: what several of them ask is asked once, and reads have an end. */
export class LagLook {
  readonly #bounds = new Map<string, Promise<Bounds>>()
  readonly #contents = new Map<string, Promise<Behind>>()
  readonly #untilMs: number
  #waiting: Waiting[] = []
  #reads = 0

  /**
   * @param lookMs after which nothing more is read
   * @param reads what `contents` reads: it takes time of the event loop to decode blocks, just where many are written
   */
  constructor (readonly log: EventLog, lookMs: number, readonly reads: Reads = 'entries') {
    this.#untilMs = performance.now() + lookMs
  }

  bounds (stream: Stream<any>, partition: number): Promise<Bounds> {
    const key = `${stream.name}/${partition}`
    let found = this.#bounds.get(key)
    if (!found) this.#bounds.set(key, found = this.log.bounds(stream, partition))
    return found
  }

  /**
   * @param behind blocks that are to be derived from, at most
   * @throws GatewayError `not-ready` where it was not read in time
   */
  async derivedFrom (stream: Stream<any>, partition: number, behind: bigint): Promise<bigint> {
    const to = await this.#inTime(behind, () => this.log.derivedFrom(stream, partition))
    if (to === undefined) throw new GatewayError('not-ready', 'how far it is was not read in time')
    return to
  }

  contents (stream: Stream<any>, partition: number, from: bigint, to: bigint): Promise<Behind> {
    if (this.reads === 'nothing') return Promise.resolve(unread)
    const key = `${stream.name}/${partition}/${from}/${to}`
    let found = this.#contents.get(key)
    if (!found) {
      found = this.#inTime(to - from, () => this.#read(stream, partition, from, to)).then(behind => behind ?? unread)
      this.#contents.set(key, found)
    }
    return found
  }

  async #read (stream: Stream<any>, partition: number, from: bigint, to: bigint): Promise<Behind> {
    const isFew = this.reads === 'entries' && to - from <= countedBlocksMax
    let entries = 0
    let oldestAtMs: number | undefined
    for await (const { items } of this.log.read(stream, partition, { from, to: isFew ? to : from + 1n })) {
      oldestAtMs ??= timeOf(items[0])
      entries += items.length
      if (performance.now() > this.#untilMs) return { entries: null, oldestAtMs }
    }
    return { entries: isFew ? entries : null, oldestAtMs }
  }

  /**
   * A few at a time, those first that are behind most.
   *
   * @returns undefined where the time is over before the answer is there
   */
  async #inTime<T> (blocks: bigint, read: () => Promise<T>): Promise<T | undefined> {
    if (this.#reads >= readsAtOnce) await new Promise<void>(resolve => { this.#waiting.push({ blocks, go: resolve }) })
    else this.#reads++
    const leftMs = this.#untilMs - performance.now()
    const answered = new AbortController()
    try {
      if (leftMs <= 0) return undefined
      const late = sleep(leftMs, undefined, { signal: answered.signal }).catch(() => undefined)
      return await Promise.race([read(), late])
    } finally {
      answered.abort()
      this.#next()
    }
  }

  #next (): void {
    if (this.#waiting.length === 0) {
      this.#reads--
      return
    }
    const next = this.#waiting.reduce((most, each) => each.blocks > most.blocks ? each : most)
    this.#waiting = this.#waiting.filter(each => each !== next)
    next.go()
  }
}
