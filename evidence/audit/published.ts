import { murmur2 } from '../../schemas/partitioning.js'
import type { Posted, UplinkAccepted } from '../../schemas/records.js'
import { ledger, type posts, uplinks } from '../../schemas/streams.js'
import { type AuditedLog, type Bounds, DerivedStream, type Due, type Judged } from './derived.js'
import type { Walk } from './ledger-walk.js'
import { type Place, placeIn } from './violation.js'

/** An accepted uplink that the stream `uplinks` must have. */
export interface DueUplink extends Due {
  readonly whose: Uplinker
  readonly uplink: UplinkAccepted
}

/** What is kept of one user to judge his records. */
export interface Uplinker {
  /** Oldest first. */
  readonly due: DueUplink[]
  /** Number of the last one that was found, or given up. */
  publishedSeq: number
  /** Counts users. */
  readonly number: number
}

/** Uplinks remembered, so that a repeat can be compared with the first one. A power of two. */
const rememberedMax = 1 << 16

const fields = [
  'userSeq', 'sessionId', 'seq', 'deviceId', 'platform', 'connectionId', 'service', 'priority', 'receivedAtMs', 'roomId',
] as const satisfies ReadonlyArray<keyof UplinkAccepted>

/** The stream `uplinks` of one partition: every accepted uplink must be in it, once, in the order of its user. */
export class Published extends DerivedStream<UplinkAccepted, DueUplink> {
  readonly #overtaken = new Map<string, DueUplink>()
  readonly #remembered = new Float64Array(rememberedMax)
  readonly #digests = new Int32Array(rememberedMax)

  constructor (
    log: AuditedLog, bounds: Bounds, readonly walk: Walk,
    readonly find: (userId: string) => Uplinker | undefined
  ) {
    super(log, uplinks, walk.partition, bounds)
  }

  /** The fold has accepted it. */
  accepted (whose: Uplinker, uplink: UplinkAccepted, place: Place): void {
    const due = { place, ordinal: 0, done: false, overtaken: false, whose, uplink }
    if (this.expect(due)) whose.due.push(due)
    else whose.publishedSeq = uplink.userSeq
  }

  protected judge (record: UplinkAccepted, place: Place): Judged<DueUplink> {
    const { userSeq } = record
    const whose = this.find(record.userId)
    if (!whose) return 'ahead'
    const head = whose.due[0]
    if (head && (head.uplink.userSeq === userSeq || sameUplink(head.uplink, record))) {
      whose.due.shift()
      return this.#found(head, record, place)
    }
    const late = this.#overtaken.size > 0 && this.#overtaken.get(`${record.userId}/${userSeq}`)
    if (late) {
      this.#overtaken.delete(`${record.userId}/${userSeq}`)
      this.walk.report(late.place, 'uplink-out-of-order', record,
        `Uplink ${userSeq} of user ${record.userId} came after ${whose.publishedSeq}.`, places(late, place))
      return this.#found(late, record, place)
    }
    if (userSeq <= whose.publishedSeq) {
      this.#repeated(whose, record, place)
      return 'passed'
    }
    const at = whose.due.findIndex(({ uplink }) => uplink.userSeq === userSeq)
    if (at < 0) return 'ahead'
    for (const due of whose.due.splice(0, at)) {
      due.overtaken = true
      this.#overtaken.set(`${record.userId}/${due.uplink.userSeq}`, due)
    }
    return this.#found(whose.due.shift()!, record, place)
  }

  protected missing (due: DueUplink): void {
    this.#leave(due)
    const { userId, userSeq, sessionId, seq } = due.uplink
    this.walk.report(due.place, 'uplink-missing', { userId },
      `Uplink ${userSeq} of user ${userId} (session ${sessionId}, ${seq}) was accepted, and is not in the stream.`,
      [placeIn(ledger, due.place)])
  }

  protected unknown (due: DueUplink): void {
    this.#leave(due)
    if (this.walk.inRange(due.place)) this.walk.books.unjudged.records++
  }

  protected unexplained ({ userId, userSeq, sessionId, seq }: UplinkAccepted, place: Place): void {
    this.walk.report(undefined, 'uplink-unexplained', { userId },
      `The stream has uplink ${userSeq} of user ${userId} (session ${sessionId}, ${seq}), which was not accepted.`,
      [placeIn(uplinks, place)])
  }

