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
  /** When the node last told something in it, ms since 1970; before it was declared lost, if it was. */
  readonly lastWords: Map<number, LastWord>
}

interface LastWord { atMs: number, lost: boolean }

export type Report = (code: ViolationCode, text: string, positions: readonly string[]) => void

/** Which nodes live, by the stream `nodes`: each node's newest epoch and how it ended. */
export class NodeLives {
  readonly #lives = new Map<string, Life>()

  static async read (log: AuditedLog, report: Report): Promise<NodeLives> {
    const lives = new NodeLives()
    for (let partition = 0; partition < log.partitions(nodes); partition++) {
      const { first } = await log.bounds(nodes, partition)
      for await (const { offset, items } of log.read(nodes, partition, { from: first })) {
        for (const [index, entry] of items.entries()) {
          const text = lives.#take(entry)
          if (text) report('epoch-went-back', text, [placeIn(nodes, { partition, offset, index })])
        }
      }
    }
    return lives
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
   * When the node last told something in this epoch, without what it told after it had been taken for lost.
   *
   * @returns ms since 1970; undefined for an epoch that the stream does not have
   */
  lastWordOf (nodeId: string, epoch: number): number | undefined {
    return this.#lives.get(nodeId)?.lastWords.get(epoch)?.atMs
  }

  counts (): { alive: number, lost: number, stopped: number } {
    const counts = { alive: 0, lost: 0, stopped: 0 }
    for (const { ended } of this.#lives.values()) counts[ended?.as ?? 'alive']++
    return counts
  }

  /** @returns what is wrong with it, if anything */
  #take ({ nodeId, epoch, atMs, fact }: NodeEntry): string | undefined {
    let life = this.#lives.get(nodeId)
    if (!life) this.#lives.set(nodeId, life = { epoch, ended: undefined, lastWords: new Map() })
    const known = life.lastWords.has(epoch)
    remember(life.lastWords, epoch, atMs, fact.type === 'NodeLost')
    if (epoch > life.epoch) {
      life.epoch = epoch
      life.ended = undefined
    }
    if (epoch < life.epoch) {
      // A repeat, or the last word of a process that was taken for lost, is of an epoch that was there.
      return known ? undefined : `Node ${nodeId} told ${fact.type} of epoch ${epoch} after it had begun ${life.epoch}.`
    }
    if (fact.type === 'NodeLost') life.ended ??= { as: 'lost', atMs }
    if (fact.type === 'NodeStopped') life.ended ??= { as: 'stopped', atMs }
    return undefined
  }
}

function remember (lastWords: Map<number, LastWord>, epoch: number, atMs: number, lost: boolean): void {
  const last = lastWords.get(epoch)
  if (!last) lastWords.set(epoch, { atMs: lost ? -Infinity : atMs, lost })
  else if (lost) last.lost = true
  else if (!last.lost) last.atMs = Math.max(last.atMs, atMs)
  if (lastWords.size > epochsMax) lastWords.delete(lastWords.keys().next().value!)
}
