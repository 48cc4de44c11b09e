import { randomBytes } from 'node:crypto'
import { deflateRawSync } from 'node:zlib'
import { AvroWriter, writeString } from '../../schemas/avro-writer.js'
import { type Column, exportedSchema } from './columns.js'
import { type HistoryEncoder, nothing } from './encoder.js'
import type { HistoryRow } from './row.js'
import type { HistoryStream } from './streams.js'

/*
  FILE   => MAGIC META SYNC BLOCK*                 Avro's object container file
    META   => map: avro.schema, avro.codec
    BLOCK  => rows:long bytes:long RECORDS SYNC    RECORDS deflated as a whole
*/
const magic = Buffer.from('Obj\x01', 'latin1')
const recordBytesAtOnce = 1 << 18
/** Room for most records; it grows with one that is larger. */
const recordBytesFirst = 1 << 12

/**
 * An object container file with the schema of schemas/streams, in which counts of connections may be null. Not by
 * avsc's encoder, which is an asynchronous stream of single rows.
 */
export function avro ({ stream, columns }: HistoryStream): HistoryEncoder {
  return new AvroContainer(columns, exportedSchema(stream.schema))
}

class AvroContainer implements HistoryEncoder {
  readonly #sync = randomBytes(16)
  readonly #writer = new AvroWriter()
  #bytes = Buffer.allocUnsafeSlow(recordBytesFirst)
  #out: Buffer[]
  #records: Buffer[] = []
  #recordBytes = 0

  constructor (readonly columns: readonly Column[], schema: object) {
    this.#out = [magic, metadata(schema), this.#sync]
  }

  add (rows: readonly HistoryRow[]): Uint8Array {
    for (let i = 0; i < rows.length; i++) {
      const record = this.#encode(rows[i]!)
      this.#records.push(record)
      this.#recordBytes += record.length
    }
    if (this.#recordBytes < recordBytesAtOnce) return nothing
    this.#seal()
    return this.#take()
  }

  end (): Uint8Array {
    if (this.#records.length > 0) this.#seal()
    return this.#take()
  }

  #encode (row: HistoryRow): Buffer {
    const [writer, columns] = [this.#writer, this.columns]
    for (;;) {
      writer.open(this.#bytes, 0)
      for (let i = 0; i < columns.length; i++) write(writer, columns[i]!, columns[i]!.of(row))
      if (writer.pos <= this.#bytes.length) return Buffer.from(this.#bytes.subarray(0, writer.pos))
      this.#bytes = Buffer.allocUnsafeSlow(2 * writer.pos)
    }
  }

  #seal (): void {
    const bytes = deflateRawSync(Buffer.concat(this.#records, this.#recordBytes), { level: 1 })
    this.#out.push(long(this.#records.length), long(bytes.length), bytes, this.#sync)
    this.#records = []
    this.#recordBytes = 0
  }

  #take (): Uint8Array {
    const out = Buffer.concat(this.#out)
    this.#out = []
    return out
  }
}

function write (to: AvroWriter, { kind, symbols, isNullable }: Column, value: any): void {
  if (isNullable) to.long(value === null ? 0 : 1) // the branch
  if (value === null) return
  switch (kind) {
    case 'text': return symbols ? to.symbol(symbols, value) : to.string(value)
    case 'int': return to.int(value)
    case 'long': return to.long(value)
    case 'boolean': return to.boolean(value)
    case 'bytes': return to.payload(value)
    case 'texts': return to.items(value, writeString)
  }
}

function metadata (schema: object): Buffer {
  const entries: [string, string][] = [['avro.schema', JSON.stringify(schema)], ['avro.codec', 'deflate']]
  return Buffer.concat([long(entries.length), ...entries.flatMap(([key, value]) => [text(key), text(value)]), long(0)])
}

function text (value: string): Buffer {
  const bytes = Buffer.from(value)
  return Buffer.concat([long(bytes.length), bytes])
}

/** A zigzag varint of a number that is not negative. */
function long (value: number): Buffer {
  const bytes: number[] = []
  let rest = value * 2
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) bytes.push(rest % 128 | 0x80)
  return Buffer.from([...bytes, rest])
}
