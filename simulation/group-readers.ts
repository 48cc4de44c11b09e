import { comparePlaces, parseAckCursor } from '../gateway/groups/ack-cursor.js'
import type { Place } from '../ledger/log.js'
import { type Address, Api, jsonOf } from './api.js'
import { silentMs } from './consumer.js'
import type { Network } from './network.js'
import type { Host, World } from './world.js'

export interface GroupReadersOptions {
  /** Of each reader. */
  readonly addresses: readonly string[]
  readonly apiKey: string
  readonly nodes: readonly Address[]
}

interface Line {
  readonly cursor: string
  readonly userId?: string
  readonly userSeq?: number
  readonly hole?: object
  readonly ended?: object
}

/** A line that a reader has yet to ack. */
interface Given {
  readonly cursor: string
  readonly partition: number
  readonly place: Place
  readonly userId: string
  readonly userSeq: number
}

interface AckAnswer { readonly acks: ReadonlyArray<{ readonly cursor: string, readonly status: 'acked' | 'rejected' }> }

/** A place of a partition that is known to be acked, and since when. */
interface Acked { readonly place: Place, readonly atMs: number }

const group = 'orders'
/** Between two acks of a reader, about. */
const ackEveryMs = 2_000
/** Of those, where the reader ends in place of it. */
const endShare = 0.05
/**
 * What was acked comes no more; but a node that does not know yet that others have its partition gives what it has, and
 * what it had sent may be on its way for long.
 */
const staleMs = 45_000

/** Processes of one service that share the stream `uplinks` as a group, and ack what they have done. */
export class GroupReaders {
  readonly complaints: string[] = []
  /** By user: the highest number that anybody was given. */
  readonly seen = new Map<string, number>()
  /** By user: those that somebody had, and has acked, whatever he was answered: an ack may be kept all the same. */
  readonly acked = new Map<string, Set<number>>()
  holes = 0
  isQuiet = false
  /** By partition: places that were acked, one behind the other; of those of long ago the last one. */
  readonly #acks = new Map<number, Acked[]>()

  constructor (readonly world: World, network: Network, readonly options: GroupReadersOptions) {
    for (const [i, address] of options.addresses.entries()) {
      const host = world.host(`reader-${i + 1}`, address)
      network.attach(host)
      new GroupReader(host, this, new Api(host, options.apiKey)).begin()
    }
  }

  /**
   * @param last by user, the highest number in the stream
   * @returns what nobody in the group has got and acked, in words
   */
  lacks (last: ReadonlyMap<string, number>): string | undefined {
    if (this.holes > 0) return undefined // it has been told that some are gone
    for (const [userId, userSeq] of last) {
      for (let seq = 1; seq <= userSeq; seq++) {
        if (!this.acked.get(userId)?.has(seq)) return `a group has not acked uplink ${seq} of ${userId}, of ${userSeq}`
      }
    }
    return undefined
  }

  /** What somebody was given, once more or for the first time. */
  gave ({ partition, place, userId, userSeq }: Given): void {
    const last = this.seen.get(userId) ?? 0
    if (userSeq > last + 1 && this.holes === 0) {
      this.complaints.push(`a group was given uplink ${userSeq} of ${userId} after ${last}`)
    }
    this.seen.set(userId, Math.max(last, userSeq))
    if (this.#wasAckedLongAgo(partition, place)) {
      this.complaints.push(`a group was given uplink ${userSeq} of ${userId} long after it had acked it`)
    }
  }

  #wasAckedLongAgo (partition: number, place: Place): boolean {
    const acks = this.#acks.get(partition) ?? []
    const old = acks.findLastIndex(({ atMs }) => this.world.nowMs - atMs > staleMs)
    if (old > 0) acks.splice(0, old) // the ones before it say less
    return old >= 0 && comparePlaces(place, acks[0]!.place) <= 0
  }

  hasAcked (lines: readonly Given[]): void {
    for (const { userId, userSeq } of lines) {
      this.acked.set(userId, (this.acked.get(userId) ?? new Set()).add(userSeq))
    }
  }

  /** It is kept that all up to there is done. */
  ackedUpTo (line: Given): void {
    const acks = this.#acks.get(line.partition) ?? []
    const last = acks.at(-1)
    if (last && comparePlaces(line.place, last.place) <= 0) return
    acks.push({ place: line.place, atMs: this.world.nowMs })
    this.#acks.set(line.partition, acks)
  }
}

