import { bytesOfValue } from '../../schemas/sizes.js'

/**
 * The port to the read models (design.md 5). A table maps a key to named fields, each holding one JSON value: presence
 * is `userId -> connectionId -> session`, as a Redis hash would hold it. Kept by the runner alone, partition by
 * partition; rebuilt from the stream when it is lost.
 */
export interface Tables {
  /** All fields under `key`; empty where there are none. Sees every write that `apply` has taken, durable or not. */
  get (table: TableName, partition: number, key: string): Promise<ReadonlyMap<string, any>>

  /** Every key of the table, or of one partition of it, with its fields. */
  scan (
    table: TableName, partition?: number
  ): AsyncIterable<{ partition: number, key: string, fields: ReadonlyMap<string, any> }>

  /**
   * Applies the writes and the position in one atomic step, in order; ignored when the stored position is already at
   * `position.next` or beyond. Resolves once it is kept (a position without writes may be kept later); `get` sees it at
   * once. A call need not wait for the one before it: calls for one partition of a table take effect in their order.
   *
   * @throws when the stored position is before `position.from`, because an earlier call failed or the store was
   *   emptied: nothing is written, so that no hole comes to be, and the runner goes back to the stored position
   * @throws GenerationReplaced when the rows are of another generation than `position.generation`
   */
  apply (table: TableName, partition: number, writes: readonly TableWrite[], position: TableStep): Promise<void>

  /** How far the partition's writes were applied: the first offset not yet in the table, and the last entry's time. */
  position (table: TableName, partition: number): Promise<TablePosition>
}

export type TableName = 'presence' | 'routing' | 'nodes' | 'connections'

export interface TablePosition {
  readonly next: bigint
  readonly atMs: number
  /** Names the rows that stand at this position: a rebuilt table is another one, as is one that was lost. */
  readonly generation?: string | undefined
}

/**
 * Writes that lead from one position to another: all that the entries of `from` up to but without `next` ask for. With
 * a `generation` they are for that one alone: what a projection remembers is of the rows that it was loaded from.
 */
export interface TableStep extends TablePosition { readonly from?: bigint }

/** The table was rebuilt: go on from the position that it has now, with what is remembered loaded anew. */
export class GenerationReplaced extends Error {
  override readonly name = 'GenerationReplaced'

  constructor (table: TableName, partition: number) {
    super(`${table}, partition ${partition}: it was rebuilt, and goes on from another position`)
  }
}

/** Tables in which the connections of a node, and whose a connection is, are found without a walk (route-index.ts). */
export interface IndexedTables extends Tables {
  /**
   * Sees to it that the rows which others are found by are whole. An earlier version, which does not write them, may
   * have had a partition in between: there they are made anew, by one walk over the table.
   *
   * @returns those of `partitions` in which an earlier version is still at work: only a walk finds all there
   */
  index (table: TableName, partitions: readonly number[]): Promise<readonly number[]>
}

/** Tables that can be built anew while the live ones are read and written. */
export interface RebuildableTables extends IndexedTables {
  /**
   * Begins a generation of the table beside the live one, at position 0 and empty.
   *
   * @throws GatewayError `not-ready` while there is one already, in this process or another
   */
  draft (table: TableName): Promise<Draft>
}

/** A generation that is not live yet, as the tables that it could be; it has one table only. */
export interface Draft extends Tables {
  /** Puts in rows that the stream no longer tells of, before the first step is applied. */
  seed (partition: number, writes: readonly TableWrite[]): Promise<void>

  /**
   * Makes it the live generation of these partitions, each in one atomic step. No write is lost by that, wherever the
   * two stand: whoever keeps the table meets `GenerationReplaced` and goes on from the position of the draft.
   *
   * @param behindMax how many blocks the draft may be behind the live generation
   * @returns those of `partitions` in which it was further behind, and is not live yet
   */
  adopt (partitions: readonly number[], behindMax: bigint): Promise<readonly number[]>

  /** Gives up what is not live, and removes rows that nobody reads any more: its own, or those that it replaced. */
  discard (): Promise<void>
}

/** Longest key and longest field, in bytes of UTF-8: what every store takes. */
export const keyBytesMax = 900

/** One change to a table. A field's value is plain JSON. */
export type TableWrite =
  | { readonly type: 'put', readonly key: string, readonly field: string, readonly value: unknown }
  | { readonly type: 'remove', readonly key: string, readonly field: string }

/** What a write takes in memory while it waits, the objects around it included. */
export function bytesOf (write: TableWrite): number {
  return 128 + write.key.length + write.field.length + (write.type === 'put' ? bytesOfValue(write.value) : 0)
}

export function put (key: string, field: string, value: unknown): TableWrite {
  return { type: 'put', key, field, value }
}

export function remove (key: string, field: string): TableWrite {
  return { type: 'remove', key, field }
}
