import { readFileSync } from 'node:fs'
import type { Health } from '../../schemas/conditions.js'
import { ConfigError } from '../setting.js'
import { watchFiles } from '../watched-files.js'
import type { ApiKeys } from './api-keys.js'
import { type KeyFile, parseKeyFile } from './key-file.js'

/** A key that is revoked is refused within a second. */
const everyMs = 400

/** Which setting names the file. */
export interface NamedFile {
  readonly path: string
  /** Whose keys they are; empty for the default one. */
  readonly app: string
}

function settingOf ({ app }: NamedFile): string {
  return app === '' ? 'LEDGERLINE_API_KEYS_FILE (--api-keys-file)' : `LEDGERLINE_APPS: apiKeysFile of ${app}`
}

/**
 * Has `keys` take what the file holds: now, whenever it changes, and at SIGHUP. While it is away or wrong, those read
 * last stay in use, and the condition `api-keys` says why.
 *
 * @returns what ends it
 * @throws ConfigError naming the variable where the file can't be read, or does not hold what it should
 */
export function watchKeyFile (file: NamedFile, keys: ApiKeys, health: Health): () => void {
  const { app, path } = file
  const stop = watchFiles({
    paths: [path],
    everyMs,
    read: () => [contentOf(file)] as const,
    take ([text]) { keys.replace(parsed(text, file), app) },
    looked (trouble) {
      if (trouble === '') health.end('api-keys', app)
      else health.begin('api-keys', `those read last stay in use: ${trouble}`, app)
      keys.cutStale()
    },
  })
  return () => {
    stop()
    health.end('api-keys', app)
  }
}

/** @throws ConfigError as `watchKeyFile` does */
export function checkKeyFile (file: NamedFile): void { parsed(contentOf(file), file) }

function contentOf (file: NamedFile): string {
  const { path } = file
  try {
    return readFileSync(path, 'utf8')
  } catch (err) {
    const { code } = err as NodeJS.ErrnoException
    const want = `a file that can be read (${code}); \`ledgerline keys create\` makes one`
    throw new ConfigError(`${settingOf(file)}: got ${JSON.stringify(path)}, want ${want}`, { cause: err })
  }
}

function parsed (text: string, file: NamedFile): KeyFile {
  return parseKeyFile(text, `${settingOf(file)}: ${file.path}`)
}
