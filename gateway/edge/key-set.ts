import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose'
import { type Circuit, CircuitBreaker } from '../../ledger/circuit.js'
import { GatewayError } from '../../schemas/errors.js'
import type { Health } from '../../schemas/conditions.js'

type Header = Parameters<JWTVerifyGetKey>[0]
type Token = Parameters<JWTVerifyGetKey>[1]
export type Key = Awaited<ReturnType<JWTVerifyGetKey>>

/** Times of a key set, ms. */
export interface KeySetTimes {
  /** The longest that one request to the key host takes; below the handshake deadline. */
  readonly timeoutMs: number
  /** Keys of this age are asked for anew; until that has worked, they stay in use. */
  readonly freshMs: number
  /** Keys of this age are not used any more. */
  readonly ageMaxMs: number
  /** Requests to the key host are as far apart, whoever asks for keys that it may not have. */
  readonly pauseMs: number
  /** A `kid` that the key host does not have is not looked up again for as long. */
  readonly unknownMs: number
  /**
   * Of the requests that are made by themselves while there is trouble: the first wait, and the longest. Nobody who
   * comes meanwhile makes one, so the longest is also how late the end of the trouble may be noticed.
   */
  readonly retryMs: number
  readonly retryMaxMs: number
}

export const keySetTimes: KeySetTimes = {
  timeoutMs: 3_000,
  freshMs: 600_000,
  ageMaxMs: 86_400_000,
  pauseMs: 1_000,
  unknownMs: 30_000,
  retryMs: 1_000,
  retryMaxMs: 5_000,
}

/** Bytes of a key set: some hundred keys. */
const bytesMax = 1 << 20

/** `kid`s remembered that the key host does not have. */
const unknownMax = 1_000

/**
 * The keys of a JWKS URL. A key host that is away, slow or answers nonsense ends nobody: the keys that were had last
 * stay in use, for a day, and a token that none of them fits is refused with `key-set-unavailable` and a wait.
 *
 * jose's own remote key set gives up its keys when they are ten minutes old and the host does not answer, and takes a
 * `kid` that it does not know for forged where it has asked within its cooldown. So this one fetches, and leaves the
 * choice of a key to jose.
 */
export class KeySet {
  readonly #url: URL
  readonly #health: Health
  readonly #times: KeySetTimes
  readonly #what: string | undefined
  #keys: JWTVerifyGetKey | undefined
  #hadAtMs = -Infinity
  #askedAtMs = -Infinity
  /** The request under way. */
  #running: Promise<void> | undefined
  /** The one behind it, for those that came after it had begun. */
  #next: Promise<void> | undefined
  /** When a `kid` was looked up in vain. */
  readonly #unknown = new Map<string, number>()
  readonly #circuit: CircuitBreaker
  /** After a failure that has not opened it. */
  #again: NodeJS.Timeout | undefined
  /** The last request has failed. The next one is made by itself. */
  #isFailing = false
  #stopped = false

