import { CircuitBreaker } from '../../ledger/circuit.js'
import { Batch } from './batch.js'
import { FailedBatches } from './failed-batches.js'
import { Lanes, type OutgoingRecord } from './lanes.js'
import type { Progress } from './progress.js'
import type { Webhook } from './setting.js'
import type { Target, Verdict } from './target.js'

export interface SenderTimes {
  /** Of a batch's first repeat, and of the last ones; half of it may be left out, by chance. */
  readonly retryMs: number
  readonly retryMsMax: number
  /** Of the circuit before the server. */
  readonly probeMs: number
  readonly probeMsMax: number
}

export const senderTimes: SenderTimes = { retryMs: 500, retryMsMax: 600_000, probeMs: 1_000, probeMsMax: 60_000 }

export interface SenderDeps {
  readonly webhook: Webhook
  readonly target: Pick<Target, 'post'>
  readonly times: SenderTimes
  /** Resolves once the records are stored as undelivered, however often that takes, or the sender stops. */
  giveUp (records: readonly OutgoingRecord[], status: number, reason: string): Promise<void>
  /**
   * Sends what the answer of a webhook with `reply` asks for.
   *
   * @throws Error where the answer is to be had again, for not all of it could be stored
   */
  reply (records: readonly OutgoingRecord[], answer: string): Promise<void>
  /** Of each request. */
  attempted (outcome: 'delivered' | 'refused' | 'failed', records: number, ms: number): void
  /** Why nothing is delivered just now; empty once something is. */
  stuck (reason: string): void
}

/** Lanes whose requests fail one behind the other, before it is taken for the server. */
const failuresMax = 5
/** Of a batch that goes on failing while others are delivered, before it may have to make room for them. */
const attemptsMin = 5
/** Of a batch before its records go alone, so that the one that fails holds up no other. */
const attemptsTogether = 3

/**
 * Posts records to one server: those of one user in order, those of many side by side, in batches. What fails is
 * repeated until it is delivered or given up, and holds up nobody but its own users.
 */
export class Sender {
  readonly #deps: SenderDeps
  readonly #lanes = new Lanes()
  readonly #failed = new FailedBatches()
  readonly #underWay = new Set<Batch>()
  readonly circuit: CircuitBreaker
  /** Lanes whose requests have failed since the server last showed that it works: one record alone proves nothing. */
  readonly #failing = new Set<string>()
  #requests = 0
  #pausedUntilMs = 0
  /** By `performance.now`. */
  #deliveredMs = -Infinity
  #timer: NodeJS.Timeout | undefined
  #stopped = false
  /** It has answered 410: nothing is sent to it any more. */
  isDisabled = false

  constructor (deps: SenderDeps) {
    const { webhook: { name }, times: { probeMs, probeMsMax } } = deps
    this.#deps = deps
    this.circuit = new CircuitBreaker({
      dependency: `webhook-${name}`,
      failuresMax,
      waitMs: probeMs,
      waitMsMax: probeMsMax,
      probe: () => this.#probe(),
      away: reason => { deps.stuck(reason) },
      back: () => { this.#pump() },
    })
  }

  /** In the order of their stream. */
  add (records: readonly OutgoingRecord[]): void {
    for (const record of records) this.#lanes.add(record)
    this.#pump()
  }

  /** When the oldest record came to be that is on its way, ms since 1970; undefined for none. */
  get oldestAtMs (): number | undefined {
    let oldest = this.#lanes.oldestAtMs
    for (const { records } of [...this.#underWay, ...this.#failed.all()]) {
      for (const { atMs } of records) if (oldest === undefined || atMs < oldest) oldest = atMs
    }
    return oldest
  }

  /** Forgets a partition. Resolves when none of its records is in a request under way, or after `withinMs`. */
  async forget (progress: Progress, withinMs: number): Promise<void> {
    this.#lanes.drop(progress)
    for (const { lanes } of this.#failed.takeEnded()) this.#lanes.release(lanes)
    this.#pump()
    const endMs = performance.now() + withinMs
    const isOf = ({ records }: Batch) => records.some(({ place }) => place.progress === progress)
    while ([...this.#underWay].some(isOf) && performance.now() < endMs) {
      await new Promise(resolve => setTimeout(resolve, 10))
    }
  }

  stop (): void {
    this.#stopped = true
    clearTimeout(this.#timer)
    this.circuit.stop()
    this.#failed.stop()
  }

  #pump (): void {
    while (this.#mayBegin()) {
      const batch = this.#next()
      if (!batch) return
      this.#attempt(batch)
    }
  }

  #mayBegin (): boolean {
    if (this.#stopped || this.isDisabled || this.circuit.state !== 'closed') return false
    if (this.#requests >= this.#deps.webhook.concurrency) return false
    const pauseMs = this.#pausedUntilMs - performance.now()
    if (pauseMs <= 0) return true
    this.#pumpAfter(pauseMs)
    return false
  }

  #next (): Batch | undefined {
    const failed = this.#failed.takeDue()
    if (failed) return failed
    const { batch: max, lingerMs } = this.#deps.webhook
    if (this.#lanes.waiting === 0) return undefined
    if (this.#lanes.waiting < max && lingerMs > 0) {
      const waitMs = this.#lanes.waitingSinceMs! + lingerMs - performance.now()
      if (waitMs > 0) {
        this.#pumpAfter(waitMs)
        return undefined
      }
    }
    return this.#taken()
  }

  #taken (): Batch | undefined {
    const { batch: max } = this.#deps.webhook
    const { records, lanes } = this.#lanes.take(max)
    return records.length === 0 ? undefined : new Batch(records, lanes, max === 1)
  }

  #pumpAfter (ms: number): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.#pump()
    }, Math.ceil(ms)).unref()
  }

  /** What the server shows that it works by is a delivery. */
  async #probe (): Promise<void> {
    if (this.#pausedUntilMs > performance.now()) throw new Error('it has asked to be left alone for a while')
    const batch = this.#taken() ?? this.#failed.takeLeastTried()
    if (!batch || this.#stopped) return
    const verdict = await this.#attempt(batch)
    if (isAway(verdict)) throw new Error(verdict.reason)
  }

  /** @returns undefined where nothing of the batch is left */
  async #attempt (batch: Batch): Promise<Verdict | undefined> {
    batch.leaveOutEnded()
    if (batch.records.length === 0) {
      this.#lanes.release(batch.lanes)
      return undefined
    }
    batch.begin()
    this.#underWay.add(batch)
    this.#requests++
    const startMs = performance.now()
    const { id, body } = batch.request
    const verdict = await this.#withReply(batch, await this.#deps.target.post(id, body))
    this.#requests--
    if (this.#stopped) {
      this.#underWay.delete(batch)
      return verdict
    }
    const outcome = verdict.type === 'gone' ? 'refused' : verdict.type
    this.#deps.attempted(outcome, batch.records.length, performance.now() - startMs)
    if (isAway(verdict)) this.#suspect(batch, verdict.reason)
    else this.#trust()
    await this.#settle(batch, verdict)
    this.#underWay.delete(batch)
    this.#pump()
    return verdict
  }

  #trust (): void {
    this.#failing.clear()
    this.circuit.answered()
  }

