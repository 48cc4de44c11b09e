import type { Entry } from '../../schemas/facts.js'
import { type Refill, refillOf, sessionAt } from './answers.js'
import { headSeq, type UserState } from './state.js'
import { ToldAgain } from './told-again.js'

/** A connection is told again of its last downlink so long after it was told first, and then every so often. */
const askAfterMs = [1_000, 5_000, 30_000]
const everyMs = 30_000
/** Of connections that are told again, all fields counted. */
const bytesMax = 1 << 20

/** The last downlink that a connection is to write, as far as its user's partition has told it. */
export interface Unwritten {
  readonly userId: string
  readonly nodeId: string
  readonly connectionId: string
  readonly seq: number
}

/** Has a user's actor tell a connection of a downlink once more. Within one process. */
export interface AskUnwritten extends Unwritten {
  readonly type: 'askUnwritten'
  readonly partition: number
  readonly asOf?: undefined
  /** Told where the connection has nothing to write any more. */
  over (): void
}

export interface UnwrittenDeps {
  readonly partition: number
  /** Of the owner before: what `all` gave. */
  readonly before: readonly Unwritten[]
  /** Whether what is told to this node may not arrive. */
  mayLose (nodeId: string): boolean
  ask (question: AskUnwritten): void
}

interface Told {
  readonly unwritten: Unwritten
  readonly bytes: number
  sinceMs: number
  /** How often it has been told again. */
  times: number
}

/**
 * Downlinks of one partition's users that an edge was told of, until the ledger says that they are written. An edge
 * that misses one asks for it once it knows of a later one. Of the last one it knows nothing, and its client would wait
 * for it until another one comes, or it connects again. So it is told again, by the next owner too.
 */
export class UnwrittenDownlinks {
  readonly #deps: UnwrittenDeps
  readonly #told = new ToldAgain<Told>(bytesMax, ({ times }) => { if (times > 0) this.#changed = true })
  #changed = false

  constructor (deps: UnwrittenDeps) {
    this.#deps = deps
    for (const unwritten of deps.before) this.#remember(unwritten, -Infinity, 1)
  }

  /** How many connections are told again. */
  get size (): number { return this.#told.size }

  /** @param isUntold it was requested so long ago that nobody was told */
  told (unwritten: Unwritten, isUntold: boolean): void {
    if (isUntold || this.#deps.mayLose(unwritten.nodeId)) this.#remember(unwritten, performance.now(), 0)
  }

  #remember (unwritten: Unwritten, sinceMs: number, times: number): void {
    this.#told.remember(unwritten.connectionId, { unwritten, bytes: bytesOf(unwritten), sinceMs, times })
    if (times > 0) this.#changed = true
  }

  /**
   * Forgets what is written, and connections that have ended, as these entries of the ledger say: not before they are
   * folded, for a replay may bring what is to be told only then.
   */
  folded (entries: readonly Entry[]): void {
    if (this.#told.size === 0) return
    for (const { fact } of entries) {
      if (fact.type === 'ConnectionClosed') this.#told.forget(fact.connectionId)
      else if (fact.type === 'DeliveryReported') this.#written(fact.connectionId, fact.writtenSeq)
    }
  }

  #written (connectionId: string, seq: number): void {
    const told = this.#told.get(connectionId)
    if (told && told.unwritten.seq <= seq) this.#told.forget(connectionId)
  }

  /** Has those told again that are due. @param nowMs by a clock that nobody sets */
  repeat (nowMs = performance.now()): void {
    for (const told of this.#told.values()) {
      const { unwritten, sinceMs, times } = told
      if (nowMs - sinceMs < (askAfterMs[times] ?? everyMs)) continue
      if (times >= askAfterMs.length - 1) told.sinceMs = nowMs
      if (times === 0) this.#changed = true
      told.times++
      this.#deps.ask({
        ...unwritten,
        type: 'askUnwritten',
        partition: this.#deps.partition,
        over: () => { if (this.#told.get(unwritten.connectionId) === told) this.#told.forget(unwritten.connectionId) },
      })
    }
  }

  /** Those that were told again, for the next owner. All others were told a moment ago. */
  get all (): Unwritten[] {
    return Array.from(this.#told.values()).filter(({ times }) => times > 0).map(({ unwritten }) => unwritten)
  }

  /** Whether `all` has changed since the last call. */
  takeChanged (): boolean {
    const changed = this.#changed
    this.#changed = false
    return changed
  }
}

/** The downlink, where the connection is still to write it; undefined where that is over. */
export function stillUnwritten (state: UserState, { nodeId, connectionId, seq }: Unwritten): Refill | undefined {
  const session = sessionAt(state, connectionId)
  if (!session || seq < headSeq(session) || seq >= session.nextSeq) return undefined
  return refillOf(session, nodeId, connectionId, seq - 1, 0)
}

/** In memory. */
function bytesOf ({ userId, nodeId, connectionId }: Unwritten): number {
  return 192 + 2 * (userId.length + nodeId.length + connectionId.length)
}