  /** @param what whose keys they are, where there are several sets */
  constructor (url: string, health: Health, times = keySetTimes, what?: string) {
    this.#url = new URL(url)
    this.#what = what
    this.#health = health
    this.#times = times
    this.#circuit = new CircuitBreaker({
      dependency: 'key-set',
      failuresMax: 2, // one may be by chance; a client who meets it asks again himself
      waitMs: times.retryMs,
      waitMsMax: times.retryMaxMs,
      probe: () => this.#ask(),
      away: reason => { this.#tell(reason) },
    })
  }

  get circuit (): Circuit { return this.#circuit }

  /** Asks for the keys, so that the first client does not wait for them. */
  start (): void { this.#ask().catch(() => {}) }

  stop (): void {
    this.#stopped = true
    this.#circuit.stop()
    clearTimeout(this.#again)
    this.#health.end('key-set', this.#what)
  }

  /**
   * @returns what may have signed the token: one key where it names its `kid`
   * @throws GatewayError `bad-token` where the host has no such key; `key-set-unavailable` where that can't be known
   */
  async keysFor (header: Header, token: Token): Promise<readonly Key[]> {
    await this.#refresh()
    const known = await this.#known(header, token)
    return known.length > 0 ? known : await this.#lookUp(header, token)
  }

  /** The keys as of now, for a token without `kid` that none of `keysFor` fits: the key may be a new one. */
  async newestFor (header: Header, token: Token): Promise<readonly Key[]> {
    await this.#askAnew()
    const keys = await this.#known(header, token)
    if (keys.length === 0) throw unknownKey()
    return keys
  }

  /** Keys that are old are asked for by whoever comes next, who waits for them; not while the host is in trouble. */
  async #refresh (): Promise<void> {
    const ageMs = now() - this.#hadAtMs
    if (ageMs < this.#times.freshMs || this.#isFailing || this.#circuit.state !== 'closed') return
    await this.#ask().catch(() => {})
  }

  get #hasKeys (): boolean { return this.#keys !== undefined && now() - this.#hadAtMs < this.#times.ageMaxMs }

  async #known (header: Header, token: Token): Promise<Key[]> {
    if (!this.#hasKeys) return []
    try {
      return [await this.#keys!(header, token)]
    } catch (err) {
      if (err instanceof errors.JWKSNoMatchingKey) return []
      if (err instanceof errors.JWKSMultipleMatchingKeys) return await all(err)
      if (err instanceof errors.JOSENotSupported) throw new GatewayError('bad-token', err.message, { cause: err })
      // The key itself is broken: theirs to mend.
      throw this.#unavailable(err)
    }
  }

  async #lookUp (header: Header, token: Token): Promise<readonly Key[]> {
    const kid = typeof header.kid === 'string' ? header.kid : undefined
    if (kid !== undefined) {
      const askedAtMs = this.#unknown.get(kid)
      if (askedAtMs !== undefined && now() - askedAtMs < this.#times.unknownMs) throw unknownKey()
    }
    await this.#askAnew()
    const keys = await this.#known(header, token)
    if (keys.length > 0) return keys
    if (kid !== undefined) this.#remember(kid)
    throw unknownKey()
  }

  #remember (kid: string): void {
    this.#unknown.delete(kid)
    this.#unknown.set(kid, now())
    if (this.#unknown.size > unknownMax) this.#unknown.delete(this.#unknown.keys().next().value!)
  }

  /** @throws GatewayError `key-set-unavailable` */
  async #askAnew (): Promise<void> {
    try {
      this.#circuit.check()
      await (this.#running ? this.#askBehind(this.#running) : this.#ask())
    } catch (err) {
      throw this.#unavailable(err)
    }
  }

  /** One that is under way may have been answered before the key was there. Where it fails, so would the next one. */
  #askBehind (running: Promise<void>): Promise<void> {
    this.#next ??= running.finally(() => { this.#next = undefined }).then(() => this.#ask())
    return this.#next
  }

  /** One request at a time, for all who wait. */
  #ask (): Promise<void> {
    this.#running ??= this.#request().finally(() => { this.#running = undefined })
    return this.#running
  }

  async #request (): Promise<void> {
    const waitMs = this.#askedAtMs + this.#times.pauseMs - now()
    if (waitMs > 0) await new Promise(resolve => setTimeout(resolve, waitMs))
    this.#askedAtMs = now()
    try {
      const keys = createLocalJWKSet(await fetchKeys(this.#url, this.#times.timeoutMs))
      this.#keys = keys
      this.#hadAtMs = now()
      this.#isFailing = false
      this.#circuit.answered()
      clearTimeout(this.#again)
      this.#health.end('key-set', this.#what)
    } catch (cause) {
      const err = new Error(inWords(cause as Error), { cause })
      this.#failed(err)
      throw err
    }
  }

  #failed (err: Error): void {
    if (this.#stopped) return
    this.#isFailing = true
    this.#circuit.unanswered(err)
    if (this.#circuit.state !== 'closed') return
    this.#tell(err.message)
    clearTimeout(this.#again)
    this.#again = setTimeout(() => { this.#ask().catch(() => {}) }, this.#times.retryMs).unref()
  }

  #tell (reason: string): void {
    const inUse = this.#hasKeys ? '; the keys that were had last are in use' : ''
    this.#health.begin('key-set', `${this.#url.origin}${this.#url.pathname}: ${reason}${inUse}`, this.#what)
  }

  /** They come back once it has been tried again, and not all at once. */
  #unavailable (cause: unknown): GatewayError {
    const retryAfterMs = Math.ceil(this.#circuit.retryAfterMs + this.#times.retryMs * (1 + 4 * Math.random()))
    return new GatewayError('key-set-unavailable', undefined, { cause, retryAfterMs })
  }
}

function now (): number { return performance.now() }

function unknownKey (): GatewayError {
  return new GatewayError('bad-token', 'the key set has no key for this token')
}

async function all (keys: AsyncIterable<Key>): Promise<Key[]> {
  const found: Key[] = []
  for await (const key of keys) found.push(key)
  return found
}

/** @throws Error where the answer is not a set with a key that could verify a token */
async function fetchKeys (url: URL, timeoutMs: number): Promise<JSONWebKeySet> {
  const response = await fetch(url, {
    signal: AbortSignal.timeout(timeoutMs),
    redirect: 'manual',
    headers: { accept: 'application/json, application/jwk-set+json' },
  })
  if (response.status !== 200) {
    await response.body?.cancel()
    throw new Error(`answers ${response.status}`)
  }
  const text = await readText(response)
  let set: { keys?: unknown } | null
  try {
    set = JSON.parse(text)
  } catch (cause) {
    throw new Error('answers something else than JSON', { cause })
  }
  if (!Array.isArray(set?.keys) || !set.keys.some(isPublicKey)) throw new Error('answers without a key')
  return set as JSONWebKeySet
}

function isPublicKey (key: { kty?: unknown } | null): boolean {
  return typeof key?.kty === 'string' && ['RSA', 'EC', 'OKP'].includes(key.kty)
}

async function readText ({ body }: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  // Node's streams can be iterated, whatever the types of the web say.
  for await (const chunk of (body ?? []) as unknown as AsyncIterable<Uint8Array>) {
    bytes += chunk.length
    if (bytes > bytesMax) throw new Error(`answers more than ${bytesMax} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

/** What `fetch` says is in its cause. */
function inWords (err: Error): string {
  if (err.name === 'TimeoutError') return 'does not answer in time'
  const { cause, message } = err
  if (!(err instanceof TypeError) || !(cause instanceof Error)) return message
  return cause.message || (cause as NodeJS.ErrnoException).code || message
}
