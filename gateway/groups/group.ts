import type { Block, EventLog, Following, Place } from '../../ledger/log.js'
import { GatewayError } from '../../schemas/errors.js'
import { type PublicStream, type Wanted, wants } from '../streams/public.js'
import { comparePlaces, formatAckCursor } from './ack-cursor.js'
import { Lease } from './lease.js'
import { type GroupReader, lineBytes } from './reader.js'

export interface ReadGroupOptions {
  readonly log: EventLog
  /** By which the log knows the group. */
  readonly name: string
  readonly of: PublicStream
  readonly nodeId: string
  /** Where a group begins that has acked nothing yet. */
  readonly begins: 'first' | 'now'
  /** Nobody has read in it for a while: it is stopping. */
  readonly stopping: () => void
  failed (what: string, error: Error, fields: object): void
}

/** What is given and not acked when a partition moves has so long to be acked: the next reader need not repeat it. */
const handOverMs = 2_000
/** Without readers it stays a member for so long: they may be about to come back. */
const lingerMs = 2_000
const lookMs = 1_000

/**
 * The readers that a group has on this node, of one stream. To the log they are one member; the partitions that it gets
 * are dealt out among them, each to one.
 */
export class ReadGroup {
  readonly #options: ReadGroupOptions
  readonly #leases = new Map<number, Lease>()
  readonly #readers = new Set<GroupReader>()
  readonly #looking: NodeJS.Timeout
  #lingering: NodeJS.Timeout | undefined
  #following: Promise<Following> | undefined
  #stopped: Promise<void> | undefined
  #filters = ''
  #isWanted: (item: any) => boolean = () => true

  constructor (options: ReadGroupOptions) {
    this.#options = options
    this.#looking = setInterval(() => { this.#endOverdue() }, lookMs)
  }

