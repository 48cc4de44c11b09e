import { randomBytes, randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { chmod, link, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join, resolve } from 'node:path'
import { parseEnv } from 'node:util'
import { findMisspelt } from './misspelt.js'

/** What one node runs with; read once at start, never changed (docs/operations.md). */
export interface Config {
  /** Absolute. */
  readonly dataDir: string
  readonly host: string
  /** 0 picks a free port. */
  readonly httpPort: number
  readonly tcpPort: number
  readonly nodeId: string
  readonly region: string
  readonly roles: readonly Role[]
  /** What ip-config hands to clients; undefined: made from the listeners. */
  readonly publicWsUrl: string | undefined
  readonly publicTcpUrl: string | undefined
  /** At most one of the two; `ensureSecrets` fills in a secret where neither is set. */
  readonly jwtSecret: string | undefined
  readonly jwksUrl: string | undefined
  /** What the `aud` of a token must be, or have in it; undefined: tokens of any audience. */
  readonly jwtAudience: string | undefined
  /** By how much the clocks of those who issue tokens may differ from ours. */
  readonly clockToleranceMs: number
  /** Empty until `ensureSecrets` where none is set. */
  readonly apiKeys: readonly string[]
  readonly loginPolicy: LoginPolicy
  readonly heartbeatMs: number
  /** The longest silence that a client is given which says that it means to be silent. */
  readonly silenceMaxMs: number
  readonly frameBytesMax: number
  readonly uplinkWindow: number
  readonly connectionsMax: number
  /** Frames a second and burst of one connection, accepts a second of one IP address; 0 for no limit. */
  readonly frameRate: number
  readonly frameBurst: number
  readonly acceptRate: number
  /** How long, and how many bytes of, each stream the embedded log keeps; 0 for no bound. */
  readonly retentionMs: number
  readonly retentionBytes: number
  readonly kafkaBrokers: readonly string[]
  readonly redisUrl: string | undefined
  readonly schemaRegistryUrl: string | undefined
  readonly topicPrefix: string
  /** Of each stream that this node creates; a stream keeps the count that it was created with. */
  readonly partitions: number
  /** A node that has not reported for this long is lost. */
  readonly leaseMs: number
  /** How long an edge that stops may take to move its connections to others; 0 closes them at once. */
  readonly drainMs: number
  /** How long a node that stops, and that others can stand in for, goes on answering while `/readyz` says no. */
  readonly stopGraceMs: number
  /** Age at which a connection is asked to move, a fifth more or less; 0 for none. */
  readonly connectionAgeMaxMs: number
}

export const roles = ['edge', 'users', 'push', 'ip-config', 'projections'] as const
export type Role = typeof roles[number]

export const loginPolicies = ['device', 'platform', 'user', 'none'] as const
export type LoginPolicy = typeof loginPolicies[number]

/** Variables by name, as in `process.env`. An empty one, or one of white space, counts as not set. */
export type Environment = Readonly<Record<string, string | undefined>>

/** Wrong configuration: exit code 2. The message names the variable, what it got and what it wants. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

/** One variable, and the option of `ledgerline start` by the same name. */
export interface Setting<T = unknown> extends Reader<T> {
  readonly variable: string
  /** Taken as if it had been typed; undefined for none. */
  readonly fallback: string | undefined
  readonly help: string
  /** Its value stays out of messages. */
  readonly secret: boolean
}

interface Reader<T> {
  readonly want: string
  /** Undefined where `text` is not what is wanted. */
  readonly parse: (text: string) => T | undefined
}

/** HS256 wants a key as long as its hash (RFC 7518, 3.2): a shorter one can be guessed from one token. */
const tokenSecretBytesMin = 32

const apiKeyLengthMin = 20

const name64 = pattern('1 to 64 of letters, digits, ".", "_" and "-"', /^[\w.-]{1,64}$/)

/** Every setting, in the order that `--help` and docs/operations.md name them. */
export const settings: { readonly [K in keyof Config]-?: Setting<Config[K]> } = {
  dataDir: setting('DATA', './data', directory(), 'directory of the embedded log, tables and generated secrets'),
  host: setting('HOST', '127.0.0.1', pattern('a host name or an IP address', /^[\w.:%-]{1,255}$/), 'address to listen on'),
  httpPort: setting('HTTP_PORT', '8080', integer(0, 65_535), 'port of HTTP and WebSocket; 0 picks a free one'),
  tcpPort: setting('TCP_PORT', '9100', integer(0, 65_535), 'port of raw TCP; 0 picks a free one'),
  nodeId: setting('NODE_ID', hostNodeId(), name64, 'name of this node, unique in the cluster'),
  region: setting('REGION', 'local', name64, 'region of this node; ip-config prefers the client\'s own'),
  roles: setting('ROLES', 'all', roleList(), 'what this node does, comma-separated'),
  publicWsUrl: setting('PUBLIC_WS_URL', undefined, url('ws', 'wss'), 'what ip-config hands to WebSocket clients'),
  publicTcpUrl: setting('PUBLIC_TCP_URL', undefined, url('tcp', 'tls'), 'what ip-config hands to TCP clients'),
  jwtSecret: secret(setting('JWT_SECRET', undefined, tokenSecret(),
    'HS256 secret of client tokens; generated where neither it nor the JWKS URL is set')),
  jwksUrl: setting('JWKS_URL', undefined, url('http', 'https'), 'keys of client tokens: RS256, ES256 or EdDSA'),
  jwtAudience: setting('JWT_AUDIENCE', undefined, pattern('a name or a URL', /^\S{1,256}$/), 'wanted aud of client tokens'),
  clockToleranceMs: setting('CLOCK_TOLERANCE_MS', '30000', integer(0, 600_000),
    'by how much the clocks of those who issue tokens may differ'),
  apiKeys: secret(setting('API_KEYS', '', keyList(), 'keys of business services; one is generated where none is set')),
  loginPolicy: setting('LOGIN_POLICY', 'device', oneOf(loginPolicies), 'what may have one open connection at a time'),
  heartbeatMs: setting('HEARTBEAT_MS', '45000', integer(100, 3_600_000), 'a client silent for so long sends a ping'),
  silenceMaxMs: setting('SILENCE_MAX_MS', '1800000', integer(1_000, 86_400_000),
    'longest silence of a client that says how long it means to be silent'),
  // Two of the largest frames fit into the write queue of 1 MiB.
  frameBytesMax: setting('FRAME_BYTES_MAX', '65536', integer(256, 524_288), 'largest frame, opcode and body'),
  uplinkWindow: setting('UPLINK_WINDOW', '256', integer(1, 4_096), 'unacknowledged uplinks of one connection'),
  connectionsMax: setting('CONNECTIONS_MAX', '15000', integer(1, 1_000_000), 'connections of this node'),
  frameRate: setting('FRAME_RATE', '100', integer(0, 1_000_000), 'frames a second of one connection; 0 for no limit'),
  frameBurst: setting('FRAME_BURST', '200', integer(0, 1_000_000), 'frames at once of one connection; 0 for no limit'),
  acceptRate: setting('ACCEPT_RATE', '200', integer(0, 1_000_000), 'accepts a second of one address; 0 for no limit'),
  retentionMs: setting('RETENTION_MS', '604800000', integer(0, 315_360_000_000),
    'how long the embedded log keeps a stream; 0 for ever'),
  retentionBytes: setting('RETENTION_BYTES', '0', integer(0, Number.MAX_SAFE_INTEGER),
    'how many bytes of a stream the embedded log keeps; 0 for no bound'),
  kafkaBrokers: setting('KAFKA_BROKERS', '', brokerList(), 'brokers of the cluster\'s log, comma-separated'),
  redisUrl: secret(setting('REDIS_URL', undefined, redis(), 'tables and links of the cluster')),
  schemaRegistryUrl: secret(setting('SCHEMA_REGISTRY_URL', undefined, url('http', 'https'),
    'Confluent-compatible registry')),
  topicPrefix: setting('TOPIC_PREFIX', 'ledgerline',
    pattern('1 to 100 of letters, digits, "." and "-"', /^[a-z0-9.-]{1,100}$/i), 'Kafka topics are named PREFIX.STREAM'),
  partitions: setting('PARTITIONS', '8', integer(1, 1_024), 'partitions of a stream that does not exist yet'),
  leaseMs: setting('LEASE_MS', '15000', integer(600, 600_000), 'a node that has not reported for so long is lost'),
  drainMs: setting('DRAIN_MS', '20000', integer(0, 3_600_000),
    'how long an edge that stops may take to move its connections; 0 closes them'),
  stopGraceMs: setting('STOP_GRACE_MS', '5000', integer(0, 600_000),
    'how long a node that stops goes on answering while /readyz says no, where others stand in'),
  connectionAgeMaxMs: setting('CONNECTION_AGE_MAX_MS', '0', integer(0, 31_536_000_000),
    'age at which a connection is asked to move, a fifth more or less; 0 for none'),
}

/** The option of `ledgerline start` for a variable: `LEDGERLINE_HTTP_PORT` is `http-port`. */
export function flagOf (variable: string): string {
  return variable.replace(/^LEDGERLINE_/, '').toLowerCase().replaceAll('_', '-')
}

/** What commands read besides settings: the gateway that they talk to. */
const commandVariables = ['LEDGERLINE_URL']

/**
 * The process's environment over the `.env` file of `directory`, where there is one.
 *
 * @throws ConfigError where a variable is there that would do nothing: its name is probably misspelt
 */
export function readEnvironment (directory = process.cwd()): Environment {
  const path = join(directory, '.env')
  const fromFile = readEnvFile(path)
  const env = { ...fromFile, ...process.env }
  const known = Object.values<Setting>(settings).map(({ variable }) => variable)
  const misspelt = findMisspelt(env, [...known, ...commandVariables])
  if (misspelt === undefined) return env
  const { name, meant } = misspelt
  const where = name in process.env ? '' : ` in ${path}`
  const hint = meant === undefined ? 'start --help and docs/operations.md list them all' : `did you mean ${meant}?`
  throw new ConfigError(`${name}${where}: there is no such variable; ${hint}`)
}

function readEnvFile (path: string): Environment {
  try {
    return parseEnv(readFileSync(path, 'utf8'))
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === 'ENOENT') return {}
    throw new ConfigError(`${path}: cannot be read: ${(err as Error).message}`, { cause: err })
  }
}

