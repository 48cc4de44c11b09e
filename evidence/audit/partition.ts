import { postOf } from '../../actors/forwarder.js'
import type { Effect, Post } from '../../actors/user/effects.js'
import type { fold } from '../../actors/user/fold.js'
import type { UserState } from '../../actors/user/state.js'
import type { ConnectionClosed, DeliveryReported, Entry } from '../../schemas/facts.js'
import { partitionOf } from '../../schemas/partitioning.js'
import { connections, ledger, uplinks } from '../../schemas/streams.js'
import { type Books, count } from './books.js'
import { type AuditedLog, type Bounds, boundsOf } from './derived.js'
import type { Walk } from './ledger-walk.js'
import { Lines } from './lines.js'
import type { NodeLives, Report } from './node-lives.js'
import type { PostedUplinks } from './posted-uplinks.js'
import { checkNumbers, Published } from './published.js'
import { Recorded } from './recorded.js'
import { type UserBook, UserBooks } from './user-books.js'
import { checkToldNumbers, Told, toldStreams } from './told.js'
import { type Place, placeIn } from './violation.js'

export interface PartitionAudit {
  readonly partition: number
  readonly log: AuditedLog
  readonly fold: typeof fold
  readonly books: Books
  readonly report: Report
  readonly exact: boolean
  readonly lives: NodeLives
  readonly posted: PostedUplinks
  /** When the stream `nodes` was read. */
  readonly nowMs: number
  /** The first block that is judged. */
  readonly from: bigint
  /** The block after the last one that is judged; the end of the ledger where it is left out. */
  readonly to: bigint | undefined
  readonly blocks: (count: number) => void
}

/** Uplinks that may be due before their stream is looked at: a look costs more than an entry. */
const dueAtOnce = 512
const blocksAtOnce = 64

/** Reads one partition of the ledger, folds it, and holds what it says against what the derived streams have. */
export async function auditPartition (audit: PartitionAudit): Promise<void> {
  const { partition, log, to } = audit
  // The derived ones first: whatever they have by now, the ledger has.
  const derived = {
    uplinks: await boundsOf(log, uplinks, partition),
    connections: await boundsOf(log, connections, partition),
    told: await Promise.all(toldStreams.map(({ stream }) => boundsOf(log, stream, partition))),
  }
  const { first, next: end } = await log.bounds(ledger, partition)
  const walk = new PartitionWalk(audit, first > 0n, derived)
  const range = { from: first, to: to === undefined || to > end ? end : to }
  let blocks = 0
  let next = range.from
  for await (const { offset, items } of log.read(ledger, partition, range)) {
    walk.missing(next, offset)
    next = offset + 1n
    await walk.block(offset, items)
    if (++blocks % blocksAtOnce === 0) audit.blocks(blocksAtOnce)
  }
  walk.missing(next, range.to)
  audit.blocks(blocks % blocksAtOnce)
  await walk.finish(range.to === end)
}

/** What the derived streams had when the ledger was begun to be read. */
interface DerivedBounds { readonly uplinks: Bounds, readonly connections: Bounds, readonly told: readonly Bounds[] }

const placeOf = { presence: 0, receipts: 1, offline: 2 } as const

class PartitionWalk implements Walk {
  readonly partition: number
  readonly books: Books
  readonly cut: boolean
  readonly exact: boolean

  readonly #audit: PartitionAudit
  readonly #derived: DerivedBounds
  readonly #users: UserBooks
  readonly #lines: Lines
  readonly #published: Published
  readonly #recorded: Recorded
  readonly #told: readonly Told[]
  readonly #partitions: number
  #begun = false

