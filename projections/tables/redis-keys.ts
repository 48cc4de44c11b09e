import { randomBytes } from 'node:crypto'
import type { TableName } from './tables.js'

/*
  The keys of a table in Redis. All of one partition have one hash tag, so they are in one slot of a cluster.

    {<prefix>.<partition>}:<table>                       hash: identity, live, next:<generation>, atMs:<generation>;
                                                               draft, the generation that is being built, and
                                                               draftUntil, ms since 1970, when it is given up;
                                                               index:<generation>, fill:<generation> and
                                                               filler:<generation>, see redis-index.ts
    {<prefix>.<partition>}:<table>:<generation>          set: the keys of the rows of a small table
    {<prefix>.<partition>}:<table>:<generation>:<key>    hash: field -> JSON
*/

/** One table's part of one partition. */
export interface Slice { readonly table: TableName, readonly partition: number }

/** One key that belongs to a generation; `key` is undefined for a list of keys. */
export interface OwnedKey extends Slice { readonly generation: string, readonly key: string | undefined }

/** @throws RangeError for a prefix that would break hash tags or patterns */
export class TableKeys {
  readonly #prefix: string
  readonly #owned: RegExp

  constructor (prefix: string) {
    if (!/^[\w.-]+$/.test(prefix)) throw new RangeError(`prefix: got "${prefix}", want letters, digits, ".", "_" and "-"`)
    this.#prefix = prefix
    this.#owned = new RegExp(`^\\{${prefix.replaceAll('.', '\\.')}\\.(\\d+)\\}:(\\w+):([\\w-]+)(?::(.*))?$`, 's')
  }

  meta ({ table, partition }: Slice): string { return `{${this.#prefix}.${partition}}:${table}` }

  list (slice: Slice, generation: string): string { return `${this.meta(slice)}:${generation}` }

  row (slice: Slice, generation: string, key: string): string { return `${this.meta(slice)}:${generation}:${key}` }

  /** A pattern for SCAN that takes in all keys of all generations of the table, and maybe others: see `parse`. */
  pattern (table: TableName): string { return `{${this.#prefix}.*}:${table}:*` }

  /** @returns undefined for a key that belongs to no generation of a table with this prefix */
  parse (name: string): OwnedKey | undefined {
    const match = this.#owned.exec(name)
    if (!match) return undefined
    return { table: match[2] as TableName, partition: Number(match[1]), generation: match[3]!, key: match[4] }
  }
}

/** Never used before, anywhere: rows of a generation that was given up must not turn up in a later one. */
export function newGeneration (): string { return randomBytes(9).toString('base64url') }
