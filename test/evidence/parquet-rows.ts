/* Prints what Parquet files have, one JSON object a line: `node parquet-rows.js FILE...`. A program, not a module. */
import { readFile } from 'node:fs/promises'
import { gunzipSync } from 'node:zlib'
import { parquetMetadata, parquetReadObjects } from 'hyparquet'

for (const path of process.argv.slice(2)) {
  const { buffer, byteOffset, byteLength } = await readFile(path)
  const file = buffer.slice(byteOffset, byteOffset + byteLength) as ArrayBuffer
  const { row_groups: groups, schema } = parquetMetadata(file)
  const types = Object.fromEntries(schema.slice(1).map(({ name, type, converted_type: converted = '' }) =>
    [name, `${type} ${converted}`.trim()]))
  console.log(JSON.stringify({ groups: groups.map(group => Number(group.num_rows)), types }))
  const rows = await parquetReadObjects({ file, utf8: false, compressors: { GZIP: bytes => gunzipSync(bytes) } })
  for (const row of rows) console.log(JSON.stringify(row, (_, value) => shown(value)))
}

function shown (value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value)
  return value instanceof Uint8Array ? { base64: Buffer.from(value).toString('base64') } : value
}
