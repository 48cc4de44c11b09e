import type { TableName, Tables, TableWrite } from './tables/tables.js'

/** Turns the items of a stream into the writes that keep one table (design.md 5). Does no I/O and reads no clock. */
export interface Projection<T> {
  readonly table: TableName

  /** False for items that ask for no write. The runner asks it of every item of the stream: a comparison or two. */
  concerns (item: T): boolean

  /** What the item asks for, in order: a pure function of the item. */
  project (item: T): Iterable<TableWrite>

  /**
   * Loads what is needed to tell a late repeat from news; absent where a repeat does no harm. Called before the first
   * item of a partition, and again whenever the runner goes back to the stored position.
   */
  memory? (tables: TableReader, partition: number): Promise<Memory<T>>
}

export type TableReader = Pick<Tables, 'get' | 'scan'>

/**
 * What a projection remembers of one partition, because any entry may stand in the stream twice, the second time late.
 * It holds nothing that the table does not hold: its own writes are part of the same atomic step as the item's, so
 * after a restart it is what it was at the stored position.
 */
export interface Memory<T> {
  /** Remembers the item and returns the writes that keep the memory; undefined when it is a repeat, to be left out. */
  admit (item: T): readonly TableWrite[] | undefined
}