/**
 * @param env variables by name, see `readEnvironment`
 * @param options what the command line said, by variable; wins over `env`
 * @throws ConfigError at the first setting that is not what is wanted
 */
export function readConfig (env: Environment, options: Environment = {}): Config {
  const values: Partial<Record<keyof Config, unknown>> = {}
  for (const key of Object.keys(settings) as (keyof Config)[]) {
    values[key] = readSetting<unknown>(settings[key], env, options)
  }
  const config = values as unknown as Config
  refuseContradictions(config)
  return config
}

/**
 * White space at both ends is nobody's: a value that comes from a file ends with a newline.
 *
 * @throws ConfigError when the variable is set to something else than is wanted
 */
export function readSetting<T> (setting: Setting<T>, env: Environment, options: Environment = {}): T | undefined {
  const given = options[setting.variable]?.trim() || env[setting.variable]?.trim() || setting.fallback
  if (given === undefined) return undefined
  const value = setting.parse(given)
  if (value === undefined) throw wrong(setting.variable, setting.secret ? 'something else' : given, setting.want)
  return value
}

/**
 * The configuration with the secrets that it leaves open: those generated in the data directory, once. Processes that
 * come at the same time get the same ones.
 *
 * @throws ConfigError when the data directory cannot be made or written, or a secret's file is empty
 */
