import { execFile } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

export const ledgerline = fileURLToPath(new URL('../../cli/ledgerline.js', import.meta.url))
const parquetRows = fileURLToPath(new URL('parquet-rows.js', import.meta.url))
const run = promisify(execFile)

/** Of a data directory. @returns what it printed; rejects with its exit code and stderr */
export async function history (data: string, ...options: string[]): Promise<string> {
  const args = [ledgerline, 'history', '--data', data, '--no-progress', ...options]
  return (await run(process.execPath, args, { maxBuffer: 1 << 28 })).stdout
}

/** What the files have: before the rows of each its groups and types. */
export async function parquet (...paths: string[]): Promise<[any, ...any[]]> {
  const { stdout } = await run(process.execPath, [parquetRows, ...paths], { maxBuffer: 1 << 28 })
  return stdout.split('\n').slice(0, -1).map(line => JSON.parse(line) as unknown) as [any, ...any[]]
}

/** The Parquet files of a directory. */
export async function files (out: string): Promise<string[]> {
  const entries = await readdir(out, { recursive: true })
  return entries.filter(path => path.endsWith('.parquet')).sort()
}
