import type { GatewayApi } from './http.js'
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
   * @returns once that is durable; false where the partition is another reader's by now, who gets the record again
   * @throws ServiceError where it could not be stored for long
   */
  ack (): Promise<boolean>
}

/** As many as a request may have. */
const cursorsMax = 1_000

interface Waiting { readonly cursor: string, resolve (isAcked: boolean): void, reject (err: unknown): void }

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
      this.#waiting.push({ cursor, resolve, reject })
      if (!this.#isSending) this.#send().catch(() => {}) // each was told
    })
  }

  async #send (): Promise<void> {
    this.#isSending = true
    while (this.#waiting.length > 0) {
      const sent = this.#waiting.splice(0, cursorsMax)
      try {
        const cursors = sent.map(({ cursor }) => cursor)
        const path = `/v1/groups/${encodeURIComponent(this.name)}/acks`
        const { acks } = await this.#api.ask<{ acks: Array<{ status: string }> }>('POST', path, { cursors })
        for (const [i, { resolve }] of sent.entries()) resolve(acks[i]?.status === 'acked')
      } catch (err) {
        for (const { reject } of sent) reject(err)
      }
    }
    this.#isSending = false
  }
}
