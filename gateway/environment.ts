import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseEnv } from 'node:util'
import { nearest } from '../schemas/nearest.js'
import { settings } from './config.js'
import { allMisspelt, type Misspelt, lettersMax } from './misspelt.js'
import { ConfigError, type Environment, type Setting } from './setting.js'

/** What says which file of settings is read. It is no setting itself: in that file it would come too late. */
export const configVariable = 'LEDGERLINE_CONFIG'

/** What commands read besides settings: the gateway that they talk to. */
export const commandVariables = ['LEDGERLINE_URL'] as const

/** Where values of variables come from. */
export interface Source {
  /** `environment`, or the path of a file. */
  readonly name: string
  readonly values: Environment
  /** Variables in it that would do nothing: their names are probably misspelt. */
  readonly misspelt: readonly Misspelt[]
}

/**
 * The environment of the process, the `.env` file of `directory`, and the file that `LEDGERLINE_CONFIG` names, each as
 * far as it is there. The first that has a variable counts.
 *
 * @throws ConfigError where a file can't be read, or is not what it should be
 */
export function readSources (directory = process.cwd()): readonly Source[] {
  const sources = [{ name: 'environment', values: process.env }]
  const path = join(directory, '.env')
  const fromEnvFile = readEnvFile(path)
  if (fromEnvFile !== undefined) sources.push({ name: path, values: fromEnvFile })
  const configFile = merged(sources)[configVariable]?.trim()
  const all = sources.map(source => ({ ...source, misspelt: allMisspelt(source.values, known, merged(sources)) }))
  return configFile ? [...all, readConfigFile(resolve(directory, configFile))] : all
}

/** One environment of all of them. */
export function merged (sources: ReadonlyArray<Pick<Source, 'values'>>): Environment {
  return Object.assign({}, ...sources.map(({ values }) => values).reverse())
}

/** @returns what is to be thrown for each variable that would do nothing */
export function misspeltIn (sources: readonly Source[]): readonly ConfigError[] {
  return sources.flatMap(source => source.misspelt.map(({ name, meant }) => {
    const where = source.name === 'environment' ? '' : ` in ${source.name}`
    const hint = meant === undefined ? '`ledgerline config docs` lists them all' : `did you mean ${meant}?`
    return new ConfigError(`${name}${where}: there is no such variable; ${hint}`)
  }))
}

/**
 * All sources as one environment.
 *
 * @throws ConfigError as `readSources`, and where a variable is there that would do nothing
 */
export function readEnvironment (directory = process.cwd()): Environment {
  const sources = readSources(directory)
  ConfigError.throwAll(misspeltIn(sources))
  return merged(sources)
}

const known: readonly string[] = [
  ...Object.values<Setting>(settings).map(({ variable }) => variable), ...commandVariables, configVariable,
]

function readEnvFile (path: string): Environment | undefined {
  try {
    return parseEnv(readFileSync(path, 'utf8'))
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new ConfigError(`${path}: cannot be read: ${(err as Error).message}`, { cause: err })
  }
}

function readConfigFile (path: string): Source {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (err) {
    throw new ConfigError(`${configVariable}: got ${JSON.stringify(path)}, want a file that can be read ` +
      `(${(err as NodeJS.ErrnoException).code})`, { cause: err })
  }
  let content: unknown
  try {
    content = JSON.parse(text)
  } catch {
    // What the parser says may quote a secret.
  }
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    throw new ConfigError(`${path}: want a JSON object of variables, such as { "LEDGERLINE_HTTP_PORT": 8080 }`)
  }
  const entries = Object.entries(content)
  // All of it is for us, so every name must be one of ours.
  const misspelt = entries.filter(([name]) => !known.includes(name) || name === configVariable)
    .map(([name]) => ({ name, meant: name === configVariable ? undefined : nearest(name, known, lettersMax) }))
  return { name: path, values: Object.fromEntries(entries.map(([name, value]) => [name, textOf(value)])), misspelt }
}

/** A list of texts is what commas separate in a variable; what has objects in it stays JSON. */
function textOf (value: unknown): string {
  if (typeof value === 'string') return value
  const isList = Array.isArray(value) && value.every(item => typeof item === 'string' || typeof item === 'number')
  return isList ? value.join(',') : JSON.stringify(value)
}
