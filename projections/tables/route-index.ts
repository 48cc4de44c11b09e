import { put, remove, type TableName, type TableWrite } from './tables.js'

/*
  Rows of table `routing` that its other rows are found by. No projection writes them: the stores make them of the rows
  of users, in the atomic step that changes those, so they can't say anything else.

    user:<userId>              connection id -> route, as the projection has it
    conn:<bucket>              connection id -> user id, of the connections whose ids fall into the bucket
    node:<nodeId>/<epoch>      connection id -> user id, of the connections on that node, opened in that epoch
    nodes                      <nodeId>/<epoch> -> 1, for each that has such a row

  The end of a connection does not say on which node it was, but the route that goes with it does.

  A bucket instead of a row for each connection: Redis packs the fields of a small hash closely, and a key of its own
  costs more than what it would hold.
*/

export const userPrefix = 'user:'
export const nodePrefix = 'node:'
export const bucketPrefix = 'conn:'
/** The key of the row that names all rows of nodes. */
export const nodesKey = 'nodes'

export function hasIndex (table: TableName): boolean { return table === 'routing' }

export function isIndexRow (table: TableName, key: string): boolean {
  return hasIndex(table) && (key === nodesKey || key.startsWith(nodePrefix) || key.startsWith(bucketPrefix))
}

/** Buckets are numbered from 0; edges draw ids of letters that 256 of them are used for. */
export const bucketsMax = 1024

/**
 * The key of the row that a connection is in, whosever it is. By the first ten bits of the id as four times the first
 * byte and the two lowest bits of the second one: the scripts in Redis count the same.
 */
export function bucketOf (connectionId: string): string {
  const bytes = Buffer.from(connectionId.slice(0, 3)) // a character of two is not cut in half
  return `${bucketPrefix}${4 * (bytes[0] ?? 0) + ((bytes[1] ?? 0) & 3)}`
}

/** @returns `<nodeId>/<epoch>`; undefined for what is no route */
export function nodeOf (route: unknown): string | undefined {
  if (typeof route !== 'object' || route === null) return undefined
  const { nodeId, nodeEpoch } = route as { nodeId?: unknown, nodeEpoch?: unknown }
  return typeof nodeId === 'string' && typeof nodeEpoch === 'number' ? `${nodeId}/${nodeEpoch}` : undefined
}

/** The reverse of `nodeOf`. */
export function parseNode (node: string): { nodeId: string, nodeEpoch: number } {
  const at = node.lastIndexOf('/')
  return { nodeId: node.slice(0, at), nodeEpoch: Number(node.slice(at + 1)) }
}

/** What a partition of the table has before a step. */
export interface RowsBefore {
  /** @returns undefined where there is none */
  value (key: string, field: string): unknown
  /** Whether the row has a field, but for those that are gone. */
  hasOther (key: string, isGone: (field: string) => boolean): boolean
}

/**
 * For stores that are of this process alone; in Redis a script does the same (redis-scripts.ts).
 *
 * @returns the writes, and those that keep the index, in order
 */
export function withIndex (writes: readonly TableWrite[], before: RowsBefore): TableWrite[] {
  const step = new IndexedStep(before)
  for (const write of writes) step.take(write)
  return step.end()
}

class IndexedStep {
  readonly #writes: TableWrite[] = []
  readonly #before: RowsBefore
  /** By key and field, of what this step has written; undefined for what it has removed. */
  readonly #written = new Map<string, Map<string, unknown>>()
  /** Nodes that are named by now, and those that a connection was removed from. */
  readonly #named = new Set<string>()
  readonly #left = new Set<string>()

  constructor (before: RowsBefore) { this.#before = before }

  take (write: TableWrite): void {
    const { key, field: connectionId } = write
    if (key.startsWith(userPrefix)) {
      const before = nodeOf(this.#value(key, connectionId))
      const after = write.type === 'put' ? nodeOf(write.value) : undefined
      if (before !== undefined && before !== after) this.#leave(before, connectionId)
      if (after !== undefined) this.#enter(after, connectionId, key.slice(userPrefix.length))
      else if (before !== undefined) this.#write(remove(bucketOf(connectionId), connectionId))
    }
    this.#write(write)
  }

  /** Whether a node has any left is asked once, for many may go in one step. */
  end (): TableWrite[] {
    for (const node of this.#left) if (!this.#hasFields(nodePrefix + node)) this.#write(remove(nodesKey, node))
    return this.#writes
  }

  #enter (node: string, connectionId: string, userId: string): void {
    this.#write(put(bucketOf(connectionId), connectionId, userId))
    this.#write(put(nodePrefix + node, connectionId, userId))
    if (this.#named.has(node)) return
    this.#named.add(node)
    if (this.#value(nodesKey, node) === undefined) this.#write(put(nodesKey, node, 1))
  }

  #leave (node: string, connectionId: string): void {
    this.#write(remove(nodePrefix + node, connectionId))
    this.#left.add(node)
  }

  #value (key: string, field: string): unknown {
    const row = this.#written.get(key)
    return row?.has(field) ? row.get(field) : this.#before.value(key, field)
  }

  #hasFields (key: string): boolean {
    const row = this.#written.get(key)
    for (const value of row?.values() ?? []) if (value !== undefined) return true
    return this.#before.hasOther(key, field => row?.has(field) === true)
  }

  #write (write: TableWrite): void {
    this.#writes.push(write)
    let row = this.#written.get(write.key)
    if (!row) this.#written.set(write.key, row = new Map())
    row.set(write.field, write.type === 'put' ? write.value : undefined)
  }
}
