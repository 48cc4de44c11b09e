import { randomBytes } from 'node:crypto'
import { deflateRawSync } from 'node:zlib'
import type { ConnectionEnded } from '../../schemas/records.js'
import { connections } from '../../schemas/streams.js'
import { type HistoryEncoder, nothing } from './encoder.js'

/*
  FILE   => MAGIC META SYNC BLOCK*                 Avro's object container file
    META   => map: avro.schema, avro.codec
    BLOCK  => rows:long bytes:long RECORDS SYNC    RECORDS deflated as a whole
*/
const magic = Buffer.from('Obj\x01', 'latin1')
const recordBytesAtOnce = 1 << 18

/**
 * An object container file with the schema of schemas/streams/connections.avsc. Not by avsc's encoder, which is an
 * asynchronous stream of single rows and knows nothing of the codec of this stream.
 */
export function avro (): HistoryEncoder {
  return new AvroContainer()
}

class AvroContainer implements HistoryEncoder {
  readonly #sync = randomBytes(16)
  #out: Buffer[] = [magic, metadata(), this.#sync]
  #records: Buffer[] = []
  #recordBytes = 0

  add (rows: readonly ConnectionEnded[]): Uint8Array {
    for (let i = 0; i < rows.length; i++) {
      const record = Buffer.from(connections.encodeRecord(rows[i]!)) // a copy: the bytes are good until the next call
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

function metadata (): Buffer {
  const entries: [string, string][] = [['avro.schema', JSON.stringify(connections.schema)], ['avro.codec', 'deflate']]
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
