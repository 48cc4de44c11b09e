import { clientBytesMax, idWanted, isId, isTextWithin, platformBytesMax, textWanted } from '../schemas/text.js'
import { didYouMean } from '../schemas/nearest.js'
import type { Encoding } from './platform.js'
import type { ClientStorage } from './storage/storage.js'

export interface ClientOptions {
  /** URLs of edges, used in turn: `ws://`, `wss://`; in Node also `tcp://` and `tls://`. */
  readonly endpoints?: string | readonly string[]
  /** URLs of ip-config, by name or by address, asked in turn; instead of `endpoints`. */
  readonly ipConfig?: string | readonly string[]
  /** What to ask ip-config for; WebSocket by default. TCP is for Node. */
  readonly transport?: 'ws' | 'tcp'
  /** Of frames over WebSocket; Avro by default. */
  readonly encoding?: Encoding
  readonly region?: string
  /** IP addresses to try in place of a host name, such as HTTPDNS gives them. The name itself comes after them. */
  readonly resolve?: (host: string) => readonly string[] | Promise<readonly string[]>
  /**
   * Called before each attempt, and before the token of an open connection expires. What it throws is tried again, with
   * backoff; `GiveUp` ends the client, `TryLater` says when to ask again.
   */
  readonly getToken: (request: TokenRequest) => string | Promise<string>
  readonly deviceId: string
  readonly platform?: string
  /** Name and version of the program, `app/1.2`. */
  readonly client?: string
  /** Where unacked uplinks and the place among the downlinks survive a restart; of its own for each user and device. */
  readonly storage?: ClientStorage
  /** Uplinks not acked yet; 1,000 by default. */
  readonly outboxMax?: number
  /** Bytes of their payloads and services; 4 MiB by default. */
  readonly outboxBytesMax?: number
  /** `manual`: a downlink is done with when its `ack` is called, and the next one does not wait for that. */
  readonly ack?: 'auto' | 'manual'
  /** Tries at a downlink that a listener fails at, before the client goes on without it; 5 by default. */
  readonly handlerAttemptsMax?: number
  /** `adaptive`: as seldom as the network allows. The server's own interval by default. */
  readonly heartbeat?: 'dictated' | 'adaptive'
  /** Names the network that is in use, for what was learned of it: `wifi:home`, `cell:20801`. */
  readonly network?: () => string
  /** Attempts in a row, or ms without a connection, after which the client stops; never by default. */
  readonly attemptsMax?: number
  readonly giveUpAfterMs?: number
  /** 0 up to but without 1. */
  readonly random?: () => number
}

/** Of an uplink. */
export interface SendOptions { readonly service?: string, readonly priority?: number }

export interface TokenRequest {
  /** A fresh one is wanted: the server refused the last one as expired, or it is about to. A cached one will not do. */
  readonly isExpired: boolean
}

type Check = readonly [isGood: (value: any) => boolean, want: string]

const isFunction: Check = [value => typeof value === 'function', 'a function']
const isCount: Check = [value => value === Infinity || (Number.isSafeInteger(value) && value > 0), 'an integer above 0']

function isOneOf (...values: string[]): Check {
  return [value => values.includes(value), values.join(' or ')]
}

function isObject (value: unknown): boolean { return Object(value) === value }

function areUrls (value: any): boolean {
  return typeof value === 'string' || (Array.isArray(value) && value.length > 0)
}

const checks: Record<keyof ClientOptions, Check> = {
  endpoints: [areUrls, 'at least one URL'],
  ipConfig: [areUrls, 'at least one URL'],
  transport: isOneOf('ws', 'tcp'),
  encoding: isOneOf('avro', 'json'),
  region: [value => typeof value === 'string', 'a text'],
  resolve: isFunction,
  getToken: isFunction,
  deviceId: [isId, idWanted.replace('want ', '')],
  platform: [value => isTextWithin(value, platformBytesMax), textWanted(platformBytesMax).replace('want ', '')],
  client: [value => isTextWithin(value, clientBytesMax), textWanted(clientBytesMax).replace('want ', '')],
  storage: [isObject, 'a storage, such as inMemory() makes it'],
  outboxMax: isCount,
  outboxBytesMax: isCount,
  ack: isOneOf('auto', 'manual'),
  handlerAttemptsMax: isCount,
  heartbeat: isOneOf('dictated', 'adaptive'),
  network: isFunction,
  attemptsMax: isCount,
  giveUpAfterMs: [value => value > 0, 'a number above 0'],
  random: isFunction,
}

/** @throws TypeError for what is no object, and for an option that is none of `known`: it would do nothing */
export function checkNames (options: object, known: readonly string[]): void {
  if (!isObject(options)) wrong('options', options, 'an object')
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) throw new TypeError(`"${name}" is no option.${didYouMean(name, known)}`)
  }
}

/** @throws TypeError naming the option, what it got and what it wants */
export function checkOptions (options: ClientOptions): void {
  checkNames(options, Object.keys(checks))
  const { endpoints, ipConfig, transport, encoding } = options
  if ((endpoints === undefined) === (ipConfig === undefined)) wrong('endpoints, ipConfig', options, 'one of the two')
  for (const [name, [isGood, want]] of Object.entries(checks)) {
    const value = options[name as keyof ClientOptions]
    if (value === undefined && name !== 'getToken' && name !== 'deviceId') continue
    if (!isGood(value)) wrong(name, value, want)
  }
  const urls = [endpoints ?? ipConfig!].flat()
  for (const url of urls) {
    if (!(endpoints ? /^(wss?|tcp|tls):\/\/./ : /^https?:\/\/./).test(url)) wrong('URL', url, 'ws, wss, tcp, tls; http or https for ipConfig')
  }
  if (encoding === 'json' && (transport === 'tcp' || urls.some(url => /^(tcp|tls):/.test(url)))) {
    wrong('encoding', encoding, 'avro, over TCP')
  }
}

function wrong (option: string, got: unknown, want: string): never {
  throw new TypeError(`${option}: got ${typeof got === 'function' ? 'a function' : JSON.stringify(got)}, want ${want}`)
}
