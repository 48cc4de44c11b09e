import { isIP } from 'node:net'
import { resolve } from 'node:path'
import { originPattern, originsWanted } from './origins.js'
import { redisUrl } from './redis-url.js'
import { shownUrl } from './shown-url.js'

/* What a setting is: a variable of the environment, what it may hold, and how that is read. */

/** Variables by name, as in `process.env`. An empty one, or one of white space, counts as not set. */
export type Environment = Readonly<Record<string, string | undefined>>

/** Wrong configuration: exit code 2. The message names the variable, what it got and what it wants. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  /** Everything that is wrong, where more than one thing is; else the message alone. */
  readonly faults: readonly string[]

  constructor (message: string, { cause, faults = [message] }: { cause?: unknown, faults?: readonly string[] } = {}) {
    super(message, { cause })
    this.faults = faults
  }

  /** @throws ConfigError that says all of it, where there is something to say */
  static throwAll (found: readonly ConfigError[]): void {
    const faults = [...new Set(found.flatMap(({ faults }) => faults))]
    if (faults.length > 0) throw new ConfigError(faults.join('\n'), { cause: found[0]!.cause, faults })
  }
}

/** One variable, and the option of `ledgerline start` by the same name. */
export interface Setting<T = unknown> extends Reader<T> {
  readonly variable: string
  /** Taken as if it had been typed; undefined for none. */
  readonly fallback: string | undefined
  /** What the fallback is, where it is another one on each machine. */
  readonly fallbackIs?: string
  readonly help: string
  /** Its value stays out of messages. */
  readonly secret: boolean
}

export interface Reader<T> {
  readonly want: string
  /** Undefined where `text` is not what is wanted. */
  readonly parse: (text: string) => T | undefined
}

/** HS256 wants a key as long as its hash (RFC 7518, 3.2): a shorter one can be guessed from one token. */
const tokenSecretBytesMin = 32

const apiKeyLengthMin = 20

/** The option of `ledgerline start` for a variable: `LEDGERLINE_HTTP_PORT` is `http-port`. */
export function flagOf (variable: string): string {
  return variable.replace(/^LEDGERLINE_/, '').toLowerCase().replaceAll('_', '-')
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
  if (value === undefined) throw wrong(setting.variable, shownText(setting, given, 'something else'), setting.want)
  return value
}

/** @returns `given` as it may be seen: without the login and the query of a URL, and `instead` where it is a secret */
export function shownText ({ secret }: Setting, given: string, instead: string): string {
  return secret ? instead : shownUrl(given)
}

/** @returns what is to be thrown where a variable's value is not what is wanted */
export function wrong (variable: string, got: string, want: string, cause?: unknown): ConfigError {
  return new ConfigError(`${variable} (--${flagOf(variable)}): got ${JSON.stringify(got)}, want ${want}`, { cause })
}

export function setting<T> (name: string, fallback: string | undefined, reader: Reader<T>, help: string): Setting<T> {
  const shared = /^(KAFKA|REDIS|SCHEMA_REGISTRY|OTEL)_/.test(name) // names that other tools know
  return { variable: shared ? name : `LEDGERLINE_${name}`, fallback, help, secret: false, ...reader }
}

export function secret<T> (setting: Setting<T>): Setting<T> {
  return { ...setting, secret: true }
}

/** @param says what the fallback is, which is this machine's */
export function ofMachine<T> (setting: Setting<T>, says: string): Setting<T> {
  return { ...setting, fallbackIs: says }
}

export function integer (min: number, max: number): Reader<number> {
  return {
    want: `an integer from ${min} to ${max}`,
    parse: text => /^\d{1,16}$/.test(text) && Number(text) >= min && Number(text) <= max ? Number(text) : undefined,
  }
}

/** What 0 turns off. */
export function offOr (min: number, max: number): Reader<number> {
  const { parse } = integer(min, max)
  return { want: `0 or an integer from ${min} to ${max}`, parse: text => text === '0' ? 0 : parse(text) }
}

/** A share. */
export function ratio (): Reader<number> {
  return {
    want: 'a number from 0 to 1',
    parse: text => /^\d*\.?\d+$/.test(text) && Number(text) <= 1 ? Number(text) : undefined,
  }
}

export function pattern (want: string, regexp: RegExp): Reader<string> {
  return { want, parse: text => regexp.test(text) ? text : undefined }
}

export function directory (): Reader<string> {
  return { want: 'the path of a directory', parse: path => resolve(path) }
}

export function path (): Reader<string> {
  return { want: 'the path of a file', parse: text => resolve(text) }
}

export function onOff (): Reader<boolean> {
  return { want: 'true or false', parse: text => text === 'true' ? true : text === 'false' ? false : undefined }
}

export function hostName (): Reader<string> {
  return pattern('a host name or an IP address', /^[\w.:-]{1,255}$/)
}

/** No character of these has a meaning in the message of SASL that they go in. */
export function pairs (): Reader<Readonly<Record<string, string>>> {
  return {
    want: 'comma-separated NAME=VALUE, of letters, digits, ".", "_" and "-"',
    parse (text) {
      const items = splitList(text).map(item => /^([a-z]+)=([\w.-]+)$/i.exec(item))
      if (!items.every(item => item !== null)) return undefined
      return Object.fromEntries(items.map(([, name, value]) => [name!, value!]))
    },
  }
}

