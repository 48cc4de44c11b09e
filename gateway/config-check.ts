import { Apps, appsIn } from './apps.js'
import { type Config, settings } from './config.js'
import { type Check, examineConfig } from './read-config.js'
import { merged, misspeltIn, type Source } from './environment.js'
import { tokenIssuers } from './issuers.js'
import { checkKeyFile } from './keys/watched-file.js'
import { checkServerTls } from './server-tls.js'
import { type Environment, flagOf, type Setting, shownText } from './setting.js'

/**
 * Everything for which a start with these settings would be refused, as far as it can be told without Kafka, Redis, the
 * data directory and the network: names, values, what contradicts what, and the files that settings name. A start looks
 * up hosts besides, and finds out whether ports are free.
 *
 * @param options what the command line said, by variable
 * @returns a line for each; none where all is well
 */
export function faultsOf (sources: readonly Source[], options: Environment): readonly string[] {
  const { faults } = examineConfig(merged(sources), options, [checkServerTls, checkKeyFiles])
  return [...new Set([...misspeltIn(sources), ...faults].flatMap(({ faults }) => faults))]
}

const checkKeyFiles: Check = (config: Config) => {
  const apps = new Apps(appsIn(config.apps, tokenIssuers(config), config.authUrl !== undefined))
  for (const file of apps.keyFiles(config.apiKeysFile)) checkKeyFile(file)
}

export interface EffectiveSetting {
  readonly variable: string
  /** What counts; null for nothing, and `secretText` in place of a secret. */
  readonly value: string | null
  /** An option, `environment`, the path of a file, or `default`. */
  readonly from: string
}

const secretText = '(secret)'

/** What a node would start with, setting by setting; a value that is wrong is shown as it is. */
export function effectiveSettings (sources: readonly Source[], options: Environment): readonly EffectiveSetting[] {
  return Object.values<Setting>(settings).map(setting => {
    const { variable, fallback, parse } = setting
    const [from, given] = origin(variable, sources, options) ?? ['default', fallback]
    if (given === undefined) return { variable, value: null, from }
    const parsed = parse(given)
    const text = typeof parsed === 'string' ? parsed : given // a path is absolute then
    return { variable, value: text === '' ? null : shownText(setting, text, secretText), from }
  })
}

function origin (variable: string, sources: readonly Source[], options: Environment): [string, string] | undefined {
  const given = options[variable]?.trim()
  if (given) return [`--${flagOf(variable)}`, given]
  const source = sources.find(({ values }) => values[variable] !== undefined)
  const value = source?.values[variable]?.trim()
  return value ? [source!.name, value] : undefined
}
