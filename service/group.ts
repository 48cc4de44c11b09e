import { setTimeout as sleep } from 'node:timers/promises'
import type { Backoff } from '../client/backoff.js'
import { type GatewayApi, told } from './http.js'
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
   * @returns once that is durable; false where it is not, and the record comes again: to another reader, who has the
   *   partition by now, or because its node is gone
   * @throws ServiceError where it could not be stored for long
   */
  ack (): Promise<boolean>
}

/** As many as a request may have. */
const cursorsMax = 1_000
/** The next request waits so long for the one before it: a node that does not answer holds up nobody else's acks. */
const patienceMs = 1_000
/** What may be stored when it is asked for again. */
const passing: ReadonlySet<string> = new Set(['ledger-unavailable', 'internal'])

interface Waiting {
  readonly cursor: string
  readonly untilMs: number
  readonly backoff: Backoff
  resolve (isAcked: boolean): void
  reject (err: unknown): void
}

interface Acked { readonly status: string, readonly code?: string }

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
        yield Object.assign(recordOf(line), { ack: () => this.ack(line.cursor) }) as unknown as GroupRecord<Name>
      }
    }
  }

  /** As `ack` of a record. Acks that are asked for while others are on their way go together. */
  ack (cursor: string): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const untilMs = performance.now() + this.#api.retryForMs
      this.#send({ cursor, untilMs, backoff: this.#api.newBackoff(), resolve, reject })
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
      const sending = this.#sendOnce(this.#waiting.splice(0, cursorsMax)).finally(() => { answered.abort() })
      await Promise.race([sending, sleep(patienceMs, undefined, { signal }).catch(() => {})])
    }
    this.#isSending = false
  }

  async #sendOnce (sent: readonly Waiting[]): Promise<void> {
    try {
      const cursors = sent.map(({ cursor }) => cursor)
      const path = `/v1/groups/${encodeURIComponent(this.name)}/acks`
      const { acks } = await this.#api.ask<{ acks: readonly Acked[] }>('POST', path, { cursors })
      for (const [i, each] of sent.entries()) this.#answered(each, acks[i]!)
    } catch (err) {
      for (const { reject } of sent) reject(err)
    }
  }

  #answered (each: Waiting, { status, code = '' }: Acked): void {
    if (!passing.has(code)) return each.resolve(status === 'acked')
    const waitMs = each.backoff.nextMs()
    if (performance.now() + waitMs > each.untilMs) each.reject(told(code, 'the ack is not known to be stored'))
    else setTimeout(() => { this.#send(each) }, waitMs)
  }
}
