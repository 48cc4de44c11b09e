import { randomBytes, randomUUID } from 'node:crypto'
import { chmod, link, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Config, settings } from './config.js'
import { ConfigError, type Setting, wrong } from './setting.js'

/**
 * The configuration with the secrets that it leaves open: those generated in the data directory, once. Processes that
 * come at the same time get the same ones.
 *
 * @throws ConfigError when the data directory cannot be made or written, or a secret's file is empty
 */
export async function ensureSecrets (config: Config): Promise<Config> {
  try {
    await makePrivate(config.dataDir)
    const { jwtSecret: given, jwksUrl, jwtIssuers, authUrl } = config
    const needsSecret = [given, jwksUrl, jwtIssuers, authUrl].every(value => value === undefined)
    const paths = secretPaths(config.dataDir)
    const jwtSecret = needsSecret ? await ensureValue(settings.jwtSecret, paths.jwtSecret) : given
    const needsKey = config.apiKeys.length === 0 && config.apiKeysFile === undefined
    const apiKeys = needsKey ? await ensureValue(settings.apiKeys, paths.apiKey) : config.apiKeys
    return { ...config, jwtSecret, apiKeys }
  } catch (err) {
    const { code } = err as NodeJS.ErrnoException
    if (code === undefined || !['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EEXIST'].includes(code)) throw err
    throw wrong(settings.dataDir.variable, config.dataDir, `a directory that this user may write (${code})`, err)
  }
}

/** What a secret's file holds, which may have been written by hand, as the variable would be read. */
async function ensureValue<T> ({ parse, want }: Setting<T>, path: string): Promise<T> {
  const value = parse(await ensureSecret(path))
  if (value !== undefined) return value
  throw new ConfigError(`${path}: got something else, want ${want}; remove it to have one generated`)
}

/** Where the generated secrets are. */
export function secretPaths (dataDir: string): { jwtSecret: string, apiKey: string } {
  return { jwtSecret: join(dataDir, 'jwt-secret'), apiKey: join(dataDir, 'api-key') }
}

/** @throws ConfigError when the file is empty; ENOENT when there is none */
export async function readSecret (path: string): Promise<string> {
  const secret = (await readFile(path, 'utf8')).trim()
  if (secret === '') throw new ConfigError(`${path}: got an empty file, want a secret; remove it to have one generated`)
  return secret
}

/** An existing directory keeps its mode, unless it is empty: then it becomes ours. */
async function makePrivate (directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const isEmpty = (await readdir(directory)).length === 0
  if (isEmpty) await chmod(directory, 0o700)
}

async function ensureSecret (path: string): Promise<string> {
  try {
    return await readSecret(path)
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code !== 'ENOENT') throw err
  }
  // Written under another name and linked, for a reader must never find half a secret, nor a crash leave one.
  const draft = `${path}.${randomUUID()}`
  try {
    await writeFile(draft, `${randomBytes(32).toString('base64url')}\n`, { flag: 'wx', mode: 0o600, flush: true })
    await link(draft, path)
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code !== 'EEXIST') throw err // somebody else was first: theirs counts
  } finally {
    await rm(draft, { force: true })
  }
  return await readSecret(path)
}
