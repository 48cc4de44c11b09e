import { readFileSync } from 'node:fs'
import { ConfigError, wrong } from './setting.js'

/**
 * Reads a setting that is JSON, or the path of a file with it.
 *
 * @param what it is an array of, for messages
 * @returns whatever the JSON holds
 * @throws ConfigError where there is no such file, or no JSON; what is there is not shown, for it may be a secret
 */
export function jsonSetting (variable: string, given: string, what: string): unknown {
  return jsonIn(variable, isPath(given) ? readSettingFile(variable, given) : given, what)
}

/** As `jsonSetting`, of the JSON itself. */
export function jsonIn (variable: string, text: string, what: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // What the parser says may quote a secret.
    throw new ConfigError(`${variable}: got something else than JSON, want an array of ${what}`)
  }
}

/** Not an object either, which is wrong and may have a secret in it: a path is shown. */
export function isPath (given: string): boolean { return !/^[[{]/.test(given) }

/** @throws ConfigError */
export function readSettingFile (variable: string, path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (err) {
    const { code } = err as NodeJS.ErrnoException
    throw wrong(variable, path, `a JSON array, or the path of a file with one (${code})`, err)
  }
}
