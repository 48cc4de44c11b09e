import { existsSync, readdirSync, readFileSync } from 'node:fs'
import type { AvroSchema } from './single-object.js'

/** Schemas lie in the package as they are, for other languages; the compiled code is in dist/schemas. */
const folder = new URL('../../schemas/', import.meta.url)

/** @param path such as `streams/ledger`, without `.avsc` */
export function loadSchema (path: string): AvroSchema {
  return JSON.parse(readFileSync(new URL(`${path}.avsc`, folder), 'utf8')) as AvroSchema
}

/** Record schemas that earlier versions wrote: every file of `history/` (see its README.md). */
export function loadHistory (): AvroSchema[] {
  const history = new URL('history/', folder)
  if (!existsSync(history)) return [] // a package without any old schema has no such folder
  return readdirSync(history)
    .filter(name => name.endsWith('.avsc'))
    .map(name => loadSchema(`history/${name.slice(0, -'.avsc'.length)}`))
}
