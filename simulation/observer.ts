import { audit, type Books, type Violation } from '../evidence/audit.js'
import type { EventLog } from '../ledger/log.js'
import type { RebuildableTables } from '../projections/tables/tables.js'
import type { Undelivered } from '../schemas/records.js'
import { ledger, offline, posts, presence, receipts, type Stream, undelivered, uplinks } from '../schemas/streams.js'
import type { NumberedStream } from './consumer.js'
import type { Published } from './judge.js'
import type { SimulatedStores } from './stores/stores.js'
import type { Host, World } from './world.js'

const streamsRead: Readonly<Record<NumberedStream['name'], Stream<any>>> = { uplinks, presence, receipts, offline, posts }
const sliceMs = 500
const answerMs = 60_000

/** Somebody who looks at the log from outside, while the world goes on. */
export class Observer {
  readonly #host: Host
  /** Told what was found in the middle. */
  readonly #found: (violation: string) => void
  #isAuditing = false

  constructor (readonly world: World, readonly stores: SimulatedStores, found: (violation: string) => void) {
    this.#host = world.host('auditor', '10.4.0.1')
    this.#found = found
  }

  get isAuditing (): boolean { return this.#isAuditing }

  /** The books as they are now: something may be due, and nothing may be wrong. One at a time. */
  auditInTheMiddle (): void {
    if (this.#isAuditing) return
    this.#isAuditing = true
    this.#host.later(0, 'audits', () => {
      this.stores.look(this.#host, log => this.#audit(log)).then(({ found }) => {
        for (const text of inWords(found)) this.#found(`in the middle, ${text}`)
      }, (err: Error) => { this.#found(`an audit in the middle failed: ${err.stack}`) })
        .finally(() => { this.#isAuditing = false })
    })
  }

  /** @returns what is wrong, in words; undefined where the log could not be read */
  async audit (): Promise<{ readonly books: Books, readonly violations: readonly string[] } | undefined> {
    const audited = await this.work(log => this.#audit(log))
    return audited && { books: audited.books, violations: inWords(audited.found) }
  }

  async published (): Promise<Published[]> {
    const all: Published[] = []
    await this.#each(uplinks, ({ userId, payload, userSeq, roomId }) => {
      all.push({ userId, payload: Buffer.from(payload).toString(), userSeq, roomId })
    })
    return all
  }

  /** By user or room: the highest number that a stream has. */
  async numbers ({ name, key, number }: NumberedStream): Promise<Map<string, number>> {
    const last = new Map<string, number>()
    await this.#each<Record<string, unknown>>(streamsRead[name], item => {
      const whose = item[key] as string
      last.set(whose, Math.max(last.get(whose) ?? 0, item[number] as number))
    })
    return last
  }

  /** Ids of the records that a webhook did not get. */
  async undelivered (): Promise<Set<string>> {
    const ids = new Set<string>()
    await this.#each<Undelivered>(undelivered, ({ record }) => {
      for (const { userId, userSeq } of uplinks.decodeBlock(Buffer.from(record))) ids.add(`${userId} ${userSeq}`)
    })
    return ids
  }

  /** Ids of the downlinks that somebody asked for again: also of those that no device had had before. */
  async redelivered (): Promise<Set<string>> {
    const ids = new Set<string>()
    await this.#each(ledger, ({ fact }) => { if (fact.type === 'DownlinkRedelivered') ids.add(fact.messageId) })
    return ids
  }

  /** Does this as the observer while time goes on; undefined where it fails, or is not done in time. */
  async work<T> (
    work: (log: EventLog, tables: RebuildableTables, host: Host) => Promise<T>
  ): Promise<T | undefined> {
    let outcome: { readonly value: T | undefined } | undefined
    this.#host.later(0, 'looks at the log', () => {
      const looking = this.stores.look(this.#host, (log, tables) => work(log, tables, this.#host))
      looking.then(value => { outcome = { value } }, (err: Error) => {
        this.#found(`the log could not be read: ${err.message}`)
        outcome = { value: undefined }
      })
    })
    await this.until(answerMs, () => outcome !== undefined)
    return outcome?.value
  }

  /** Lets time go on until this holds. @returns whether it does */
  async until (withinMs: number, condition: () => boolean | Promise<boolean>): Promise<boolean> {
    for (const endMs = this.world.nowMs + withinMs; this.world.nowMs < endMs;) {
      if (await condition()) return true
      await this.world.run(sliceMs)
    }
    return await condition()
  }

  /** All that the log has of a stream. */
  async #each<T> (stream: Stream<T>, take: (item: T) => void): Promise<void> {
    await this.work(async log => {
      for (let partition = 0; partition < log.partitions(stream); partition++) {
        const { first } = await log.bounds(stream, partition)
        for await (const { items } of log.read(stream, partition, { from: first })) items.forEach(take)
      }
    })
  }

  async #audit (log: EventLog): Promise<{ books: Books, found: Violation[] }> {
    const found: Violation[] = []
    const books = await audit(log, { exact: this.stores.isExact, violation: each => { found.push(each) } })
    return { books, found }
  }
}

function inWords (found: readonly Violation[]): string[] {
  return found.map(({ code, text, positions }) => `audit: ${code}: ${text} (${positions.join(', ')})`)
}
