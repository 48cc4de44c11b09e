import type { Publish } from '../../actors/user/effects.js'
import type { UserState } from '../../actors/user/state.js'
import { ledger, offline, presence, receipts, type RecordStream } from '../../schemas/streams.js'
import { type AuditedLog, type Bounds, DerivedStream, type Due, type Judged } from './derived.js'
import type { Walk } from './ledger-walk.js'
import { type Place, placeIn } from './violation.js'

export type ToldName = Publish['stream']
type ToldRecord = Publish['record']

/** The streams that tell business services of users, and where their records and the states of users count them. */
export const toldStreams: ReadonlyArray<{
  readonly name: ToldName
  readonly stream: RecordStream<any>
  readonly counter: 'presenceSeq' | 'receiptSeq' | 'offlineSeq'
}> = [
  { name: 'presence', stream: presence, counter: 'presenceSeq' },
  { name: 'receipts', stream: receipts, counter: 'receiptSeq' },
  { name: 'offline', stream: offline, counter: 'offlineSeq' },
]

interface DueTold extends Due { readonly record: ToldRecord, readonly seq: number }

/** One of these streams in one partition: all that folds make is in it, once, in the order of its user. */
export class Told extends DerivedStream<ToldRecord, DueTold> {
  readonly #due = new Map<string, DueTold[]>()

  constructor (
    log: AuditedLog, readonly of: typeof toldStreams[number], bounds: Bounds, readonly walk: Walk,
    readonly find: (userId: string) => { readonly state: UserState } | undefined
  ) {
    super(log, of.stream, walk.partition, bounds)
  }

  get #books () { return this.walk.books.told[this.of.name] }

  /** The fold has made it. */
  made (record: ToldRecord, place: Place): void {
    if (this.walk.inRange(place)) this.#books.made++
    const due = { place, ordinal: 0, done: false, overtaken: false, record, seq: this.#seqOf(record) }
    if (!this.expect(due)) return
    const queue = this.#due.get(record.userId)
    if (queue) queue.push(due)
    else this.#due.set(record.userId, [due])
  }

  protected judge (record: ToldRecord, place: Place): Judged<DueTold> {
    const seq = this.#seqOf(record)
    const queue = this.#due.get(record.userId) ?? []
    const at = queue.findIndex(due => due.seq === seq)
    if (at >= 0) return this.#found(queue, at, record, place)
    const user = this.find(record.userId)
    if (!user || seq > user.state[this.of.counter]) return 'ahead'
    if (this.walk.exact) this.#report(undefined, 'derived-repeated', record, 'stands there again', place)
    else this.#books.repeats++
    return 'passed'
  }

  protected missing (due: DueTold): void {
    this.#leave(due)
    this.walk.report(due.place, 'derived-missing', due.record,
      `${this.#nameOf(due.record)} is not there.`, [placeIn(ledger, due.place)])
  }

  protected unknown (due: DueTold): void {
    this.#leave(due)
    if (this.walk.inRange(due.place)) this.walk.books.unjudged.records++
  }

  protected unexplained (record: ToldRecord, place: Place): void {
    this.#report(undefined, 'derived-unexplained', record, 'has no entry in the ledger that makes it', place)
  }

  #found (queue: DueTold[], at: number, record: ToldRecord, place: Place): DueTold {
    const due = queue[at]!
    for (const earlier of queue.slice(0, at)) earlier.overtaken = true
    this.#leave(due)
    if (this.walk.inRange(due.place)) this.#books.published++
    if (due.overtaken) this.#report(due.place, 'derived-out-of-order', record, 'came after a later one', place)
    const field = difference(due.record, record)
    if (field) this.#report(due.place, 'derived-differs', record, `has another ${field} than the ledger gives it`, place)
    return due
  }

  #leave (due: DueTold): void {
    const { userId } = due.record
    const queue = this.#due.get(userId)!
    queue.splice(queue.indexOf(due), 1)
    if (queue.length === 0) this.#due.delete(userId)
  }

  #seqOf (record: ToldRecord): number { return (record as unknown as Record<string, number>)[this.of.counter]! }

  #nameOf (record: ToldRecord): string {
    return `Record ${this.#seqOf(record)} of user ${record.userId} in the stream ${this.of.name}`
  }

  #report (
    of: Place | undefined, code: Parameters<Walk['report']>[1], record: ToldRecord, what: string, place: Place
  ): void {
    const positions = [...(of ? [placeIn(ledger, of)] : []), placeIn(this.of.stream, place)]
    this.walk.report(of, code, record, `${this.#nameOf(record)} ${what}.`, positions)
  }
}

/**
 * One of these streams alone, where the ledger's beginning is gone and nobody knows what was made there: the numbers of
 * each user must go on without a gap.
 */
export async function checkToldNumbers (
  log: AuditedLog, { name, stream, counter }: typeof toldStreams[number], { first, next }: Bounds, walk: Walk
): Promise<void> {
  if (next === 0n) return
  const { partition, books } = walk
  const last = new Map<string, number>()
  for await (const { offset, items } of log.read(stream, partition, { from: first, to: next })) {
    for (const [index, record] of items.entries()) {
      const { userId, [counter]: seq } = record
      const before = last.get(userId)
      if (before !== undefined && seq <= before) {
        books.told[name].repeats++
        continue
      }
      last.set(userId, seq)
      if (before === undefined || seq === before + 1) continue
      walk.report(undefined, 'derived-gap', record,
        `The records of user ${userId} in the stream ${name} go from ${before} to ${seq}.`,
        [placeIn(stream, { partition, offset, index })])
    }
  }
}

/** Of records that folds make: texts, numbers, bytes, and lists of texts. */
function difference (a: ToldRecord, b: ToldRecord): string | undefined {
  const found = b as unknown as Record<string, unknown>
  return Object.entries(a).find(([field, value]) => !alike(value, found[field]))?.[0]
}

function alike (a: unknown, b: unknown): boolean {
  if (ArrayBuffer.isView(a) || Array.isArray(a)) {
    const [these, those] = [a, b] as ReadonlyArray<ArrayLike<unknown>>
    return these!.length === those!.length && Array.from(these!).every((item, i) => item === those![i])
  }
  return a === b
}