  get readers (): ReadonlySet<GroupReader> { return this.#readers }
  get leases (): ReadonlyMap<number, Lease> { return this.#leases }
  get isStopping (): boolean { return this.#stopped !== undefined }

  /** @throws GatewayError `bad-request` where others in the group want other records */
  join (reader: GroupReader, wanted: Wanted): void {
    const { users, ...others } = wanted
    const filters = JSON.stringify([[...users ?? []].sort(), users === undefined, others])
    if (this.#readers.size > 0 && filters !== this.#filters) {
      throw new GatewayError('bad-request',
        'querystring: want the users, room and service that the other readers of the group have')
    }
    this.#filters = filters
    this.#isWanted = wants(this.#options.of, wanted)
    clearTimeout(this.#lingering)
    this.#readers.add(reader)
    this.#following ??= this.#follow()
    this.#spread()
  }

  /** What he has not acked goes to another one. */
  leave (reader: GroupReader): void {
    if (!this.#readers.delete(reader)) return
    reader.end()
    for (const lease of this.#leases.values()) {
      if (lease.reader !== reader) continue
      lease.readBy(undefined)
      if (!lease.isSettled) this.#takeAgain(lease)
    }
    this.#spread()
    if (this.#readers.size === 0) this.#lingering = setTimeout(() => { this.stop() }, lingerMs)
  }

  /**
   * Resolves once all up to there is durably done. What was acked before may be acked again.
   *
   * @param epoch of the lease by which it was given
   * @throws GatewayError `ledger-unavailable`; `not-leased` where the partition is not this node's, or was given again
   *   from before that place
   */
  async ack (partition: number, place: Place, epoch: number): Promise<void> {
    const following = await this.#following
    const lease = this.#leases.get(partition)
    if (!lease || !following) throw new GatewayError('not-leased')
    const isDone = comparePlaces(place, lease.acked) <= 0
    const isHis = epoch === lease.epoch && comparePlaces(place, lease.given) <= 0
    if (!isDone && !isHis) throw new GatewayError('not-leased')
    await lease.keeps(following.keep(partition, isDone ? lease.acked : lease.ack(place)))
  }

  stop (): Promise<void> {
    this.#stopped ??= this.#stopOnce()
    return this.#stopped
  }

  async #stopOnce (): Promise<void> {
    this.#options.stopping()
    clearInterval(this.#looking)
    clearTimeout(this.#lingering)
    for (const reader of this.#readers) reader.end()
    this.#readers.clear()
    const following = await this.#following?.catch(() => undefined)
    await following?.stop()
  }

  async #follow (): Promise<Following> {
    const { log, name, of: { stream }, failed } = this.#options
    try {
      return await log.follow(stream, name, {
        assigned: (partition, committed, index) => this.#assigned(partition, { next: committed, index }),
        received: block => this.#give(block),
        passed: (partition, hole) => { this.#leases.get(partition)?.pass(hole) },
        leaving: partition => { this.#leases.get(partition)?.end() },
        revoked: partition => this.#revoked(partition),
      }, { comesAndGoes: true })
    } catch (err) {
      failed('a group can not be read', err as Error, { group: name, stream: stream.name })
      for (const reader of this.#readers) reader.tell('ended', { code: 'not-ready', reason: (err as Error).message })
      this.stop().catch(() => {})
      throw err
    }
  }

  async #assigned (partition: number, committed: Place): Promise<bigint> {
    const { log, of: { stream }, begins } = this.#options
    const isNew = committed.next === 0n && committed.index === 0
    const { first, next } = await log.bounds(stream, partition)
    const from = isNew && begins === 'now' ? { next, index: 0 } : committed
    if (isNew && from.next > 0n) this.#keep(partition, from) // or a restart would begin elsewhere
    const lease = new Lease(partition, from)
    this.#leases.set(partition, lease)
    this.#spread()
    if (!isNew && from.next < first) lease.pass({ from: from.next, to: first })
    return from.next
  }

  #keep (partition: number, place: Place): void {
    this.#following?.then(following => following.keep(partition, place)).catch(err => {
      this.#options.failed('the place of a group was not kept', err, { group: this.#options.name, partition })
    })
  }

  async #revoked (partition: number): Promise<void> {
    const lease = this.#leases.get(partition)
    if (!lease) return
    if (!lease.startsAnew && !this.isStopping) await lease.settled(handOverMs)
    await lease.isKept()
    lease.release()
    this.#leases.delete(partition)
  }

  async #give ({ partition, offset, items }: Block<any>): Promise<void> {
    const lease = this.#leases.get(partition)
    if (!lease) return
    const { of: { stream, view }, nodeId } = this.#options
    const skipped = offset === lease.given.next ? lease.given.index : 0
    if (lease.passed) await this.#tellOfHole(lease)
    for (let index = skipped; index < items.length; index++) {
      const isLast = index === items.length - 1
      const place = { next: isLast ? offset + 1n : offset, index: isLast ? 0 : index + 1 }
      if (this.#isWanted(items[index])) {
        const reader = await lease.readerWithRoom()
        if (!reader) return
        const cursor = formatAckCursor({ stream: stream.name, partition, place, epoch: lease.epoch, nodeId })
        const line = reader.options.format.record(cursor, view(items[index]))
        lease.gave(place, line.length + lineBytes, reader)
        reader.put(line, line.length + lineBytes)
      } else {
        lease.given = place
      }
    }
    // What is nobody's business needs no ack.
    const end = { next: offset + 1n, index: 0 }
    if (!lease.isSettled || lease.hasEnded || comparePlaces(lease.acked, end) >= 0) return
    lease.ack(end)
    const following = await this.#following
    following?.commit(partition, end.next)
  }

  /** Retention deleted what the group had not come to. */
  async #tellOfHole (lease: Lease): Promise<void> {
    const { from, to } = lease.passed!
    const reader = await lease.readerWithRoom()
    reader?.tell('hole', { partition: lease.partition, from: `${from}`, to: `${to}` })
    lease.passed = undefined
  }

  /** Deals out what nobody reads, and takes from who has too many what he has too much. */
  #spread (): void {
    const readers = [...this.#readers]
    if (readers.length === 0) return
    const counts = new Map(readers.map(reader => [reader, 0]))
    const free: Lease[] = []
    for (const lease of this.#leases.values()) {
      const count = lease.reader && !lease.isMoving ? counts.get(lease.reader) : undefined
      if (count === undefined) free.push(lease)
      else counts.set(lease.reader!, count + 1)
    }
    const fewest = () => readers.reduce((least, reader) => counts.get(reader)! < counts.get(least)! ? reader : least)
    for (const lease of free) {
      const reader = fewest()
      counts.set(reader, counts.get(reader)! + 1)
      if (!lease.isMoving && !lease.startsAnew) lease.readBy(reader)
    }
    for (const lease of this.#leases.values()) {
      const count = lease.reader && !lease.isMoving ? counts.get(lease.reader)! : 0
      const least = fewest()
      if (count - counts.get(least)! <= 1) continue
      counts.set(lease.reader!, count - 1)
      counts.set(least, counts.get(least)! + 1)
      lease.isMoving = true
      this.#handOver(lease).catch(err => { this.#options.failed('a partition was not handed over', err, {}) })
    }
  }

  async #handOver (lease: Lease): Promise<void> {
    await lease.settled(handOverMs)
    if (lease.hasEnded || !lease.isMoving) return
    if (!lease.isSettled) return this.#takeAgain(lease)
    lease.readBy(undefined)
    this.#spread()
  }

  /** From what is acked. */
  #takeAgain (lease: Lease): void {
    lease.startAnew()
    this.#following?.then(following => following.reassign(lease.partition)).catch(err => {
      this.#options.failed('a partition was not taken again', err, { group: this.#options.name, partition: lease.partition })
    })
  }

  #endOverdue (): void {
    const nowMs = performance.now()
    for (const reader of this.#readers) {
      if (!reader.isOverdue(nowMs)) continue
      const reason = `nothing was acked for ${reader.options.ackWithinMs} ms: others go on from the last ack`
      reader.tell('ended', { code: 'not-leased', reason })
      this.leave(reader)
    }
  }
}