/** As OpenTelemetry has them: a value may be percent-encoded. */
export function headerList (): Reader<Readonly<Record<string, string>>> {
  return {
    want: 'comma-separated NAME=VALUE, values percent-encoded',
    parse (text) {
      const items = splitList(text).map(item => /^([\w!#$%&'*+.^`|~-]+)=([\x21-\x7e]*)$/.exec(item))
      if (!items.every(item => item !== null)) return undefined
      try {
        return Object.fromEntries(items.map(([, name, value]) => [name!, decodeURIComponent(value!)]))
      } catch {
        return undefined
      }
    },
  }
}

/** Some of these names, or none. */
export function someOf<T extends string> (names: readonly T[]): Reader<readonly T[]> {
  return {
    want: `comma-separated, of ${names.join(', ')}`,
    parse (text) {
      const found = splitList(text).map(item => names.find(name => name === item))
      return found.every(name => name !== undefined) ? found : undefined
    },
  }
}

/** A number for each of some names. */
export function numbersOf<T extends string> (
  names: readonly T[], min: number, max: number
): Reader<Readonly<Partial<Record<T, number>>>> {
  const { parse: parseNumber } = integer(min, max)
  return {
    want: `comma-separated NAME=NUMBER, of ${names.join(', ')}, each from ${min} to ${max}`,
    parse (text) {
      const numbers: Partial<Record<T, number>> = {}
      for (const item of splitList(text)) {
        const [, given, value] = /^([a-z]+)=(\d+)$/.exec(item) ?? []
        const name = names.find(name => name === given)
        const number = value === undefined ? undefined : parseNumber(value)
        if (name === undefined || number === undefined) return undefined
        numbers[name] = number
      }
      return numbers
    },
  }
}

export function oneOf<T extends string> (names: readonly T[]): Reader<T> {
  return { want: `one of ${names.join(', ')}`, parse: text => names.find(name => name === text) }
}

export function url (...schemes: string[]): Reader<string> {
  const starts = schemes.map(scheme => `${scheme}://`)
  return {
    want: `a URL that starts with ${starts.join(' or ')}`,
    parse: text => starts.some(start => text.startsWith(start)) && URL.canParse(text) ? text : undefined,
  }
}

/** Of one that is asked without a login, or handed to others: a login in it would do nothing but be seen. */
export function urlWithoutLogin (...schemes: string[]): Reader<string> {
  const { want, parse } = url(...schemes)
  return {
    want: `${want}, without user and password`,
    parse (text) {
      const found = parse(text)
      if (found === undefined) return undefined
      const { username, password } = new URL(found)
      return username === '' && password === '' ? found : undefined
    },
  }
}

export function redis (): Reader<string> {
  return {
    want: 'redis://HOST:PORT/DB, redis+cluster://HOST:PORT,..., or redis+sentinel://HOST:PORT,.../MASTER/DB; ' +
      'rediss for TLS; USER:PASSWORD@ before the first HOST',
    parse: text => redisUrl(text) === undefined ? undefined : text,
  }
}

export function allOrSomeOf<T extends string> (names: readonly T[]): Reader<readonly T[]> {
  return {
    want: `"all", or some of ${names.join(', ')}`,
    parse (text) {
      const given = splitList(text)
      if (given.length === 1 && given[0] === 'all') return names
      const known = names.filter(name => given.includes(name))
      return known.length > 0 && given.every(item => names.some(name => name === item)) ? known : undefined
    },
  }
}

export function tokenSecret (): Reader<string> {
  return {
    want: `a secret of at least ${tokenSecretBytesMin} bytes, such as \`openssl rand -base64 32\` prints`,
    parse: text => Buffer.byteLength(text) >= tokenSecretBytesMin ? text : undefined,
  }
}

export function keyList (): Reader<readonly string[]> {
  return {
    want: `comma-separated keys of at least ${apiKeyLengthMin} visible ASCII characters, ` +
      'such as `openssl rand -hex 20` prints',
    parse: listOf(new RegExp(`^[\\x21-\\x7e]{${apiKeyLengthMin},}$`)),
  }
}

export function originList (): Reader<readonly string[]> {
  return {
    want: originsWanted,
    parse (text) {
      const patterns = splitList(text).map(originPattern)
      return patterns.length > 0 && patterns.every(each => each !== undefined) ? patterns : undefined
    },
  }
}

export function networkList (): Reader<readonly string[]> {
  return {
    want: 'comma-separated IP addresses or networks, such as 192.0.2.1,10.0.0.0/8,2001:db8::/32',
    parse (text) {
      const items = splitList(text)
      return items.every(isNetwork) ? items : undefined
    },
  }
}

function isNetwork (item: string): boolean {
  const [, ip = '', bits] = /^([\da-f.:]+)(?:\/(\d{1,3}))?$/i.exec(item) ?? []
  const version = isIP(ip)
  return version !== 0 && (bits === undefined || Number(bits) <= (version === 6 ? 128 : 32))
}

/** What `iss` and `aud` of a token may be. */
export const issuerNames = {
  want: 'a name or a URL of at most 256 characters, without white space',
  isName: (text: string): boolean => /^\S{1,256}$/.test(text),
}

export function names (): Reader<readonly string[]> {
  return { want: `comma-separated, each ${issuerNames.want}`, parse: listOf(/^\S{1,256}$/) }
}

export function brokerList (): Reader<readonly string[]> {
  return { want: 'comma-separated HOST:PORT', parse: listOf(/^(?:[\w.-]+|\[[\da-f:.]+\]):\d{1,5}$/i) }
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