  #suspect ({ lanes: [lane] }: Batch, reason: string): void {
    if (this.circuit.state !== 'closed' || this.#failing.has(lane!.key)) return
    this.#failing.add(lane!.key)
    this.circuit.unanswered(new Error(reason))
  }

  async #withReply (batch: Batch, verdict: Verdict): Promise<Verdict> {
    if (verdict.type !== 'delivered' || verdict.answer === '') return verdict
    try {
      await this.#deps.reply(batch.records, verdict.answer)
      return verdict
    } catch (err) {
      const reason = `what it answers could not be sent: ${(err as Error).message}`
      return { type: 'failed', status: verdict.status, reason, fault: 'record' }
    }
  }

  async #settle (batch: Batch, verdict: Verdict): Promise<void> {
    switch (verdict.type) {
      case 'delivered':
        this.#deliveredMs = performance.now()
        this.#deps.stuck('')
        return this.#done(batch)
      case 'refused':
        if (batch.records.length === 1) return await this.#giveUp(batch, verdict.status, verdict.reason)
        return this.#separate(batch)
      case 'gone':
        this.isDisabled = true
        this.#failed.putFirst(batch)
        return this.#deps.stuck(`${verdict.reason}: it gets nothing until its entry changes, or the node starts anew`)
      case 'failed': return await this.#hasFailed(batch, verdict)
    }
  }

  #separate ({ records, lanes }: Batch): void {
    for (const record of records) record.isAlone = true
    this.#lanes.putBack(records, lanes)
  }

  async #hasFailed (
    batch: Batch, { status, reason, fault, retryAfterMs = 0 }: Verdict & { type: 'failed' }
  ): Promise<void> {
    const { webhook: { giveUpAfterMs }, times: { retryMs, retryMsMax } } = this.#deps
    const failedMs = performance.now() - batch.firstMs
    if (failedMs >= giveUpAfterMs) {
      return await this.#giveUp(batch, status, `${reason}; tried for ${Math.round(failedMs / 1_000)} s`)
    }
    if (this.#holdsUpOthers(batch)) {
      return await this.#giveUp(batch, status, `${reason}; what waits behind it leaves no room for others`)
    }
    if (performance.now() - this.#deliveredMs > retryMs) this.#deps.stuck(reason)
    if (retryAfterMs > 0) this.#pausedUntilMs = Math.max(this.#pausedUntilMs, performance.now() + retryAfterMs)
    const isTogether = batch.records.length > 1 && fault !== 'server' && this.circuit.state === 'closed'
    if (isTogether && batch.attempts >= attemptsTogether) return this.#separate(batch)
    const longestMs = Math.min(retryMsMax, retryMs * 2 ** Math.min(batch.attempts - 1, 30))
    const waitMs = longestMs * (1 - Math.random() / 2)
    this.#failed.wait(batch, Math.max(waitMs, retryAfterMs), () => { this.#pump() })
  }

  /**
   * Whether a partition has no room any more, and all that it has is of users who wait for batches that fail, while the
   * server takes others.
   */
  #holdsUpOthers (batch: Batch): boolean {
    if (batch.attempts < attemptsMin || this.#deliveredMs < batch.firstMs) return false
    const { progress } = batch.records[0]!.place
    if (!progress.isFull) return false
    let failing = 0
    for (const { records, lanes } of [batch, ...this.#failed.all()]) {
      const isOf = ({ place }: OutgoingRecord) => place.progress === progress
      failing += records.filter(isOf).length
      for (const { queue } of lanes) if (queue.length > 0 && isOf(queue.peekFront()!)) failing += queue.length
    }
    return failing >= progress.undone
  }

  async #giveUp (batch: Batch, status: number, reason: string): Promise<void> {
    await this.#deps.giveUp(batch.records, status, reason)
    if (!this.#stopped) this.#done(batch)
  }

  #done ({ records, lanes }: Batch): void {
    for (const { place, bytes } of records) place.progress.done(place, bytes)
    this.#lanes.release(lanes)
  }
}

/** The server may be away: it is not known to be at work. */
function isAway (verdict: Verdict | undefined): verdict is Verdict & { type: 'failed' } {
  return verdict?.type === 'failed' && verdict.fault !== 'record'
}
