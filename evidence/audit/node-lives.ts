import { partitionOf } from '../../schemas/partitioning.js'
import { type NodeEntry, reportsPerLease } from '../../schemas/node-facts.js'
import { nodes } from '../../schemas/streams.js'
import type { AuditedLog } from './derived.js'
import { Rounds } from './rounds.js'
import { placeIn, type Subject, type ViolationCode } from './violation.js'

/** Epochs remembered of each node, to tell a late repeat from one that goes back. */
const epochsMax = 64
/** How long a process may report after its successor has begun, ms: it looks every second whether it has one. */
const replacedMs = 60_000

/** How a process was left. */
interface Left {
  /** By whoever told, ms since 1970. */
  readonly atMs: number
  readonly mark: number
}

interface Epoch {
  wasLost: boolean
  left: Left | undefined
  /** Its own process has told that it is over, or whoever watches, before a later epoch began. */
  wasEnded: boolean
  /** Its start is the one thing told of it, and stands behind that of a later epoch. */
  isLateStart: boolean
}

interface Life {
  /** The newest one. */
  epoch: number
  /** When that began. */
  begun: Left
  endedAs: 'lost' | 'stopped' | undefined
  readonly epochs: Map<number, Epoch>
  /** Some are not remembered. */
  forgot: boolean
  /** What its process waits between two reports, ms; 0 where the stream does not have its start. */
  reportEveryMs: number
  /** The newest time that its own process has told, ms since 1970. */
  heardAtMs: number
  /** Of the newest epoch. */
  reportedAtMs: number
  /** Starts of earlier epochs that came behind that one's, and nothing else of them. */
  lateStarts: number
  /** Reports of an epoch before that one, of one process. */
  readonly late: { epoch: number, atMs: number, reports: number }
}

/** When an epoch of a node was over. */
export interface EpochEnd {
  /** By the clock of whoever told, ms since 1970. */
  readonly atMs: number
  /** At least so long ago by what nodes have reported since, ms; no clock counts (see `Rounds`). */
  readonly agoMs: number
}

/** @param subject by keys; see `Violation` */
export type Report = (code: ViolationCode, subject: Subject, text: string, positions: readonly string[]) => void

/** Which nodes live, by the stream `nodes`: each node's newest epoch and how it ended. */
export class NodeLives {
  readonly #lives = new Map<string, Life>()

  readonly #log: AuditedLog
  readonly #report: Report
  /** By partition: what is to be read next. */
  readonly #next: bigint[] = []
  readonly #rounds: Rounds[] = []
  /** Partitions whose beginning is gone. */
  readonly #cut = new Set<number>()

  static async read (log: AuditedLog, report: Report): Promise<NodeLives> {
    const lives = new NodeLives(log, report)
    for (let partition = 0; partition < log.partitions(nodes); partition++) {
      const { first } = await log.bounds(nodes, partition)
      lives.#next.push(first)
      lives.#rounds.push(new Rounds())
      if (first > 0n) lives.#cut.add(partition)
    }
    await lives.readOn()
    return lives
  }

  private constructor (log: AuditedLog, report: Report) {
    this.#log = log
    this.#report = report
  }

  /** Takes what has come since. */
  async readOn (): Promise<void> {
    for (const [partition, from] of this.#next.entries()) {
      for await (const { offset, items } of this.#log.read(nodes, partition, { from })) {
        this.#next[partition] = offset + 1n
        for (const [index, entry] of items.entries()) {
          const text = this.#take(entry, this.#rounds[partition]!)
          if (text) this.#report('epoch-went-back', { nodeId: entry.nodeId }, text, [placeIn(nodes, { partition, offset, index })])
        }
      }
    }
  }

