import avsc from 'avsc'
import { loadHistory } from './avsc-files.js'
import { GatewayError } from './errors.js'
import { boundedBy } from './guard.js'
import {
  type AvroSchema, fingerprintOf, headerBytes, readHeader, register, registeredSchema, writeHeader,
} from './single-object.js'

for (const record of loadHistory()) register(record)

let scratch = Buffer.alloc(16 * 1024)

/** One record of a saved state, behind a single-object header. */
export class PartCodec<T> {
  readonly #schema: AvroSchema
  readonly #type: avsc.Type
  readonly #fingerprint: bigint
  readonly #readers = new Map<bigint, (bytes: Buffer) => T>()

  constructor (schema: AvroSchema) {
    this.#schema = schema
    this.#type = avsc.Type.forSchema(schema as any, { wrapUnions: true })
    this.#fingerprint = fingerprintOf(schema)
  }

  /** @returns a buffer of its own */
  encode (value: T): Buffer {
    let end = this.#type.encode(value, scratch, headerBytes)
    if (end < 0) {
      scratch = Buffer.allocUnsafeSlow(2 * (scratch.length - end))
      end = this.#type.encode(value, scratch, headerBytes)
    }
    writeHeader(this.#fingerprint, scratch, 0)
    return Buffer.from(scratch.subarray(0, end))
  }

  /** True where the bytes are such a record, in this form or in an older one. */
  reads (bytes: Buffer): boolean {
    const written = readHeader(bytes)
    return written === this.#fingerprint || nameOf(registeredSchema(written)) === nameOf(this.#schema)
  }

  /** @throws GatewayError `bad-record` when these are not the bytes of such a record in a version that is registered */
  decode (bytes: Buffer): T {
    const written = readHeader(bytes)
    let reader = this.#readers.get(written)
    if (!reader) {
      if (!this.reads(bytes)) {
        throw new GatewayError('bad-record', 'a saved state in a schema that this build does not know')
      }
      const writer = written === this.#fingerprint ? this.#schema : registeredSchema(written)!
      this.#readers.set(written, reader = this.#readerOf(writer))
    }
    return reader(bytes)
  }

  #readerOf (writer: AvroSchema): (bytes: Buffer) => T {
    const written = avsc.Type.forSchema(writer as any, { wrapUnions: true })
    const resolver = writer === this.#schema ? undefined : this.#type.createResolver(written)
    const bounds = boundedBy(written)
    return bytes => {
      if (bounds(bytes, headerBytes, bytes.length) !== bytes.length) {
        throw new GatewayError('bad-record', 'bytes behind a saved state')
      }
      return this.#type.decode(bytes, headerBytes, resolver).value
    }
  }
}

function nameOf (schema: AvroSchema | undefined): unknown {
  return typeof schema === 'object' && 'name' in schema ? schema['name'] : undefined
}
