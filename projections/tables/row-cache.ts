import { bytesOfValue } from '../../schemas/sizes.js'

/** A row takes more in memory than its values: a Map, and a place in another one. */
const rowBytes = 512

export type RowFields = ReadonlyMap<string, any>

/** Rows as they were read, until they are written. Past its bound those read first go. */
export class RowCache {
  bytes = 0
  readonly #bytesMax: number
  readonly #rows = new Map<string, { readonly fields: RowFields, readonly bytes: number }>()

  constructor (bytesMax: number) { this.#bytesMax = bytesMax }

  get (name: string): RowFields | undefined { return this.#rows.get(name)?.fields }

  set (name: string, fields: RowFields): void {
    this.delete(name)
    let bytes = rowBytes + name.length
    for (const [field, value] of fields) bytes += field.length + bytesOfValue(value)
    if (bytes > this.#bytesMax) return
    this.#rows.set(name, { fields, bytes })
    this.bytes += bytes
    for (const oldest of this.#rows.keys()) {
      if (this.bytes <= this.#bytesMax) break
      this.delete(oldest)
    }
  }

  delete (name: string): void {
    const row = this.#rows.get(name)
    if (!row) return
    this.#rows.delete(name)
    this.bytes -= row.bytes
  }

  clear (): void {
    this.#rows.clear()
    this.bytes = 0
  }
}