  /**
   * What is known of the node in this epoch.
   *
   * @returns undefined for a node never heard of
   */
  endOf (nodeId: string, epoch: number): EpochEnd | 'living' | undefined {
    const life = this.#lives.get(nodeId)
    if (!life) return undefined
    if (epoch > life.epoch) return 'living' // it has yet to tell that it started
    const known = life.epochs.get(epoch)
    const left = known ? known.left : life.begun
    return left ? { atMs: left.atMs, agoMs: this.#roundsOf(nodeId).agoMs(left.mark) } : 'living'
  }

  /** Whether the stream has all epochs of the node that it has told, and this is none of them. */
  neverHad (nodeId: string, epoch: number): boolean {
    const life = this.#lives.get(nodeId)
    return life !== undefined && !life.forgot && !life.epochs.has(epoch) && !this.#cut.has(this.#partitionOf(nodeId))
  }

  /**
   * Whether it is this epoch that the node is in now, and how it was left. A process that was replaced goes on until it
   * sees that a later epoch has begun.
   *
   * @returns undefined for an epoch that the stream does not have
   */
  fateOf (nodeId: string, epoch: number): 'living' | 'lost' | 'replaced' | 'over' | undefined {
    const life = this.#lives.get(nodeId)
    const known = life?.epochs.get(epoch)
    if (!known) return undefined
    if (known.wasLost) return 'lost'
    if (known.wasEnded) return 'over'
    return known.left ? 'replaced' : 'living'
  }

  /** When the node has told of itself last, by its own clock, ms since 1970; -Infinity where it has not. */
  heardAt (nodeId: string): number { return this.#lives.get(nodeId)?.heardAtMs ?? -Infinity }

  counts (): { alive: number, lost: number, stopped: number } {
    const counts = { alive: 0, lost: 0, stopped: 0 }
    for (const { endedAs } of this.#lives.values()) counts[endedAs ?? 'alive']++
    return counts
  }

  /** @returns what is wrong with it, if anything */
  #take ({ nodeId, epoch, atMs, fact }: NodeEntry, rounds: Rounds): string | undefined {
    const { mark } = rounds
    let life = this.#lives.get(nodeId)
    if (!life) this.#lives.set(nodeId, life = newLife(epoch, { atMs, mark }))
    if (fact.type === 'NodeStarted' || fact.type === 'NodeReported') life.heardAtMs = Math.max(life.heardAtMs, atMs)
    const isKnown = life.epochs.has(epoch)
    const own = epochOf(life, epoch)
    if (fact.type === 'NodeLost') own.wasLost = true
    if (!own.left && (fact.type === 'NodeLost' || fact.type === 'NodeStopped')) own.wasEnded = true
    if (epoch < life.epoch) {
      // A repeat, or the last word of a process that was taken for lost, is of an epoch that was there.
      own.left ??= life.begun
      if (wentBack(life, own, isKnown, fact.type)) {
        return `Node ${nodeId} told ${fact.type} of epoch ${epoch} after it had begun ${life.epoch}.`
      }
      return fact.type === 'NodeReported' ? reportedLate(nodeId, life, epoch, atMs) : undefined
    }
    if (epoch > life.epoch) {
      const begun = { atMs: epoch, mark }
      epochOf(life, life.epoch).left ??= begun
      const anew = { endedAs: undefined, reportEveryMs: 0, reportedAtMs: -Infinity, lateStarts: 0 }
      Object.assign(life, { epoch, begun, ...anew })
      rounds.began(nodeId)
    }
    if (fact.type === 'NodeStarted') life.reportEveryMs = fact.leaseMs / reportsPerLease
    if (fact.type === 'NodeReported' && atMs > life.reportedAtMs) { // no repeat of its last one
      life.reportedAtMs = atMs
      if (life.reportEveryMs > 0) rounds.reported(nodeId, life.reportEveryMs)
    }
    if (fact.type === 'NodeLost' || fact.type === 'NodeStopped') {
      own.left ??= { atMs, mark }
      life.endedAs ??= fact.type === 'NodeLost' ? 'lost' : 'stopped'
    }
    return undefined
  }

  #partitionOf (nodeId: string): number { return partitionOf(nodeId, this.#rounds.length) }

  #roundsOf (nodeId: string): Rounds { return this.#rounds[this.#partitionOf(nodeId)]! }
}

function newLife (epoch: number, begun: Left): Life {
  return {
    epoch,
    begun,
    endedAs: undefined,
    epochs: new Map(),
    forgot: false,
    reportEveryMs: 0,
    heardAtMs: -Infinity,
    reportedAtMs: -Infinity,
    lateStarts: 0,
    late: { epoch, atMs: -Infinity, reports: 0 },
  }
}

function epochOf (life: Life, epoch: number): Epoch {
  const { epochs } = life
  const known = epochs.get(epoch)
  if (known) return known
  const own = { wasLost: false, left: undefined, wasEnded: false, isLateStart: false }
  epochs.set(epoch, own)
  if (epochs.size > epochsMax) {
    epochs.delete(epochs.keys().next().value!)
    life.forgot = true
  }
  return own
}

/**
 * Whether a process has begun in an earlier epoch than the one before it. One that ended while its start was under way
 * has not: that may be stored behind the start of its successor, and is all that is told of it. Once it may: whoever
 * begins in an earlier epoch ends as soon as it sees the later one, and begins again.
 */
function wentBack (life: Life, own: Epoch, isKnown: boolean, type: NodeEntry['fact']['type']): boolean {
  if (!isKnown && type === 'NodeStarted') {
    own.isLateStart = true
    return ++life.lateStarts > 1
  }
  if (!own.isLateStart) return !isKnown
  if (type === 'NodeStarted') return false // a repeat
  own.isLateStart = false
  return true
}

/** @returns what is wrong, once: a process goes on, and another one has its name */
function reportedLate (nodeId: string, life: Life, epoch: number, atMs: number): string | undefined {
  const { late } = life
  if (late.epoch !== epoch) Object.assign(late, { epoch, atMs: -Infinity, reports: 0 })
  if (atMs <= late.atMs) return undefined // a repeat
  late.atMs = atMs
  late.reports++
  const wentOn = (reports: number) => reports * life.reportEveryMs > replacedMs
  if (!wentOn(late.reports) || wentOn(late.reports - 1)) return undefined
  return `Node ${nodeId} has told NodeReported of epoch ${epoch} ${late.reports} times since it began ${life.epoch}.`
}
