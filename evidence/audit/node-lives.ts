import type { NodeEntry } from '../../schemas/records.js'
import { nodes } from '../../schemas/streams.js'
import type { AuditedLog } from './derived.js'
import { placeIn, type ViolationCode } from './violation.js'

/** Epochs remembered of each node, to tell a late repeat from one that goes back. */
const epochsMax = 64

interface Life {
  /** The newest one. */
  epoch: number
  ended: { readonly as: 'lost' | 'stopped', readonly atMs: number } | undefined
  /** Those that are known, each with whether it was declared lost. */
  readonly epochs: Map<number, boolean>
  /** The newest time that its own process has told, ms since 1970. */
  heardAtMs: number
}

export type Report = (code: ViolationCode, text: string, positions: readonly string[]) => void

/** Which nodes live, by the stream `nodes`: each node's newest epoch and how it ended. */
export class NodeLives {
  readonly #lives = new Map<string, Life>()

  readonly #log: AuditedLog
  readonly #report: Report
  /** By partition: what is to be read next. */
  readonly #next: bigint[] = []

  static async read (log: AuditedLog, report: Report): Promise<NodeLives> {
    const lives = new NodeLives(log, report)
    for (let partition = 0; partition < log.partitions(nodes); partition++) {
      lives.#next.push((await log.bounds(nodes, partition)).first)
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
          const text = this.#take(entry)
          if (text) this.#report('epoch-went-back', text, [placeIn(nodes, { partition, offset, index })])
        }
      }
    }
  }

  /**
   * What is known of the node in this epoch.
   *
   * @returns when that epoch had ended, ms since 1970; Infinity while it lives; undefined for a node never heard of
   */
  endOf (nodeId: string, epoch: number): number | undefined {
    const life = this.#lives.get(nodeId)
    if (!life) return undefined
    if (epoch > life.epoch) return Infinity // it has yet to tell that it started
    if (epoch < life.epoch) return life.epoch
    return life.ended?.atMs ?? Infinity
  }

  /**
   * Whether it is this epoch that the node is in now, and how it was left.
   *
   * @returns undefined for an epoch that the stream does not have
   */
  fateOf (nodeId: string, epoch: number): 'living' | 'lost' | 'over' | undefined {
    const life = this.#lives.get(nodeId)
    const wasLost = life?.epochs.get(epoch)
    if (!life || wasLost === undefined) return undefined
    if (wasLost) return 'lost'
    return epoch === life.epoch && !life.ended ? 'living' : 'over'
  }

  /** When the node has told of itself last, by its own clock, ms since 1970; -Infinity where it has not. */
  heardAt (nodeId: string): number { return this.#lives.get(nodeId)?.heardAtMs ?? -Infinity }

  counts (): { alive: number, lost: number, stopped: number } {
    const counts = { alive: 0, lost: 0, stopped: 0 }
    for (const { ended } of this.#lives.values()) counts[ended?.as ?? 'alive']++
    return counts
  }

  /** @returns what is wrong with it, if anything */
  #take ({ nodeId, epoch, atMs, fact }: NodeEntry): string | undefined {
    let life = this.#lives.get(nodeId)
    if (!life) this.#lives.set(nodeId, life = { epoch, ended: undefined, epochs: new Map(), heardAtMs: -Infinity })
    if (fact.type === 'NodeStarted' || fact.type === 'NodeReported') life.heardAtMs = Math.max(life.heardAtMs, atMs)
    const known = life.epochs.get(epoch)
    remember(life.epochs, epoch, known === true || fact.type === 'NodeLost')
    if (epoch > life.epoch) {
      life.epoch = epoch
      life.ended = undefined
    }
    if (epoch < life.epoch) {
      // A repeat, or the last word of a process that was taken for lost, is of an epoch that was there.
      if (known !== undefined) return undefined
      return `Node ${nodeId} told ${fact.type} of epoch ${epoch} after it had begun ${life.epoch}.`
    }
    if (fact.type === 'NodeLost') life.ended ??= { as: 'lost', atMs }
    if (fact.type === 'NodeStopped') life.ended ??= { as: 'stopped', atMs }
    return undefined
  }
}

function remember (epochs: Map<number, boolean>, epoch: number, wasLost: boolean): void {
  epochs.set(epoch, wasLost)
  if (epochs.size > epochsMax) epochs.delete(epochs.keys().next().value!)
}
