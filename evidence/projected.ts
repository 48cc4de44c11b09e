import type { Memory, Projection, TableReader } from '../projections/projection.js'
import type { TableWrite } from '../projections/tables/tables.js'

/** Rows of one partition of a table, in memory: what a projection makes of the items that it is given. */
export class ProjectedRows<T> {
  readonly rows = new Map<string, Map<string, unknown>>()
  readonly #projection: Projection<T>
  readonly #memory: Memory<T> | undefined
  readonly #keeps: (write: TableWrite) => boolean

  /**
   * @param keeps which writes the caller has a use for: a table of all users that ever were is large, and most that ask
   *   for one want to know who is online
   */
  static async open<T> (
    projection: Projection<T>, partition: number, keeps: (write: TableWrite) => boolean = () => true
  ): Promise<ProjectedRows<T>> {
    return new ProjectedRows(projection, await projection.memory?.(noRows, partition), keeps)
  }

  private constructor (
    projection: Projection<T>, memory: Memory<T> | undefined, keeps: (write: TableWrite) => boolean
  ) {
    this.#projection = projection
    this.#memory = memory
    this.#keeps = keeps
  }

  take (item: T): void {
    if (!this.#projection.concerns(item)) return
    const writes = [...this.#projection.project(item)]
    // The memory keeps itself: what it would write is for a restart.
    if (this.#memory && this.#memory.admit(item) === undefined) return
    for (const write of writes) if (this.#keeps(write)) this.#write(write)
  }

  #write (write: TableWrite): void {
    const row = this.rows.get(write.key)
    if (write.type === 'put') {
      if (row) row.set(write.field, write.value)
      else this.rows.set(write.key, new Map([[write.field, write.value]]))
    } else if (row?.delete(write.field) && row.size === 0) {
      this.rows.delete(write.key)
    }
  }
}

const noRows: TableReader = {
  get: async () => new Map(),
  async * scan () {},
}
