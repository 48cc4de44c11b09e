import { gzipSync } from 'node:zlib'
import { ByteWriter, ParquetWriter } from 'hyparquet-writer'
import type { Column } from './columns.js'
import { type HistoryEncoder, nothing } from './encoder.js'
import { groupRows, parquetColumn } from './parquet-columns.js'
import type { HistoryRow } from './row.js'
import type { HistoryStream } from './streams.js'

/** A row group with more in its columns of bytes ends before it is full: all of it is in memory. */
const groupBytesMax = 16 << 20

/** Apache Parquet: text, lists, 64-bit counts and UTC timestamps in milliseconds, gzip in pages. */
export function parquet ({ stream, columns }: HistoryStream): HistoryEncoder {
  return new ParquetFile(stream.name, columns)
}

class ParquetFile implements HistoryEncoder {
  readonly #bytes = new ByteWriter(1 << 20)
  readonly #columns
  readonly #payloads
  readonly #file

  /** In the row group that is being filled. */
  #rows = 0
  #payloadBytes = 0

  constructor (name: string, columns: readonly Column[]) {
    this.#columns = columns.map(parquetColumn)
    this.#payloads = columns.filter(({ kind }) => kind === 'bytes')
    this.#file = new ParquetWriter({
      writer: this.#bytes,
      schema: [{ name, num_children: columns.length }, ...this.#columns.flatMap(({ elements }) => elements)],
      codec: 'GZIP',
      // zlib is no slower than Snappy in JavaScript is, and packs ids a third smaller and counts by half.
      compressors: { GZIP: bytes => gzipSync(bytes, { level: 1 }) },
      createdBy: 'ledgerline',
    })
  }

  add (rows: readonly HistoryRow[]): Uint8Array {
    let isFull = false
    for (let i = 0; i < rows.length; i++) {
      // By row: what was decoded is let go of at once, and only its values live on.
      for (let c = 0; c < this.#columns.length; c++) this.#columns[c]!.take(rows[i]!, this.#rows)
      for (let p = 0; p < this.#payloads.length; p++) this.#payloadBytes += this.#payloads[p]!.of(rows[i]!).length
      if (++this.#rows < groupRows && this.#payloadBytes < groupBytesMax) continue
      this.#writeGroup()
      isFull = true
    }
    return isFull ? this.#take() : nothing
  }

  end (): Uint8Array {
    if (this.#rows > 0) this.#writeGroup()
    this.#file.finish()
    return this.#take()
  }

  #writeGroup (): void {
    const rows = this.#rows
    this.#rows = 0
    this.#payloadBytes = 0
    this.#file.write({ columnData: this.#columns.map(column => column.source(rows)), rowGroupSize: rows })
  }

  #take (): Uint8Array {
    const bytes = this.#bytes.getBytes().slice()
    this.#bytes.index = 0 // `offset` goes on: it counts from the beginning of the file
    return bytes
  }
}
