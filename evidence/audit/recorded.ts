import { hasZerosForUnknown, isUncounted, unknownCount } from '../../schemas/counts.js'
import type { ConnectionClosed } from '../../schemas/facts.js'
import type { ConnectionEnded } from '../../schemas/records.js'
import { connections, ledger } from '../../schemas/streams.js'
import { type AuditedLog, type Bounds, DerivedStream, type Due, type Judged } from './derived.js'
import type { Walk } from './ledger-walk.js'
import type { Line, Lines } from './lines.js'
import { type Place, placeIn } from './violation.js'

/** What the record of a closed connection must say. */
type Story = Pick<ConnectionEnded, typeof fields[number]>

interface DueRecord extends Due {
  readonly connectionId: string
  readonly story: Story
  /** Its counts are the ledger's own, of which a record may know less. */
  readonly uncounted: boolean
}

const fields = [
  'userId', 'deviceId', 'nodeId', 'nodeEpoch', 'openedAtMs', 'closedAtMs', 'code', 'writtenSeq', 'ackedSeq',
  'uplinks',
] as const satisfies ReadonlyArray<keyof ConnectionEnded>

/** The stream `connections` of one partition: every closed connection must be in it, as the ledger tells it. */
export class Recorded extends DerivedStream<ConnectionEnded, DueRecord> {
  readonly #due = new Map<string, DueRecord>()
  /** Records of connections that opened before it are of what retention has taken. */
  #firstAtMs: number | undefined

  constructor (log: AuditedLog, bounds: Bounds, readonly walk: Walk, readonly lines: Lines) {
    super(log, connections, walk.partition, bounds)
  }

  /** The time of the first entry that is kept. */
  begins (atMs: number): void { this.#firstAtMs ??= atMs }

  closed (line: Line, fact: ConnectionClosed, closedAtMs: number, place: Place): void {
    const { connectionId, code } = fact
    const { userId, deviceId, nodeId, nodeEpoch, openedAtMs, counts } = line
    const uncounted = isUncounted(fact)
    const { writtenSeq, ackedSeq, uplinks } = uncounted ? counts : fact
    const story = { userId, deviceId, nodeId, nodeEpoch, openedAtMs, closedAtMs, code, writtenSeq, ackedSeq, uplinks }
    const due = { place, ordinal: 0, done: false, overtaken: false, connectionId, story, uncounted }
    if (this.expect(due)) this.#due.set(connectionId, due)
  }

  protected judge (record: ConnectionEnded, place: Place): Judged<DueRecord> {
    const { connectionId } = record
    const due = this.#due.get(connectionId)
    const ended = this.lines.ended(connectionId)
    if (due) {
      this.#due.delete(connectionId)
      if (ended) ended.recorded = true
      if (this.walk.inRange(due.place)) this.walk.books.connections.recorded++
      const field = fields.find(field =>
        due.story[field] !== record[field] && !(due.uncounted && saysUnknown(record, field)))
      if (field) {
        this.walk.report(due.place, 'record-differs', record,
          `Connection ${connectionId} has the ${field} ${record[field]} in the stream, ` +
          `and ${due.story[field]} in the ledger.`,
          [placeIn(ledger, due.place), placeIn(connections, place)])
      }
      return due
    }
    if (ended?.recorded) {
      this.#repeated(record, ended.code === record.code && ended.atMs === record.closedAtMs, place)
      return 'passed'
    }
    if (this.walk.cut && record.openedAtMs <= (this.#firstAtMs ?? Infinity)) {
      this.walk.books.unjudged.records++
      return 'passed'
    }
    return 'ahead'
  }

  protected missing ({ connectionId, story: { userId, code }, place }: DueRecord): void {
    this.#due.delete(connectionId)
    this.walk.report(place, 'record-missing', { userId },
      `Connection ${connectionId} of user ${userId} closed with ${code}, and is not in the stream connections.`,
      [placeIn(ledger, place)])
  }

  protected unknown ({ connectionId, place }: DueRecord): void {
    this.#due.delete(connectionId)
    if (this.walk.inRange(place)) this.walk.books.unjudged.records++
  }

  protected unexplained ({ connectionId, userId }: ConnectionEnded, place: Place): void {
    this.walk.report(undefined, 'record-unexplained', { userId },
      `The stream connections has ${connectionId} of user ${userId}, which has not closed.`,
      [placeIn(connections, place)])
  }

  #repeated ({ connectionId, userId }: ConnectionEnded, same: boolean, place: Place): void {
    if (!same) {
      this.walk.report(undefined, 'record-differs', { userId },
        `Connection ${connectionId} stands in the stream connections again, with another end.`,
        [placeIn(connections, place)])
    } else if (this.walk.exact) {
      this.walk.report(undefined, 'record-repeated', { userId },
        `Connection ${connectionId} stands in the stream connections again.`, [placeIn(connections, place)])
    } else {
      this.walk.books.connections.repeats++
    }
  }
}

/** `History` looks back no further than it must; earlier versions wrote zeros and looked nowhere. */
function saysUnknown (record: ConnectionEnded, field: typeof fields[number]): boolean {
  if (field !== 'writtenSeq' && field !== 'ackedSeq' && field !== 'uplinks') return false
  return record[field] === unknownCount || hasZerosForUnknown(record)
}