  #found (due: DueUplink, record: UplinkAccepted, place: Place): DueUplink {
    const { whose, uplink } = due
    if (uplink.userSeq > whose.publishedSeq) whose.publishedSeq = uplink.userSeq
    if (this.walk.inRange(due.place)) this.walk.books.uplinks.published++
    const field = difference(uplink, record)
    if (field) {
      const [is, was] = field === 'payload' ? ['another one', 'it'] : [record[field], uplink[field]]
      this.walk.report(due.place, 'uplink-differs', { userId: uplink.userId },
        `Uplink ${uplink.userSeq} of user ${uplink.userId} has the ${field} ${is} in the stream, ` +
        `and ${was} in the ledger.`,
        places(due, place))
    }
    this.#remember(whose, record)
    return due
  }

  #repeated (whose: Uplinker, record: UplinkAccepted, place: Place): void {
    const { userId, userSeq } = record
    const slot = slotOf(whose, userSeq)
    const known = this.#remembered[slot] === keyOf(whose, userSeq)
    if (known && this.#digests[slot] !== digestOf(record)) {
      this.walk.report(undefined, 'uplink-differs', { userId },
        `Uplink ${userSeq} of user ${userId} stands in the stream again, and is another one.`,
        [placeIn(uplinks, place)])
    } else if (this.walk.exact) {
      this.walk.report(undefined, 'uplink-repeated', { userId },
        `Uplink ${userSeq} of user ${userId} stands in the stream again.`,
        [placeIn(uplinks, place)])
    } else {
      this.walk.books.uplinks.repeats++
      if (!known) this.walk.books.unjudged.records++
    }
  }

  #remember (whose: Uplinker, record: UplinkAccepted): void {
    const slot = slotOf(whose, record.userSeq)
    this.#remembered[slot] = keyOf(whose, record.userSeq)
    this.#digests[slot] = digestOf(record)
  }

  #leave (due: DueUplink): void {
    const { whose, uplink } = due
    if (due.overtaken) this.#overtaken.delete(`${uplink.userId}/${uplink.userSeq}`)
    else if (whose.due[0] === due) whose.due.shift()
    else whose.due.splice(whose.due.indexOf(due), 1)
    if (uplink.userSeq > whose.publishedSeq) whose.publishedSeq = uplink.userSeq
  }
}

/**
 * A derived stream alone, where the beginning of its source is gone and nobody knows what was accepted there: the
 * numbers of each user, or room, must go on without a gap.
 */
export async function checkNumbers (
  log: AuditedLog, stream: typeof uplinks | typeof posts, { first, next }: Bounds, walk: Walk
): Promise<void> {
  const { partition, books } = walk
  if (next === 0n) return
  const last = new Map<string, number>()
  const range = { from: first, to: next }
  for await (const { offset, items } of log.read<UplinkAccepted | Posted>(stream, partition, range)) {
    for (const [index, item] of items.entries()) {
      const isPost = 'roomId' in item && 'roomSeq' in item
      const [key, number] = isPost ? [item.roomId, item.roomSeq] : [item.userId, item.userSeq]
      const before = last.get(key)
      if (before !== undefined && number <= before) {
        if (isPost) books.rooms.repeats++
        else books.uplinks.repeats++
        continue
      }
      last.set(key, number)
      if (before === undefined || number === before + 1) continue
      const [code, what] = isPost ? ['post-gap', 'posts of room'] as const : ['uplink-gap', 'uplinks of user'] as const
      walk.report(undefined, code, isPost ? { roomId: key } : { userId: key },
        `The ${what} ${key} go from ${before} to ${number}.`,
        [placeIn(stream, { partition, offset, index })])
    }
  }
}

/** Sent as the same, whatever number it has got. */
function sameUplink (a: UplinkAccepted, b: UplinkAccepted): boolean {
  return a.seq === b.seq && a.sessionId === b.sessionId && a.connectionId === b.connectionId
}

function difference (a: UplinkAccepted, b: UplinkAccepted): typeof fields[number] | 'payload' | undefined {
  for (let i = 0; i < fields.length; i++) if (a[fields[i]!] !== b[fields[i]!]) return fields[i]!
  const { length } = a.payload
  if (b.payload.length !== length) return 'payload'
  for (let i = 0; i < length; i++) if (a.payload[i] !== b.payload[i]) return 'payload'
  return undefined
}

function places (due: DueUplink, place: Place): string[] {
  return [placeIn(ledger, due.place), placeIn(uplinks, place)]
}

/** One number for a user and one of his; they are exact far beyond what stands in the same slot. */
function keyOf ({ number }: Uplinker, userSeq: number): number {
  return number * 2 ** 26 + userSeq % 2 ** 26
}

function slotOf ({ number }: Uplinker, userSeq: number): number {
  return Math.imul(number, 0x9e3779b1) + userSeq & rememberedMax - 1
}

function digestOf ({ payload, seq, receivedAtMs, connectionId }: UplinkAccepted): number {
  let hash = murmur2(payload) ^ Math.imul(seq, 0x9e3779b1) ^ receivedAtMs
  for (let i = 0; i < connectionId.length; i++) hash = Math.imul(hash ^ connectionId.charCodeAt(i), 0x01000193)
  return hash | 0
}
