import { audit, type Books, type Violation } from '../evidence/audit.js'
import { blocksToAudit, rangesSince } from '../evidence/audit/ranges.js'
import type { Block, LogReader, ReadRange } from '../ledger/log.js'
import { type ErrorCode, GatewayError } from '../schemas/errors.js'
import { ledger, rooms, type Stream } from '../schemas/streams.js'
import { EventQueue } from './event-queue.js'
import { type MemoryUse, pressureOf } from './memory.js'
import { turnstile } from './turnstile.js'

/** What is told of an audit, in this order; `progress` and `violation` again and again, and `failed` at any time. */
export type AuditEvent =
  | { readonly type: 'started', readonly blocks: number }
  | { readonly type: 'progress', readonly blocks: number, readonly blocksTotal: number, readonly violations: number }
  | ({ readonly type: 'violation' } & Violation)
  | { readonly type: 'done', readonly seconds: number, readonly books: Books }
  | { readonly type: 'failed', readonly code: ErrorCode, readonly message: string }

export interface AuditsDeps {
  readonly log: LogReader
  /** Records of derived streams stand there once: not in Kafka, where a takeover may repeat some. */
  readonly exact: boolean
  /** Looks at the memory of the process until `stop`. */
  readonly memory: () => { readonly use: () => MemoryUse, readonly stop: () => void }
  readonly failed: (what: string, error: Error, fields: object) => void
}

/** Violations that are told; the others are counted in the books. */
export const violationsToldMax = 1_000

/** An audit is given up from here on: before anything is shed for what it keeps (memory.ts). */
const pressureMax = 0.7

/** It works for so long at once. Then live traffic has its turn. */
const workMs = 3

const progressEveryMs = 250

const shortOfMemory = 'memory is short, and the audit was given up: `ledgerline audit` has a process of its own'

/**
 * The audits that this node was asked for: one at a time. It folds the ledger anew beside live traffic, which goes
 * first: so it takes longer than `ledgerline audit`, which has a process of its own.
 */
export class Audits {
  #isRunning = false

  constructor (readonly deps: AuditsDeps) {}

  /**
   * What is told of it as it goes on; `signal` gives it up.
   *
   * @param sinceMs what came from then on is judged; undefined for all that is kept
   * @throws GatewayError `not-ready` while another one runs
   */
  start (sinceMs: number | undefined, signal: AbortSignal): AsyncIterable<AuditEvent> {
    if (this.#isRunning) throw new GatewayError('not-ready', 'another audit runs on this node: wait for its end')
    this.#isRunning = true
    const events = new EventQueue<AuditEvent>()
    this.#run(sinceMs, signal, events)
      .catch((error: Error) => {
        const isOurs = !(error instanceof GatewayError)
        if (isOurs && !signal.aborted) this.deps.failed('an audit broke off', error, {})
        events.put({ type: 'failed', code: isOurs ? 'internal' : error.code, message: error.message })
      })
      .finally(() => {
        this.#isRunning = false
        events.end()
      })
    return events
  }

  async #run (sinceMs: number | undefined, signal: AbortSignal, events: EventQueue<AuditEvent>): Promise<void> {
    const { log, exact } = this.deps
    const startedMs = performance.now()
    const { ranges, roomRanges } = await rangesSince(log, sinceMs)
    const blocksTotal = await blocksToAudit(log, ledger, ranges) + await blocksToAudit(log, rooms, roomRanges)
    events.put({ type: 'started', blocks: blocksTotal })
    let blocks = 0
    let violations = 0
    let toldMs = 0
    const memory = this.deps.memory()
    const books = await audit(this.#paced(signal, memory.use), {
      ranges,
      roomRanges,
      exact,
      violation (violation) {
        if (++violations <= violationsToldMax) events.put({ type: 'violation', ...violation })
      },
      blocks (count) {
        blocks += count
        if (performance.now() - toldMs < progressEveryMs) return
        toldMs = performance.now()
        events.put({ type: 'progress', blocks, blocksTotal: Math.max(blocks, blocksTotal), violations })
      },
    }).finally(memory.stop)
    events.put({ type: 'done', seconds: (performance.now() - startedMs) / 1_000, books })
  }

  /** The log, read no faster than live traffic allows, and no further than memory does. */
  #paced (signal: AbortSignal, use: () => MemoryUse): Pick<LogReader, 'partitions' | 'bounds' | 'read'> {
    const { log } = this.deps
    const turn = turnstile()
    let restedMs = performance.now()
    async function * read<T> (stream: Stream<T>, partition: number, range: ReadRange): AsyncGenerator<Block<T>> {
      for await (const block of log.read(stream, partition, range)) {
        yield block
        if (performance.now() - restedMs < workMs) continue
        await turn()
        signal.throwIfAborted()
        if (pressureOf(use()) > pressureMax) throw new GatewayError('overloaded', shortOfMemory)
        restedMs = performance.now()
      }
    }
    return {
      partitions: stream => log.partitions(stream), bounds: (stream, partition) => log.bounds(stream, partition), read,
    }
  }
}
