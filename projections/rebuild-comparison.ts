import { isSlot } from './closed.js'
import { isIndexRow } from './tables/route-index.js'
import type { Draft, TableName, Tables } from './tables/tables.js'

/** One field in which the live table is not what its stream makes of it. */
export interface Difference {
  /** Missing in the live table; in it without reason; or of another value. */
  readonly kind: 'missing' | 'extra' | 'differing'
  readonly partition: number
  readonly key: string
  readonly field: string
  readonly live?: unknown
  readonly rebuilt?: unknown
}

/** Counts are of fields. */
export interface Compared {
  readonly rows: number
  readonly fields: number
  readonly missing: number
  readonly extra: number
  readonly differing: number
  /** Fields that changed too fast to tell, though nothing is known to be wrong with them. */
  readonly unsettled: number
  /** The first `differencesMax`. */
  readonly differences: readonly Difference[]
}

export interface ComparisonDeps {
  readonly table: TableName
  readonly live: Tables
  readonly draft: Draft
  /** Partitions whose stream has lost its beginning: there the ring of closed connections has other numbers. */
  readonly cut: ReadonlySet<number>
  /** Partitions in which the live table's index is not kept, for an earlier version writes there. */
  readonly unindexed: ReadonlySet<number>
  /** Resolves when both have taken all that was in the stream at the call. */
  settle (partitions: readonly number[]): Promise<void>
  /** Lets others have their turn, if they waited for a while. */
  pause (): Promise<void>
}

interface Suspect { readonly partition: number, readonly key: string, readonly differences: readonly Difference[] }

export const differencesMax = 100
const suspectsMax = 1000
const triesMax = 5

/**
 * Compares two generations of a table while both are written to. A field that differs may have been written in one and
 * not yet in the other. So it is looked at again after both have taken all that was there: a difference that is the
 * same then is one.
 */
export class Comparison {
  readonly #deps: ComparisonDeps
  readonly #counts = { rows: 0, fields: 0, missing: 0, extra: 0, differing: 0, unsettled: 0 }
  readonly #differences: Difference[] = []
  #suspects: Suspect[] = []

  constructor (deps: ComparisonDeps) { this.#deps = deps }

  async run (): Promise<Compared> {
    const { table, live, draft, pause } = this.#deps
    for await (const { partition, key, fields } of draft.scan(table)) {
      this.#counts.rows++
      this.#counts.fields += fields.size
      await this.#suspect(partition, key, await live.get(table, partition, key), fields)
      await pause()
    }
    for await (const { partition, key, fields } of live.scan(table)) {
      const rebuilt = await draft.get(table, partition, key)
      if (rebuilt.size === 0) await this.#suspect(partition, key, fields, rebuilt)
      await pause()
    }
    await this.#confirm()
    return { ...this.#counts, differences: this.#differences }
  }

  async #suspect (
    partition: number, key: string, live: ReadonlyMap<string, any>, rebuilt: ReadonlyMap<string, any>
  ): Promise<void> {
    const differences = this.#between(partition, key, live, rebuilt)
    if (differences.length === 0) return
    this.#suspects.push({ partition, key, differences })
    if (this.#suspects.length >= suspectsMax) await this.#confirm()
  }

  async #confirm (): Promise<void> {
    const { table, live, draft, settle } = this.#deps
    let suspects = this.#suspects
    this.#suspects = []
    for (let tries = 0; suspects.length > 0 && tries < triesMax; tries++) {
      await settle([...new Set(suspects.map(({ partition }) => partition))])
      const moved: Suspect[] = []
      for (const { partition, key, differences: before } of suspects) {
        const rows = await Promise.all([live.get(table, partition, key), draft.get(table, partition, key)])
        // Fields that differ by now only are on their way: a row by node changes all the time.
        const now = this.#between(partition, key, ...rows)
          .filter(({ field }) => before.some(other => other.field === field))
        const changed: Difference[] = []
        for (const difference of now) {
          if (before.some(other => isSame(difference, other))) this.#count(difference)
          else changed.push(difference)
        }
        if (changed.length > 0) moved.push({ partition, key, differences: changed })
      }
      suspects = moved
    }
    for (const { differences } of suspects) this.#counts.unsettled += differences.length
  }

  #count (difference: Difference): void {
    this.#counts[difference.kind]++
    if (this.#differences.length < differencesMax) this.#differences.push(difference)
  }

  #between (
    partition: number, key: string, live: ReadonlyMap<string, any>, rebuilt: ReadonlyMap<string, any>
  ): Difference[] {
    const differences: Difference[] = []
    const { table, cut, unindexed } = this.#deps
    if (unindexed.has(partition) && isIndexRow(table, key)) return differences
    const isCut = cut.has(partition)
    for (const [field, value] of rebuilt) {
      if (isCut && isSlot(value)) continue
      if (!live.has(field)) differences.push({ kind: 'missing', partition, key, field, rebuilt: value })
      else if (JSON.stringify(live.get(field)) !== JSON.stringify(value)) {
        differences.push({ kind: 'differing', partition, key, field, live: live.get(field), rebuilt: value })
      }
    }
    for (const [field, value] of live) {
      if (rebuilt.has(field) || (isCut && isSlot(value))) continue
      differences.push({ kind: 'extra', partition, key, field, live: value })
    }
    return differences
  }
}

function isSame (a: Difference, b: Difference): boolean {
  return a.field === b.field && JSON.stringify([a.live, a.rebuilt]) === JSON.stringify([b.live, b.rebuilt])
}
