import { setTimeout as sleep } from 'node:timers/promises'
import type { Backoff } from '../client/backoff.js'
import { type GatewayApi, told } from './http.js'
import { type AckOptions, repliesOf } from './replies.js'
import { recordOf, type StreamHole, type StreamName, type StreamRecords } from './records.js'
import { linesOf, queryOf, type StreamFilter } from './streams.js'

export interface GroupReadOptions extends StreamFilter {
  /** A group that has acked nothing yet begins with what comes from now on; else with the first record that is kept. */
  readonly fromNow?: boolean
  /** How long the gateway waits for an ack, ms, before it gives the partitions to another reader; 30,000 by default. */
  readonly ackWithinMs?: number
  /** Ends it without an error; what is not acked by then comes again. */
  readonly signal?: AbortSignal
  readonly onHole?: (hole: StreamHole) => void
}

export type GroupRecord<Name extends StreamName> = StreamRecords[Name] & {
  readonly cursor: string
  /**
   * Acks this record and all that were given before it in the same partition.
   *
   * @param options with downlinks that answer it: they are stored first, and once however often the record comes
   * @returns once that is durable; false where it is not, and the record comes again: to another reader, who has the
   *   partition by now, or because its node is gone
   * @throws ServiceError where it could not be stored for long; with the code of a reply that can't be sent, where the
   *   ack was stored all the same
   */
  ack (options?: AckOptions): Promise<boolean>
}

/** As many as a request may have. */
const cursorsMax = 1_000
const repliesMax = 1_000
/** Of replies in one request, as JSON, unless a single ack has more. */
const replyCharsMax = 256 << 10
/** The next request waits so long for the one before it: a node that does not answer holds up nobody else's acks. */
const patienceMs = 1_000
/** What may be stored when it is asked for again. */
const passing: ReadonlySet<string> = new Set(['ledger-unavailable', 'internal'])

interface Waiting {
  readonly cursor: string
  readonly replies: readonly object[]
  readonly replyChars: number
  readonly untilMs: number
  readonly backoff: Backoff
  resolve (isAcked: boolean): void
  reject (err: unknown): void
}

interface Acked { readonly status: string, readonly code?: string }
/** A reply that can't be sent has a code. */
interface Replied { readonly code?: string, readonly message?: string }

/** One reader, or several, of a group: docs/streams.md, Groups. */
export class ServiceGroup {
  readonly #api: GatewayApi
  #waiting: Waiting[] = []
  #isSending = false

  constructor (api: GatewayApi, readonly name: string) { this.#api = api }

  /**
   * Records of the partitions that this reader has, each partition in order. A connection that breaks is made again.
   *
   * @throws ServiceError where the gateway refuses
   */
  async * read<Name extends StreamName> (
    stream: Name, { fromNow = false, ackWithinMs, signal, onHole, ...filter }: GroupReadOptions = {}
  ): AsyncGenerator<GroupRecord<Name>> {
    const query = queryOf({ ...filter, group: this.name, after: fromNow ? 'now' : undefined, ackWithinMs })
    for await (const line of linesOf(this.#api, stream, signal, () => query, true)) {
      if ('hole' in line) onHole?.(line['hole'] as StreamHole)
      else if (!('ended' in line)) { // else the answer ends, and the next one is asked for
        const record = recordOf(line)
        const { cursor } = line
        const of = { group: this.name, stream }
        const ack = async ({ replies = [] }: AckOptions = {}) => await this.#ack(cursor, repliesOf(record, replies, of))
        yield Object.assign(record, { ack }) as unknown as GroupRecord<Name>
      }
    }
  }

  /** As `ack` of a record. Acks that are asked for while others are on their way go together. */
  ack (cursor: string): Promise<boolean> { return this.#ack(cursor, []) }

  #ack (cursor: string, replies: readonly object[]): Promise<boolean> {
    const replyChars = replies.length === 0 ? 0 : JSON.stringify(replies).length
    return new Promise((resolve, reject) => {
      const untilMs = performance.now() + this.#api.retryForMs
      this.#send({ cursor, replies, replyChars, untilMs, backoff: this.#api.newBackoff(), resolve, reject })
    })
  }

  #send (each: Waiting): void {
    this.#waiting.push(each)
    if (!this.#isSending) this.#sendAll().catch(() => {}) // each is told
  }

  async #sendAll (): Promise<void> {
    this.#isSending = true
    while (this.#waiting.length > 0) {
      const answered = new AbortController()
      const { signal } = answered
      const sending = this.#sendOnce(this.#next()).finally(() => { answered.abort() })
      await Promise.race([sending, sleep(patienceMs, undefined, { signal }).catch(() => {})])
    }
    this.#isSending = false
  }

  /**
   * As many as one request has room for, at least one. Those with replies go apart from those without: replies may be
   * refused to this API key, which may ack all the same.
   */
  #next (): Waiting[] {
    let count = 0
    let replies = 0
    let replyChars = 0
    const hasReplies = this.#waiting[0]!.replies.length > 0
    for (const each of this.#waiting) {
      replies += each.replies.length
      replyChars += each.replyChars
      const fits = count < cursorsMax && replies <= repliesMax && replyChars <= replyCharsMax &&
        (each.replies.length > 0) === hasReplies
      if (count > 0 && !fits) break
      count++
    }
    return this.#waiting.splice(0, count)
  }

  async #sendOnce (sent: readonly Waiting[]): Promise<void> {
    try {
      const replies = sent.flatMap(each => each.replies)
      const body = { cursors: sent.map(({ cursor }) => cursor), ...replies.length > 0 && { replies } }
      const path = `/v1/groups/${encodeURIComponent(this.name)}/acks`
      type Answer = { readonly acks: readonly Acked[], readonly replies?: readonly Replied[] }
      const { acks, replies: replied = [] } = await this.#api.ask<Answer>('POST', path, body)
      let next = 0
      for (const [i, each] of sent.entries()) {
        const refused = replied.slice(next, next += each.replies.length).find(({ code }) => code !== undefined)
        this.#answered(each, acks[i]!, refused)
      }
    } catch (err) {
      for (const { reject } of sent) reject(err)
    }
  }

  #answered (each: Waiting, { status, code = '' }: Acked, refused?: Replied): void {
    if (!passing.has(code)) {
      if (refused && status === 'acked') return each.reject(told(refused.code!, `a reply can not be sent: ${refused.message}`))
      return each.resolve(status === 'acked')
    }
    const waitMs = each.backoff.nextMs()
    if (performance.now() + waitMs > each.untilMs) each.reject(told(code, 'the ack is not known to be stored'))
    else setTimeout(() => { this.#send(each) }, waitMs)
  }
}
