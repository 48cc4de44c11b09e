import { readFileSync } from 'node:fs'
import { ConfigError, flagOf, wrong } from './setting.js'
import { type StoreConfig, storeSettings } from './store-settings.js'

type Key = keyof StoreConfig

/**
 * What the file of a setting holds, without the white space around it. It is read once now, so that a start fails, and
 * again by each call.
 *
 * @throws ConfigError where it can't be read, or is empty
 */
export function renewedFile (key: Key, config: StoreConfig): () => string {
  const { variable } = storeSettings[key]
  const path = config[key] as string
  const read = () => contentOf(variable, path)
  read()
  return read
}

function contentOf (variable: string, path: string): string {
  let content: string
  try {
    content = readFileSync(path, 'utf8').trim()
  } catch (err) {
    throw wrong(variable, path, `a file that can be read (${(err as NodeJS.ErrnoException).code})`, err)
  }
  if (content === '') throw wrong(variable, path, 'a file that is not empty')
  return content
}

/**
 * @param because what makes one of them necessary
 * @throws ConfigError unless exactly one of the settings is there
 */
export function exactlyOneOf (config: StoreConfig, keys: readonly Key[], because?: Key): void {
  const set = keys.filter(key => config[key] !== undefined)
  if (set.length > 1) throw new ConfigError(`${set.map(named).join(' and ')}: got both, want one of them`)
  if (set.length === 0) throw wanted(keys[0]!, keys.map(named).join(' or '), because ?? keys[0]!)
}

export function wanted (key: Key, want: string, because: Key, got = 'nothing'): ConfigError {
  return new ConfigError(`${named(key)}: got ${got}, want ${want}, for ${storeSettings[because].variable} is set`)
}

export function named (key: Key): string {
  const { variable } = storeSettings[key]
  return `${variable} (--${flagOf(variable)})`
}