export async function ensureSecrets (config: Config): Promise<Config> {
  try {
    await makePrivate(config.dataDir)
    const needsSecret = config.jwtSecret === undefined && config.jwksUrl === undefined
    const paths = secretPaths(config.dataDir)
    const jwtSecret = needsSecret ? await ensureValue(settings.jwtSecret, paths.jwtSecret) : config.jwtSecret
    const needsKey = config.apiKeys.length === 0
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

/** @returns what is to be thrown where a variable's value is not what is wanted */
export function wrong (variable: string, got: string, want: string, cause?: unknown): ConfigError {
  return new ConfigError(`${variable} (--${flagOf(variable)}): got ${JSON.stringify(got)}, want ${want}`, { cause })
}

function refuseContradictions ({ jwtSecret, jwksUrl, kafkaBrokers, redisUrl, roles: given }: Config): void {
  if (jwtSecret !== undefined && jwksUrl !== undefined) {
    throw new ConfigError('LEDGERLINE_JWT_SECRET and LEDGERLINE_JWKS_URL: got both, want one of them')
  }
  const kafka = kafkaBrokers.length > 0
  const redis = redisUrl !== undefined
  if (kafka && !redis) throw new ConfigError('REDIS_URL: got nothing, want redis://HOST:PORT, for KAFKA_BROKERS is set')
  if (redis && !kafka) throw new ConfigError('KAFKA_BROKERS: got nothing, want HOST:PORT,..., for REDIS_URL is set')
  if (!kafka && given.length < roles.length) {
    const got = given.join(',')
    throw new ConfigError(`LEDGERLINE_ROLES: got ${got}, want all: without KAFKA_BROKERS one process has every role`)
  }
}

function setting<T> (name: string, fallback: string | undefined, reader: Reader<T>, help: string): Setting<T> {
  const shared = ['KAFKA_BROKERS', 'REDIS_URL', 'SCHEMA_REGISTRY_URL'].includes(name) // names that other tools know
  return { variable: shared ? name : `LEDGERLINE_${name}`, fallback, help, secret: false, ...reader }
}

function secret<T> (setting: Setting<T>): Setting<T> {
  return { ...setting, secret: true }
}

function integer (min: number, max: number): Reader<number> {
  return {
    want: `an integer from ${min} to ${max}`,
    parse: text => /^\d{1,16}$/.test(text) && Number(text) >= min && Number(text) <= max ? Number(text) : undefined,
  }
}

function pattern (want: string, regexp: RegExp): Reader<string> {
  return { want, parse: text => regexp.test(text) ? text : undefined }
}

function directory (): Reader<string> {
  return { want: 'the path of a directory', parse: path => resolve(path) }
}

function oneOf<T extends string> (names: readonly T[]): Reader<T> {
  return { want: `one of ${names.join(', ')}`, parse: text => names.find(name => name === text) }
}

function url (...schemes: string[]): Reader<string> {
  const starts = schemes.map(scheme => `${scheme}://`)
  return {
    want: `a URL that starts with ${starts.join(' or ')}`,
    parse: text => starts.some(start => text.startsWith(start)) && URL.canParse(text) ? text : undefined,
  }
}

/** Several hosts are those of a Redis Cluster; with Sentinel the path names the master. */
function redis (): Reader<string> {
  const host = String.raw`[\w.-]+(?::\d{1,5})?`
  const hosts = `(?:[^@/\\s]*@)?${host}(?:,${host})*`
  const form = new RegExp(`^(?:rediss?://${hosts}(?:/\\d*)?|rediss?\\+sentinel://${hosts}/[\\w.-]+)$`)
  return {
    want: 'redis://HOST:PORT, several HOST:PORT for a Redis Cluster, or redis+sentinel://HOST:PORT,.../MASTER; rediss for TLS',
    parse: text => form.test(text) ? text : undefined,
  }
}

function roleList (): Reader<readonly Role[]> {
  return {
    want: `"all", or some of ${roles.join(', ')}`,
    parse (text) {
      const names = splitList(text)
      if (names.length === 1 && names[0] === 'all') return roles
      const known = roles.filter(role => names.includes(role))
      return known.length > 0 && names.every(name => roles.some(role => role === name)) ? known : undefined
    },
  }
}

function tokenSecret (): Reader<string> {
  return {
    want: `a secret of at least ${tokenSecretBytesMin} bytes, such as \`openssl rand -base64 32\` prints`,
    parse: text => Buffer.byteLength(text) >= tokenSecretBytesMin ? text : undefined,
  }
}

function keyList (): Reader<readonly string[]> {
  return {
    want: `comma-separated keys of at least ${apiKeyLengthMin} visible ASCII characters, ` +
      'such as `openssl rand -hex 20` prints',
    parse: listOf(new RegExp(`^[\\x21-\\x7e]{${apiKeyLengthMin},}$`)),
  }
}

function brokerList (): Reader<readonly string[]> {
  return { want: 'comma-separated HOST:PORT', parse: listOf(/^[\w.[\]:-]+:\d{1,5}$/) }
}

function listOf (regexp: RegExp) {
  return (text: string) => {
    const items = splitList(text)
    return items.every(item => regexp.test(item)) ? items : undefined
  }
}

function splitList (text: string): string[] {
  return text.split(',').map(item => item.trim()).filter(item => item !== '')
}

function hostNodeId (): string {
  return hostname().replace(/[^\w.-]/g, '-').slice(0, 64) || 'node'
}
