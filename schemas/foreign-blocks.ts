import avsc, { type Type } from 'avsc'
import { GatewayError } from './errors.js'
import { boundedBy } from './guard.js'
import { headerBytes, registeredSchema, type AvroSchema } from './single-object.js'

/** Facts that were skipped because this build does not know their type, since the start of the process. */
export const unknownFacts = { skipped: 0 }

type DecodeForeign<T> = (block: Uint8Array) => T[]

/**
 * Reads blocks whose writer had another schema, older or newer, through Avro's schema resolution. Slower than our own
 * codec by an order of magnitude, which only a replay of old blocks notices.
 *
 * @param reader schema of one record, as this build knows it
 * @param facts branches of its union `fact`, if it has one; entries with any other are skipped and counted
 * @param ofFields makes our item of its fields
 * @returns a function that throws GatewayError `bad-record` when the schema is not registered or does not fit
 */
export function foreignBlocks<T> (
  reader: AvroSchema, facts?: readonly string[], ofFields: (fields: any) => T = plain
): (block: Uint8Array, fingerprint: bigint) => T[] {
  const known = new Map<bigint, DecodeForeign<T>>()
  return (block, fingerprint) => {
    let decode = known.get(fingerprint)
    if (decode === undefined) {
      const writer = registeredSchema(fingerprint)
      if (writer === undefined) throw bad(`schema ${fingerprint.toString(16).padStart(16, '0')} is not registered`)
      decode = foreignDecoder<T>(recordOf(writer), reader, facts, ofFields)
      known.set(fingerprint, decode)
    }
    return decode(block)
  }
}

/** The schema of a block is an array of the record that the stream's file describes. */
function recordOf (block: AvroSchema): AvroSchema {
  const { items } = block as { items?: AvroSchema }
  if (items === undefined) throw bad('the schema of its writer is not of a block')
  return items
}

function foreignDecoder<T> (
  writer: AvroSchema, reader: AvroSchema, facts: readonly string[] | undefined, ofFields: (fields: any) => T
): DecodeForeign<T> {
  let theirs: Type, ours: Type, resolver: ReturnType<Type['createResolver']>
  try {
    theirs = typeOf(writer)
    ours = typeOf(facts === undefined ? reader : withUnknownFacts(reader, writer, facts))
    resolver = ours.createResolver(theirs)
  } catch (cause) {
    throw new GatewayError('bad-record', 'the schema of its writer does not resolve to ours', { cause })
  }
  const boundsOf = boundedBy(theirs)
  return block => {
    const end = boundsOf(block, headerBytes, block.length) // before avsc sees a count that could end the process
    if (end !== block.length) throw bad(`${block.length - end} bytes too many`)
    let items: any[]
    try {
      items = ours.decode(Buffer.from(block.buffer, block.byteOffset, block.length), headerBytes, resolver).value
    } catch (cause) {
      throw new GatewayError('bad-record', 'does not fit the schema of its writer', { cause })
    }
    return facts === undefined ? items.map(ofFields) : items.flatMap(item => knownFact(item, facts))
  }
}

function typeOf (record: AvroSchema): Type {
  return avsc.Type.forSchema({ type: 'array', items: record } as avsc.Schema, { wrapUnions: 'always' })
}

/** Our schema with their unknown branches added to `fact`: resolution must find a place for everything they wrote. */
function withUnknownFacts (reader: AvroSchema, writer: AvroSchema, facts: readonly string[]): AvroSchema {
  const unknown = factField(writer).type.filter(branch => !facts.includes(branch.name))
  const { fields, ...record } = reader as { fields: readonly { name: string }[] }
  return {
    ...record,
    fields: fields.map(field => field.name === 'fact'
      ? { ...field, type: [...factField(reader).type, ...unknown] }
      : field),
  }
}

function factField (record: AvroSchema): { type: { name: string }[] } {
  const field = (record as { fields?: any[] }).fields?.find(({ name }) => name === 'fact')
  if (!Array.isArray(field?.type)) throw bad('the schema of its writer has no union of facts')
  return field
}

/** avsc wraps a union's value, `{ 'ledgerline.UplinkReceived': {...} }`; ours carries its name as `type`. */
function knownFact (item: any, facts: readonly string[]): any[] {
  const [name, fact] = Object.entries<any>(item.fact)[0]!
  const type = name.slice(name.lastIndexOf('.') + 1)
  if (facts.includes(type)) return [{ ...item, fact: { type, ...fact } }]
  unknownFacts.skipped++
  return []
}

function plain (item: any): any {
  return { ...item }
}

function bad (reason: string): GatewayError {
  return new GatewayError('bad-record', reason)
}
