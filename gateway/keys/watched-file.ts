import { readFileSync } from 'node:fs'
import type { Health } from '../../schemas/conditions.js'
import { wrong } from '../setting.js'
import { watchFiles } from '../watched-files.js'
import type { ApiKeys } from './api-keys.js'
import { type KeyFile, parseKeyFile } from './key-file.js'

/** A key that is revoked is refused within a second. */
const everyMs = 400

const variable = 'LEDGERLINE_API_KEYS_FILE'

/**
 * Has `keys` take what the file holds: now, whenever it changes, and at SIGHUP. While it is away or wrong, those read
 * last stay in use, and the condition `api-keys` says why.
 *
 * @returns what ends it
 * @throws ConfigError naming the variable where the file can't be read, or does not hold what it should
 */
export function watchKeyFile (path: string, keys: ApiKeys, health: Health): () => void {
  const stop = watchFiles({
    paths: [path],
    everyMs,
    read: () => [contentOf(path)] as const,
    take ([text]) { keys.replace(parsed(text, path)) },
    looked (trouble) {
      if (trouble === '') health.end('api-keys')
      else health.begin('api-keys', `those read last stay in use: ${trouble}`)
      keys.cutStale()
    },
  })
  return () => {
    stop()
    health.end('api-keys')
  }
}

/** @throws ConfigError as `watchKeyFile` does */
export function checkKeyFile (path: string): void { parsed(contentOf(path), path) }

function contentOf (path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (err) {
    const { code } = err as NodeJS.ErrnoException
    throw wrong(variable, path, `a file that can be read (${code}); \`ledgerline keys create\` makes one`, err)
  }
}

function parsed (text: string, path: string): KeyFile {
  return parseKeyFile(text, `${variable} (--api-keys-file): ${path}`)
}
