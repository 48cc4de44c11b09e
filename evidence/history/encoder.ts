import type { HistoryRow } from './row.js'

/** Rows into the bytes of one file. Bytes come when there are enough of them: nothing is kept beyond that. */
export interface HistoryEncoder {
  /** @returns what is to be written now; empty for nothing */
  add (rows: readonly HistoryRow[]): Uint8Array
  /** @returns the rest of the file, also where no row came */
  end (): Uint8Array
}

export const nothing = new Uint8Array(0)

/** Collects text until it is worth a write. */
export class TextEncoderOf implements HistoryEncoder {
  #text: string

  constructor (readonly line: (row: any) => string, header = '') {
    this.#text = header
  }

  add (rows: readonly HistoryRow[]): Uint8Array {
    for (let i = 0; i < rows.length; i++) this.#text += this.line(rows[i]!)
    return this.#text.length < charsAtOnce ? nothing : this.end()
  }

  end (): Uint8Array {
    const bytes = Buffer.from(this.#text)
    this.#text = ''
    return bytes
  }
}

const charsAtOnce = 1 << 18
