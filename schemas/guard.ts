import type { Type, types } from 'avsc'
import { AvroReader } from './avro-reader.js'

/*
  avsc 5.7 trusts what an array or a map says it holds: `fe ff ff ff 0f 00` makes it collect 2^31 items of nothing,
  which ends the process and can not be caught. So bytes from outside are walked first, by the schema and without
  keeping anything, and decoded only if every count and length fits in the bytes that are there.
*/

type Skip = (from: AvroReader) => void

/** What a type takes at least, and how to walk over one. */
interface Walk {
  readonly bytesMin: number
  readonly skip: Skip
}

/**
 * Compiles a walk over one value of `type`. Only schemas with arrays or maps need it.
 *
 * @returns a function from bytes, start and end to the position after the value. It throws GatewayError `bad-record`
 *   when a count exceeds the bytes left, a length runs past the end, an index is out of range or a varint is too long
 * @throws RangeError when `type` has items that may take no byte, or contains itself: neither can be bounded
 */
export function boundedBy (type: Type): (bytes: Uint8Array, start: number, end: number) => number {
  const { skip } = walkOf(type, new Set())
  const reader = new AvroReader('bad-record')
  return (bytes, start, end) => {
    reader.open(bytes, start, end)
    skip(reader)
    return reader.pos
  }
}

/** The walk alone, for who has a reader on the bytes: goes over one value, and throws as `boundedBy` does. */
export function walkOver (type: Type): Skip { return walkOf(type, new Set()).skip }

function walkOf (type: Type, outer: Set<Type>): Walk {
  if (outer.has(type)) throw new RangeError(`schema: ${type.name} contains itself, so nothing bounds its depth`)
  const within = new Set(outer).add(type)
  switch (type.typeName) {
    case 'null': return { bytesMin: 0, skip: () => {} }
    case 'boolean': return { bytesMin: 1, skip: from => { from.boolean() } }
    case 'int': return { bytesMin: 1, skip: from => { from.int() } }
    case 'long': return { bytesMin: 1, skip: from => { from.long() } }
    case 'float': return fixed(4)
    case 'double': return fixed(8)
    case 'fixed': return fixed((type as types.FixedType).size)
    case 'bytes':
    case 'string': return { bytesMin: 1, skip: from => { from.skipBytes() } }
    case 'enum': {
      const { length } = (type as types.EnumType).symbols
      return { bytesMin: 1, skip: from => { from.index(length) } }
    }
    case 'array': return many(walkOf((type as types.ArrayType).itemsType, within))
    case 'map': return many(pair(walkOf((type as any).valuesType, within)))
    case 'record':
    case 'error': return sequence((type as types.RecordType).fields.map(field => walkOf(field.type, within)))
    case 'union:wrapped':
    case 'union:unwrapped': return either((type as any).types.map((branch: Type) => walkOf(branch, within)))
    default: throw new RangeError(`schema: type ${type.typeName} can not be walked`)
  }
}

function fixed (size: number): Walk {
  return { bytesMin: size, skip: from => { from.skip(size) } }
}

function many ({ bytesMin, skip }: Walk): Walk {
  if (bytesMin === 0) throw new RangeError('schema: items that may take no byte, so nothing bounds their count')
  return { bytesMin: 1, skip: from => { from.skipItems(skip, bytesMin) } }
}

function pair ({ bytesMin, skip }: Walk): Walk {
  return { bytesMin: bytesMin + 1, skip: from => { from.skipBytes(); skip(from) } }
}

function sequence (walks: readonly Walk[]): Walk {
  return {
    bytesMin: walks.reduce((sum, { bytesMin }) => sum + bytesMin, 0),
    skip: from => { for (const { skip } of walks) skip(from) },
  }
}

function either (walks: readonly Walk[]): Walk {
  return {
    bytesMin: 1 + Math.min(...walks.map(({ bytesMin }) => bytesMin)),
    skip: from => { walks[from.index(walks.length)]!.skip(from) },
  }
}
