/** What several routes take or give, as JSON Schema. */

// A lone surrogate has no UTF-8 form: two different ids would be stored as one.
const wellFormed = '^\\P{Surrogate}*$'

/** In characters. */
export const userIdLengthMax = 256
export const userIdsMax = 1000

export const userIdSchema = { type: 'string', minLength: 1, maxLength: userIdLengthMax, pattern: wellFormed }

export const userIdsSchema = { type: 'array', minItems: 1, maxItems: userIdsMax, uniqueItems: true, items: userIdSchema }

/** @param lengthMax in characters; undefined where the body's bound is enough */
export function textSchema (lengthMax: number | undefined, minLength = 0) {
  const bound = lengthMax === undefined ? {} : { maxLength: lengthMax }
  return { type: 'string', minLength, ...bound, pattern: wellFormed }
}

/** How current an answer from a table is. */
export interface AsOf {
  /** Where the table stands in its stream, `partition@offset`; several partitions with commas between them. */
  readonly position: string
  /** Time of the last entry in it, ms since 1970. */
  readonly atMs: number
}

export const asOfSchema = {
  type: 'object',
  required: ['position', 'atMs'],
  properties: { position: { type: 'string' }, atMs: { type: 'integer' } },
}