/** One of them: it reads until it is told to end, or ends by itself, and begins anew at some node. */
class GroupReader {
  readonly #host: Host
  readonly #readers: GroupReaders
  readonly #api: Api
  #given: Given[] = []
  /** By lease: the place of the last line. */
  readonly #last = new Map<string, Place>()
  #giveUp = new AbortController()

  constructor (host: Host, readers: GroupReaders, api: Api) {
    this.#host = host
    this.#readers = readers
    this.#api = api
  }

  begin (): void {
    this.#goOn()
    this.#ackOn()
  }

  #goOn (): void {
    const { nodes } = this.#readers.options
    this.#host.later(this.#host.random.between(100, 2_000), 'reads in a group', () => {
      this.#giveUp = new AbortController()
      this.#given = []
      this.#last.clear()
      const path = `/v1/streams/uplinks?group=${group}`
      const take = (line: string): void => { this.#take(line) }
      this.#api.lines(this.#host.random.pick(nodes), path, silentMs, take, this.#giveUp.signal).then(status => {
        if (status >= 400 && status < 500) this.#readers.complaints.push(`a read in a group: ${status}`)
        this.#goOn()
      })
    })
  }

  #take (text: string): void {
    const { cursor, userId, userSeq, hole } = JSON.parse(text) as Line
    if (hole) this.#readers.holes++
    if (userId === undefined) return
    const { partition, place, epoch, nodeId } = parseAckCursor(cursor)!
    const lease = `${nodeId} ${epoch} ${partition}`
    const last = this.#last.get(lease)
    if (last && comparePlaces(place, last) <= 0) {
      this.#readers.complaints.push(`a reader was given uplink ${userSeq} of ${userId} twice in one lease, or late`)
    }
    this.#last.set(lease, place)
    const line = { cursor, partition, place, userId, userSeq: userSeq! }
    this.#given.push(line)
    this.#readers.gave(line)
  }

  #ackOn (): void {
    const { random } = this.#host
    this.#host.later(random.between(0.2, 1.8) * ackEveryMs, 'acks', () => {
      if (!this.#readers.isQuiet && random.chance(endShare)) {
        this.#giveUp.abort()
        return this.#ackOn()
      }
      this.#ack().finally(() => { this.#ackOn() })
    })
  }

  /** The last line of each partition, and all before it. */
  async #ack (): Promise<void> {
    const given = this.#given
    const lines = [...new Map(given.map(line => [line.partition, line])).values()]
    if (lines.length === 0) return
    const body = { cursors: lines.map(({ cursor }) => cursor) }
    const node = this.#host.random.pick(this.#readers.options.nodes)
    const answer = await this.#api.ask(node, 'POST', `/v1/groups/${group}/acks`, body, 10_000)
    if (answer.status >= 400 && answer.status < 500) {
      this.#readers.complaints.push(`acks of a group were answered with ${answer.status} ${answer.text}`)
    }
    const kept = new Set((jsonOf(answer) as AckAnswer | undefined)?.acks
      ?.filter(({ status }) => status === 'acked').map(({ cursor }) => cursor))
    for (const line of lines) {
      const isBefore = (other: Given): boolean =>
        other.partition === line.partition && comparePlaces(other.place, line.place) <= 0
      this.#readers.hasAcked(given.filter(isBefore))
      if (!kept.has(line.cursor)) continue
      this.#readers.ackedUpTo(line)
      this.#given = this.#given.filter(other => !isBefore(other))
    }
  }
}
