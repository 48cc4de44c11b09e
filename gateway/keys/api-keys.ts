import { timingSafeEqual } from 'node:crypto'
import { GatewayError } from '../../schemas/errors.js'
import { digestOf, idIn, type KeyFile, type StoredKey } from './key-file.js'
import { Quota } from './quota.js'
import { type Scope, scopes } from './scopes.js'

/** Whoever asks with a key that is good. */
export interface Caller {
  /** Of its key; empty for those of `LEDGERLINE_API_KEYS`, which have neither id nor name. */
  readonly id: string
  readonly name: string
  readonly scopes: readonly Scope[]
  readonly requests?: Quota | undefined
  readonly recipients?: Quota | undefined
}

interface KnownKey extends Caller {
  readonly digest: Buffer
  readonly expiresAtMs: number
  readonly isRevoked: boolean
}

/** An answer that goes on, and what ends it. */
interface OpenAnswer {
  readonly caller: Caller
  readonly scope: Scope
  readonly cut: () => void
}

const environment: Caller = { id: '', name: '', scopes }

/**
 * The keys that this node takes: those of the environment, which are good for everything, and those of its file. Keys
 * are compared by digest, and in a time that tells nothing about them; an id is no secret, so it may be looked up.
 */
export class ApiKeys {
  readonly #environment: readonly Buffer[]
  readonly #nowMs: () => number
  readonly #open = new Set<OpenAnswer>()
  #byId: ReadonlyMap<string, KnownKey> = new Map()

  constructor (environmentKeys: readonly string[], nowMs = Date.now) {
    this.#environment = environmentKeys.map(digestOf)
    this.#nowMs = nowMs
  }

  /** Takes the keys of a file instead of those of the one before. What they have used of their quotas stays used. */
  replace ({ keys }: KeyFile): void {
    const before = this.#byId
    this.#byId = new Map(keys.map(key => [key.id, knownKey(key, before.get(key.id))]))
    this.cutStale()
  }

  /** @throws GatewayError `unauthorized` saying what is wrong with the key, without a character of it */
  identify (text: string): Caller {
    const given = digestOf(text)
    const key = this.#byId.get(idIn(text) ?? '')
    if (key && timingSafeEqual(given, key.digest)) {
      if (key.isRevoked) throw new GatewayError('unauthorized', `the API key ${key.id} was revoked`)
      if (key.expiresAtMs <= this.#nowMs()) throw new GatewayError('unauthorized', `the API key ${key.id} has expired`)
      return key
    }
    let known = false
    for (const each of this.#environment) known = timingSafeEqual(given, each) || known
    if (!known) throw new GatewayError('unauthorized', 'this API key is unknown')
    return environment
  }

  /**
   * Of an answer that may go on for days: it is cut when its key is no longer good for it.
   *
   * @returns what says that it has ended
   */
  opened (caller: Caller, scope: Scope, cut: () => void): () => void {
    const answer = { caller, scope, cut }
    this.#open.add(answer)
    return () => { this.#open.delete(answer) }
  }

  /** Cuts the answers whose keys have expired, were revoked, or have lost the scope. */
  cutStale (): void {
    for (const { caller, scope, cut } of this.#open) if (!this.#isGood(caller, scope)) cut()
  }

  #isGood (caller: Caller, scope: Scope): boolean {
    if (caller === environment) return true
    const key = this.#byId.get(caller.id)
    return key !== undefined && key.digest.equals((caller as KnownKey).digest) && !key.isRevoked &&
      key.expiresAtMs > this.#nowMs() && key.scopes.includes(scope)
  }
}

function knownKey (key: StoredKey, before: KnownKey | undefined): KnownKey {
  const { id, name, sha256, scopes, requestsPerSecond, recipientsPerSecond, expiresAt, revokedAt } = key
  return {
    id,
    name,
    scopes,
    digest: Buffer.from(sha256, 'hex'),
    expiresAtMs: expiresAt === undefined ? Infinity : Date.parse(expiresAt),
    isRevoked: revokedAt !== undefined,
    requests: quota(requestsPerSecond, before?.requests),
    recipients: quota(recipientsPerSecond, before?.recipients),
  }
}

function quota (perSecond: number | undefined, before: Quota | undefined): Quota | undefined {
  if (perSecond === undefined) return undefined
  return before?.perSecond === perSecond ? before : new Quota(perSecond, performance.now())
}