  constructor (audit: PartitionAudit, cut: boolean, derived: DerivedBounds) {
    const { partition, books, exact, log } = audit
    this.partition = partition
    this.books = books
    this.cut = cut
    this.exact = exact
    this.#audit = audit
    this.#derived = derived
    this.#partitions = log.partitions(ledger)
    this.#users = new UserBooks(this)
    this.#lines = new Lines(this, audit.lives)
    this.#published = new Published(log, derived.uplinks, this, userId => this.#users.find(userId))
    this.#recorded = new Recorded(log, derived.connections, this, this.#lines)
    this.#told = toldStreams.map((of, i) =>
      new Told(log, of, derived.told[i]!, this, userId => this.#users.find(userId)))
    if (cut) books.unjudged.partitions++
  }

  report (place: Place | undefined, ...violation: Parameters<Report>): void {
    if (place ? this.inRange(place) : this.#begun) this.#audit.report(...violation)
  }

  inRange ({ offset }: Place): boolean { return offset >= this.#audit.from }

  /** There is no block from this offset on, up to that one. */
  missing (from: bigint, to: bigint): void {
    const { from: begin } = this.#audit
    if (to > from && to > begin) this.books.unjudged.blocks += Number(to - (from > begin ? from : begin))
  }

  async block (offset: bigint, items: readonly Entry[]): Promise<void> {
    if (!this.#begun && offset >= this.#audit.from) this.#begin()
    if (this.#begun) this.books.entries += items.length
    for (let index = 0; index < items.length; index++) {
      this.#entry(items[index]!, { partition: this.partition, offset, index })
    }
    if (this.#published.open > dueAtOnce) await this.#published.pull()
    if (this.#recorded.open > dueAtOnce) await this.#recorded.pull()
    for (const told of this.#told) if (told.open > dueAtOnce) await told.pull()
    this.#users.rest()
  }

  /** @param whole the ledger was read to its end */
  async finish (whole: boolean): Promise<void> {
    const { nowMs, log } = this.#audit
    const { books } = this
    if (!this.#begun) this.#begin()
    if (this.cut) await checkNumbers(log, uplinks, this.#derived.uplinks, this)
    else books.uplinks.due += await this.#published.finish(whole)
    books.connections.due += await this.#recorded.finish(whole)
    for (const [i, told] of this.#told.entries()) {
      if (this.cut) await checkToldNumbers(log, told.of, this.#derived.told[i]!, this)
      else books.told[told.of.name].due += await told.finish(whole)
    }
    this.#users.finish()
    books.users += this.#users.size
    books.downlinks.waiting += this.#users.owed()
    this.#lines.finish(whole, nowMs)
    await this.#lines.finishNodes()
  }

  /** What was before the range is carried over. */
  #begin (): void {
    this.#begun = true
    this.books.downlinks.carried += this.#users.owed()
  }

  #entry (entry: Entry, place: Place): void {
    const { userId, fact, atMs } = entry
    const user = this.#users.find(userId) ?? this.#newUser(userId, place)
    if (!user) return
    user.used = true
    user.last = place
    switch (fact.type) {
      case 'ConnectionOpened':
        this.#recorded.begins(atMs)
        this.#lines.opened(entry, fact, place)
        break
      case 'ConnectionClosed': {
        this.#recorded.begins(atMs)
        const line = this.#lines.closed(entry, fact, place)
        if (line) this.#recorded.closed(line, fact, atMs, place)
        break
      }
      case 'UplinkReceived':
      case 'DeliveryReported':
      case 'DownlinkSkipped':
      case 'UplinksRefused':
        this.#lines.add(fact.connectionId, fact, place)
        if (!user.state.connections.has(fact.connectionId)) this.#lines.used(entry, fact.connectionId, place)
        if (fact.type === 'UplinksRefused' && this.#begun) {
          count(this.books.uplinks.refusedByEdges, fact.code, fact.count)
        }
    }
    if (this.cut) {
      if (this.#begun) this.books.unjudged.entries++
    } else if (user.judged) {
      this.#fold(user, entry, place)
    }
  }

  #newUser (userId: string, place: Place): UserBook | undefined {
    const partition = partitionOf(userId, this.#partitions)
    if (partition === this.partition) return this.#users.add(userId, place)
    this.report(place, 'wrong-partition', { userId },
      `An entry of user ${userId} stands in partition ${this.partition}, and not in ` +
      `${partition}.`, [placeIn(ledger, place)])
    return undefined
  }

  #fold (user: UserBook, entry: Entry, place: Place): void {
    const { fact } = entry
    const { state, accounts } = user
    switch (fact.type) {
      case 'DeliveryReported':
      case 'ConnectionClosed': this.#checkSeqs(state, entry.userId, fact, place); break
      case 'DownlinkRequested':
      case 'DownlinkRedelivered':
      case 'DownlinkRecalled': accounts.requested(state, fact, place, this)
    }
    let effects: Effect[]
    try {
      effects = this.#audit.fold(state, entry)
    } catch (err) {
      user.judged = false
      this.report(place, 'fold-failed', { userId: entry.userId },
        `The fold could not take ${fact.type} of user ${entry.userId}: ` +
        `${(err as Error).message}.`, [placeIn(ledger, place)])
      return
    }
    for (const effect of effects) {
      if (effect.type === 'publish') this.#told[placeOf[effect.stream]]!.made(effect.record, place)
    }
    if (fact.type === 'UplinkReceived') this.#uplink(user, effects, place)
    else accounts.folded(state, entry, effects, place, this)
  }

  #uplink (user: UserBook, effects: readonly Effect[], place: Place): void {
    const { uplinks } = this.books
    const effect = effects[0]
    if (effect?.type === 'publishUplink') {
      this.#published.accepted(user, effect.uplink, place)
      if (this.#begun) uplinks.accepted++
      const post = effects.at(-1)!
      if (post.type === 'post') this.#posted(post, place)
    } else if (this.#begun) {
      if (!effect) uplinks.orphaned++
      else if (effect.type === 'refuseUplink') uplinks.refused++
      else uplinks.duplicates++
    }
  }

  #posted ({ entry, fact, userSeq }: Post, place: Place): void {
    const post = postOf(entry, fact, userSeq, place)
    this.#audit.posted.accepted(post, post.fact, place)
  }

  /** Sent is never below acked: nothing is acked that was not written, and nothing written that has no number. */
  #checkSeqs (state: UserState, userId: string, fact: DeliveryReported | ConnectionClosed, place: Place): void {
    const { connectionId, writtenSeq, ackedSeq } = fact
    const what = `Connection ${connectionId} of user ${userId} `
    const positions = [placeIn(ledger, place)]
    if (ackedSeq > writtenSeq) {
      this.report(place, 'ack-above-written', { userId },
        `${what}acked ${ackedSeq} and had written ${writtenSeq}.`, positions)
    }
    const connection = state.connections.get(connectionId)
    const session = connection && state.sessions.get(connection.deviceId)
    if (!session || session.ordinal !== connection.sessionOrdinal) return // that one has ended, and its numbers with it
    const last = session.nextSeq - 1
    if (ackedSeq > last) {
      this.report(place, 'ack-above-numbered', { userId }, `${what}acked ${ackedSeq} of ${last}.`, positions)
    } else if (writtenSeq > last) {
      this.report(place, 'written-above-numbered', { userId }, `${what}wrote ${writtenSeq} of ${last}.`, positions)
    }
  }
}
