import { timingSafeEqual } from 'node:crypto'
import { GatewayError } from '../../schemas/errors.js'
import type { App } from '../apps.js'
import { digestOf, idIn, type KeyFile, type StoredKey } from './key-file.js'
import { Quota } from './quota.js'
import { type Scope, scopes } from './scopes.js'

/** Whoever asks with a key that is good. */
export interface Caller {
  /** Whose users it may ask about; empty for the default one. */
  readonly app: string
  /** Of its key; empty for those of `LEDGERLINE_API_KEYS`, which have neither id nor name. */
  readonly id: string
  readonly name: string
  readonly scopes: readonly Scope[]
  readonly requests?: Quota | undefined
  readonly recipients?: Quota | undefined
  /** What all keys of its app have together. */
  readonly ofApp?: SharedQuotas | undefined
}

/** Of an app; they change with its entry in the list, for whoever is under way, too. */
interface SharedQuotas {
  requests: Quota | undefined
  recipients: Quota | undefined
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
  readonly goesOn: () => boolean
}

const environment: Caller = { app: '', id: '', name: '', scopes }

/** Where keys without an id are from: `LEDGERLINE_API_KEYS`, or the data directory, in which a first start made one. */
export type KeySource = 'environment' | 'data-directory'

type KeysById = ReadonlyMap<string, KnownKey>

const noKeys: KeysById = new Map()

/**
 * The keys that this node takes: those of the environment or the data directory, which are good for everything, and
 * those of its file and of the file of each app. Keys are compared by digest, and in a time that tells nothing about
 * them; an id is no secret, so it may be looked up. A key that stands in the files of two apps is of neither.
 */
export class ApiKeys {
  readonly #environment: readonly Buffer[]
  readonly #nowMs: () => number
  readonly #open = new Set<OpenAnswer>()
  readonly #ofApps = new Map<string, KeysById>()
  readonly #quotas = new Map<string, SharedQuotas>()

  constructor (
    environmentKeys: readonly string[], nowMs = Date.now, apps: readonly App[] = [],
    readonly source: KeySource = 'environment'
  ) {
    this.#environment = environmentKeys.map(digestOf)
    this.#nowMs = nowMs
    this.useApps(apps)
  }

  /** Takes the quotas of the apps that there are now. What they have used of those that stay stays used. */
  useApps (apps: readonly App[]): void {
    const gone = new Set(this.#quotas.keys())
    for (const { name, quotas: { requestsPerSecond, recipientsPerSecond } } of apps) {
      gone.delete(name)
      const shared = this.#quotas.get(name) ?? { requests: undefined, recipients: undefined }
      shared.requests = quota(requestsPerSecond, shared.requests)
      shared.recipients = quota(recipientsPerSecond, shared.recipients)
      this.#quotas.set(name, shared)
    }
    for (const name of gone) this.#quotas.delete(name)
  }

  /**
   * Takes the keys of a file instead of those of the one before. What they have used of their quotas stays used.
   *
   * @param app whose file it is; empty for the default one
   */
  replace ({ keys }: KeyFile, app = ''): void {
    const before = this.#ofApps.get(app) ?? noKeys
    this.#ofApps.set(app, new Map(keys.map(key =>
      [key.id, { ...knownKey(app, key, before.get(key.id)), ofApp: this.#quotas.get(app) }])))
    this.cutStale()
  }

  /** @throws GatewayError `unauthorized` saying what is wrong with the key, without a character of it */
  identify (text: string): Caller {
    const given = digestOf(text)
    const [key, another] = this.#knownAs(idIn(text) ?? '', given)
    if (another) throw new GatewayError('unauthorized', `the API key ${key!.id} stands in the files of two apps`)
    if (key) {
      if (key.isRevoked) throw new GatewayError('unauthorized', `the API key ${key.id} was revoked`)
      if (key.expiresAtMs <= this.#nowMs()) throw new GatewayError('unauthorized', `the API key ${key.id} has expired`)
      return key
    }
    let known = false
    for (const each of this.#environment) known = timingSafeEqual(given, each) || known
    if (!known) throw new GatewayError('unauthorized', 'this API key is unknown')
    return environment
  }

  /** Ids may be the same in the files of several apps, for whoever writes one does not know the others. */
  #knownAs (id: string, digest: Buffer): KnownKey[] {
    const found: KnownKey[] = []
    for (const byId of this.#ofApps.values()) {
      const key = byId.get(id)
      if (key && timingSafeEqual(digest, key.digest)) found.push(key)
    }
    return found
  }

  /**
   * Of an answer that may go on for days: it is cut when its key is no longer good for it.
   *
   * @param goesOn whether the session that it was asked for in goes on; always where it was asked for with a key
   * @returns what says that it has ended
   */
  opened (caller: Caller, scope: Scope, cut: () => void, goesOn = () => true): () => void {
    const answer = { caller, scope, cut, goesOn }
    this.#open.add(answer)
    return () => { this.#open.delete(answer) }
  }

  /** Cuts the answers whose keys have expired, were revoked, or have lost the scope, or whose sessions are over. */
  cutStale (): void {
    for (const { caller, scope, cut, goesOn } of this.#open) if (!goesOn() || !this.#isGood(caller, scope)) cut()
  }

  #isGood (caller: Caller, scope: Scope): boolean {
    return this.current(caller)?.scopes.includes(scope) ?? false
  }

  /** @returns the caller's key as it is now; undefined where it is no longer good */
  current (caller: Caller): Caller | undefined {
    if (caller === environment) return caller
    const key = this.#ofApps.get(caller.app)?.get(caller.id)
    const isGood = key !== undefined && key.digest.equals((caller as KnownKey).digest) && !key.isRevoked &&
      key.expiresAtMs > this.#nowMs()
    return isGood ? key : undefined
  }
}

function knownKey (app: string, key: StoredKey, before: KnownKey | undefined): KnownKey {
  const { id, name, sha256, scopes, requestsPerSecond, recipientsPerSecond, expiresAt, revokedAt } = key
  return {
    app,
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
