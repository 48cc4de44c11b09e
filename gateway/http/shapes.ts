import { idBytesMax, idWanted, isId, isText, isTextWithin, platformBytesMax, serviceBytesMax, textWanted } from '../../schemas/text.js'

/*
  What several routes take or give, as JSON Schema. What an id or a text may be is said in schemas/text.ts: the formats
  `id` and `text` and the keyword `x-bytesMax` ask there. `maxLength` (characters) and `pattern` say as much of it as
  JSON Schema can, for those who read the OpenAPI document; half a surrogate pair is no pattern outside JavaScript.
*/

const withoutControls = '^[^\\u0000-\\u001f\\u007f-\\u009f]*$'

export const idSchema = {
  type: 'string',
  minLength: 1,
  maxLength: idBytesMax,
  pattern: withoutControls,
  format: 'id',
  description: `1 to ${idBytesMax} bytes of UTF-8, without control characters`,
}

/** @param bytesMax of UTF-8 */
export function textSchema (bytesMax: number, minLength = 0) {
  return { type: 'string', minLength, maxLength: bytesMax, 'x-bytesMax': bytesMax }
}

/** Text whose bound is that of the body. */
export const wellFormedSchema = { type: 'string', format: 'text' }

export const serviceSchema = textSchema(serviceBytesMax)
/** Why an operator does something; for whoever looks back. */
export const reasonSchema = { ...textSchema(256), default: '' }
/** Who asked for something. */
export const bySchema = { type: 'string', description: 'id of the API key that asked; empty for one of the environment' }
export const platformSchema = textSchema(platformBytesMax, 1)

/** Beside `userId` in an answer. */
export const appSchema = { type: 'string', description: 'whose user it is; absent for the default app' }

/** Where a path names a user. */
export const userParamsSchema = { type: 'object', required: ['userId'], properties: { userId: idSchema } }

/** What makes ajv know the format and the keyword that the schemas here have. */
export const ajvRules = {
  formats: { id: isId, text: isText },
  keywords: [{
    keyword: 'x-bytesMax',
    type: 'string' as const,
    schemaType: 'number' as const,
    validate: (bytesMax: number, text: string) => isTextWithin(text, bytesMax),
    errors: false,
  }],
}

/** What a schema of a string that is made here wants, in words; undefined for any other. */
export function wantedText (schema: { readonly format?: string, readonly 'x-bytesMax'?: number }): string | undefined {
  if (schema.format === 'id') return idWanted
  return schema['x-bytesMax'] === undefined ? undefined : textWanted(schema['x-bytesMax'])
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

/** What `parseTime` of evidence/moment.ts takes. */
export const timeDescription = 'a time such as 2026-11-20T10:00Z, or so long ago: 2h, 30m, 7d'
