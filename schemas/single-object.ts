import { GatewayError } from './errors.js'

/*
  Avro single-object encoding
    RECORD      => MARKER FINGERPRINT BODY
    MARKER      => c3 01
    FINGERPRINT => uint64, little-endian: CRC-64-AVRO of the writer's schema in parsing canonical form
    BODY        => Avro binary

  avsc 5.7 has neither: its fingerprints are MD5 of what is almost the canonical form, and its `toString()` gives no
  more than the name of a record.
*/

/** An Avro schema as its JSON says it. */
export type AvroSchema = string | readonly AvroSchema[] | { readonly [attribute: string]: any }

export const headerBytes = 10

const primitives = new Set(['null', 'boolean', 'int', 'long', 'float', 'double', 'bytes', 'string'])

/** The schema in parsing canonical form: full names, no attribute that does not change the bytes, one order of keys. */
export function canonicalForm (schema: AvroSchema, namespace = ''): string {
  if (typeof schema === 'string') return JSON.stringify(primitives.has(schema) ? schema : fullName(schema, namespace))
  if (isUnion(schema)) return `[${schema.map(branch => canonicalForm(branch, namespace)).join(',')}]`
  const { type } = schema
  switch (type) {
    case 'array': return `{"type":"array","items":${canonicalForm(schema['items'], namespace)}}`
    case 'map': return `{"type":"map","values":${canonicalForm(schema['values'], namespace)}}`
    case 'record':
    case 'error':
    case 'enum':
    case 'fixed': break
    default: return canonicalForm(type, namespace) // {"type": "string"} is "string", with any logical type
  }
  const name = fullName(schema['name'], schema['namespace'] ?? namespace)
  const head = `{"name":${JSON.stringify(name)},"type":"${type}"`
  if (type === 'enum') return `${head},"symbols":${JSON.stringify(schema['symbols'])}}`
  if (type === 'fixed') return `${head},"size":${Number(schema['size'])}}`
  const inner = name.slice(0, Math.max(0, name.lastIndexOf('.')))
  const fields = schema['fields'].map((field: { name: string, type: AvroSchema }) =>
    `{"name":${JSON.stringify(field.name)},"type":${canonicalForm(field.type, inner)}}`)
  return `${head},"fields":[${fields.join(',')}]}`
}

function isUnion (schema: Exclude<AvroSchema, string>): schema is readonly AvroSchema[] {
  return Array.isArray(schema)
}

function fullName (name: string, namespace: string): string {
  return name.includes('.') || namespace === '' ? name : `${namespace}.${name}`
}

const emptyFingerprint = 0xc15d213aa4d7a795n

const crcTable = Array.from({ length: 256 }, (_, byte) => {
  let crc = BigInt(byte)
  for (let bit = 0; bit < 8; bit++) crc = (crc >> 1n) ^ ((crc & 1n) * emptyFingerprint)
  return crc
})

/** CRC-64-AVRO: the Rabin fingerprint of the Avro specification, unsigned. */
export function crc64Avro (bytes: Uint8Array): bigint {
  let crc = emptyFingerprint
  for (const byte of bytes) crc = (crc >> 8n) ^ crcTable[Number(crc & 0xffn) ^ byte]!
  return crc
}

export function fingerprintOf (schema: AvroSchema): bigint {
  return crc64Avro(Buffer.from(canonicalForm(schema)))
}

/** Schemas of writers older or newer than this build. What one build writes, every later one must register. */
const registered = new Map<bigint, AvroSchema>()

/** Makes records that were written with `schema` readable. @returns its fingerprint */
export function register (schema: AvroSchema): bigint {
  const fingerprint = fingerprintOf(schema)
  registered.set(fingerprint, schema)
  return fingerprint
}

export function registeredSchema (fingerprint: bigint): AvroSchema | undefined {
  return registered.get(fingerprint)
}

/** @returns the position after the header; `target` must have room for it */
export function writeHeader (fingerprint: bigint, target: Uint8Array, pos: number): number {
  const view = new DataView(target.buffer, target.byteOffset + pos, headerBytes)
  view.setUint16(0, 0xc301)
  view.setBigUint64(2, fingerprint, true)
  return pos + headerBytes
}

/** Whether `bytes` begin with `header`. `readHeader` makes a bigint of the fingerprint, which costs 100 ns a block. */
export function hasHeader (bytes: Uint8Array, header: Uint8Array): boolean {
  for (let i = 0; i < headerBytes; i++) if (bytes[i] !== header[i]) return false
  return true
}

/** @throws GatewayError `bad-record` when `bytes` do not start with a single-object header */
export function readHeader (bytes: Uint8Array): bigint {
  if (bytes.length < headerBytes || bytes[0] !== 0xc3 || bytes[1] !== 0x01) {
    throw new GatewayError('bad-record', 'does not start with an Avro single-object header')
  }
  return new DataView(bytes.buffer, bytes.byteOffset, headerBytes).getBigUint64(2, true)
}
