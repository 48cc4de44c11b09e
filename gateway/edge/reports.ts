import type { Connection } from '../../actors/connection/connection.js'
import { takeRefusals, takeSkipped, tallyOf } from '../../actors/connection/tally.js'
import type { DownlinkSkipped, Entry } from '../../schemas/facts.js'

/**
 * Whether an edge itself reports this of a connection: nobody sends it again. An uplink or an opening is the client's,
 * who sends it again where it was refused.
 */
export function isOwn ({ fact: { type } }: Entry): boolean {
  return type !== 'UplinkReceived' && type !== 'ConnectionOpened'
}

/** A connection that is reported, and what it skipped. */
interface Reported { readonly connection: Connection, readonly skipped: DownlinkSkipped[] }

/** How long acks and writes are collected before the ledger is told. */
const reportEveryMs = 100

/** The same for uplinks that were refused: clients that send too much have thousands of them. */
const refusalsEveryMs = 1_000

/**
 * Tells the ledger what connections did, with one timer for all:
 *
 * - what they have written and their clients acked: one `DeliveryReported` a connection and period, however many
 *   downlinks there were. What a client skipped goes before it, or it would count as acked;
 * - what they refused: one `UplinksRefused` a connection, code and period.
 */
export class Reports {
  readonly #due = new Set<Connection>()
  readonly #refusing = new Set<Connection>()
  #timer: NodeJS.Timeout | undefined
  #refusalsTimer: NodeJS.Timeout | undefined

  /** @param append rejects where the entries may be taken later; it sets aside what the ledger will never take */
  constructor (readonly append: (partition: number, entries: Entry[]) => Promise<unknown>) {}

  add (connection: Connection): void {
    if (connection.tally && connection.tally.refusals.length > 0) {
      this.#refusing.add(connection)
      this.#refusalsTimer ??= setTimeout(() => { this.#tellRefusals() }, refusalsEveryMs).unref()
    }
    this.#due.add(connection)
    if (connection.cursor.isReportDue) {
      this.#due.delete(connection)
      this.#send([connection])
      return
    }
    this.#timer ??= setTimeout(() => { this.flush() }, reportEveryMs)
  }

  flush (): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const due = [...this.#due]
    this.#due.clear()
    this.#send(due)
  }

  #send (connections: Connection[]): void {
    const byPartition = new Map<number, { reported: Reported[], entries: Entry[] }>()
    const atMs = Date.now()
    for (const connection of connections) {
      const { connectionId, userId, partition, life, cursor } = connection
      // The end of a connection reports for itself.
      if (!life.isOpen || !cursor.report()) continue
      let batch = byPartition.get(partition)
      if (!batch) byPartition.set(partition, batch = { reported: [], entries: [] })
      const skipped = takeSkipped(connection)
      batch.reported.push({ connection, skipped })
      for (const fact of skipped) batch.entries.push({ userId, atMs, fact })
      // Until the client has acked something, it is only what our own `connected` said.
      const ackedSeq = cursor.isRead ? cursor.ackedSeq : 0
      const { writtenSeq } = cursor
      batch.entries.push({ userId, atMs, fact: { type: 'DeliveryReported', connectionId, writtenSeq, ackedSeq } })
    }
    for (const [partition, { reported, entries }] of byPartition) {
      this.append(partition, entries).catch(() => { this.#again(reported) })
    }
  }

  /** The ledger did not take it: the next report says it all again. */
  #again (reported: Reported[]): void {
    for (const { connection, skipped } of reported) {
      if (connection.life.isOpen) {
        if (skipped.length > 0) tallyOf(connection).skipped = [...skipped, ...tallyOf(connection).skipped]
      } else {
        const { userId, partition } = connection // its end has told the rest
        for (const fact of skipped) connection.edge.appendLater(partition, { userId, atMs: Date.now(), fact })
      }
      connection.cursor.reportAgain()
      this.#due.add(connection)
    }
    this.#timer ??= setTimeout(() => { this.flush() }, 10 * reportEveryMs)
  }

  #tellRefusals (): void {
    clearTimeout(this.#refusalsTimer)
    this.#refusalsTimer = undefined
    const atMs = Date.now()
    const refusing = [...this.#refusing]
    this.#refusing.clear()
    for (const connection of refusing) {
      const { userId, partition } = connection
      if (connection.phase === 'opening') {
        this.add(connection) // a report may overtake what the connection itself appends, and its opening comes first
        continue
      }
      const facts = takeRefusals(connection) // none where its end has told them
      if (facts.length === 0) continue
      this.append(partition, facts.map(fact => ({ userId, atMs, fact }))).catch(() => {
        // A ledger that is away may be why they were refused. They are told with the next ones; a connection that has
        // ended has no next ones.
        if (connection.life.isOver) {
          for (const fact of facts) connection.edge.appendLater(partition, { userId, atMs, fact })
          return
        }
        for (const { code, fromSeq, toSeq, count } of facts) tallyOf(connection).refused(code, fromSeq, toSeq, count)
        this.add(connection)
      })
    }
  }
}
