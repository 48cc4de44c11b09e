import type { Encoding } from './platform.js'
import type { ClientStorage } from './storage/storage.js'

export interface ClientOptions {
  /** URLs of edges, used in turn: `ws://`, `wss://`; in Node also `tcp://` and `tls://`. */
  readonly endpoints?: readonly string[]
  /** URLs of ip-config, by name or by address, asked in turn; instead of `endpoints`. */
  readonly ipConfig?: string | readonly string[]
  /** What to ask ip-config for; WebSocket by default. TCP is for Node. */
  readonly transport?: 'ws' | 'tcp'
  /** Of frames over WebSocket; Avro by default. */
  readonly encoding?: Encoding
  readonly region?: string
  /** IP addresses to try in place of a host name, such as HTTPDNS gives them. The name itself comes after them. */
  readonly resolve?: (host: string) => readonly string[] | Promise<readonly string[]>
  /** Called before each attempt. */
  readonly getToken: (request: TokenRequest) => string | Promise<string>
  readonly deviceId: string
  readonly platform?: string
  /** Name and version of the program, `app/1.2`. */
  readonly client?: string
  /** Where unacked uplinks and the place among the downlinks survive a restart; of its own for each user and device. */
  readonly storage?: ClientStorage
  /** Uplinks not acked yet; 1,000 by default. */
  readonly outboxMax?: number
  /** Bytes of their payloads; 4 MiB by default. */
  readonly outboxBytesMax?: number
  /** `manual`: a downlink is done with when its `ack` is called, and the next one does not wait for that. */
  readonly ack?: 'auto' | 'manual'
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

export interface TokenRequest {
  /** The server refused the last one as expired: a cached one will not do. */
  readonly isExpired: boolean
}

/** @throws TypeError naming the option, what it got and what it wants */
export function checkOptions (options: ClientOptions): void {
  const { endpoints, ipConfig, transport, encoding, getToken, deviceId } = options
  const urls = endpoints ?? [ipConfig ?? []].flat()
  if ((endpoints === undefined) === (ipConfig === undefined)) wrong('endpoints, ipConfig', options, 'one of the two')
  if (urls.length === 0) wrong(endpoints ? 'endpoints' : 'ipConfig', urls, 'at least one URL')
  for (const url of urls) {
    if (!(endpoints ? /^(wss?|tcp|tls):\/\/./ : /^https?:\/\/./).test(url)) wrong('URL', url, 'ws, wss, tcp, tls; http or https for ipConfig')
  }
  if (typeof getToken !== 'function') wrong('getToken', getToken, 'a function')
  if (typeof deviceId !== 'string' || deviceId === '') wrong('deviceId', deviceId, 'a text')
  if (encoding === 'json' && (transport === 'tcp' || urls.some(url => /^(tcp|tls):/.test(url)))) {
    wrong('encoding', encoding, 'avro, over TCP')
  }
}

function wrong (option: string, got: unknown, want: string): never {
  throw new TypeError(`${option}: got ${JSON.stringify(got)}, want ${want}`)
}
