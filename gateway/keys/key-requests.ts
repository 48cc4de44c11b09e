import { GatewayError } from '../../schemas/errors.js'
import { ConfigError } from '../setting.js'
import type { ApiKeys, Caller, KeySource } from './api-keys.js'
import { KeyFileUnusable, readKeyFile } from './changed-file.js'
import { keysMax } from './key-file.js'
import type { KeyFiles } from './key-files.js'
import { createKey, type ListedKey, listKeys, revokeKey, type WantedKey } from './stored-keys.js'

const presentKeys: Readonly<Record<KeySource, string>> = {
  environment: 'its keys are those of LEDGERLINE_API_KEYS',
  'data-directory': 'its key is that of the file api-key in its data directory',
}

/** Keys as operators ask for them over HTTP: those of the files that this node reads. */
export class KeyRequests {
  constructor (readonly files: Pick<KeyFiles, 'pathOf'>, readonly apiKeys: ApiKeys) {}

  /** @throws GatewayError `not-found` where the app has no file; `not-ready` where it can't be used */
  async list (app: string): Promise<ListedKey[]> { return await this.#in(app, listKeys) }

  /**
   * Makes a key that this node takes at once, and others that read the same file within a second.
   *
   * @throws GatewayError as `list`; `forbidden` where the caller would give what he has not; `bad-request`
   */
  async create (app: string, wanted: WantedKey, { scopes }: Caller): Promise<ListedKey & { readonly key: string }> {
    const lacking = wanted.scopes.find(scope => !scopes.includes(scope))
    if (lacking !== undefined) {
      throw new GatewayError('forbidden', `your API key has not the scope ${lacking}, so it can give it to no other key`)
    }
    const { expiresAt } = wanted
    if (expiresAt !== undefined && Date.parse(expiresAt) <= Date.now()) {
      throw new GatewayError('bad-request', 'body/expiresAt: want a time to come')
    }
    return await this.#in(app, async path => {
      if ((await readKeyFile(path)).keys.length >= keysMax) {
        throw new GatewayError('bad-request', `${path} has ${keysMax} keys, and may have no more: take out revoked ones`)
      }
      const created = await createKey(path, wanted)
      await this.#take(app, path)
      return created
    })
  }

  /** @throws GatewayError as `list`; `not-found` where there is no such key */
  async revoke (app: string, keyId: string): Promise<ListedKey> {
    return await this.#in(app, async path => {
      const revoked = await revokeKey(path, keyId)
      if (!revoked) throw new GatewayError('not-found', `there is no API key ${keyId} in ${path}`)
      await this.#take(app, path)
      return revoked
    })
  }

  /** Its app may have gone, or have another file, since the request came. */
  async #take (app: string, path: string): Promise<void> {
    const file = await readKeyFile(path)
    if (this.files.pathOf(app) === path) this.apiKeys.replace(file, app)
  }

  async #in<T> (app: string, work: (path: string) => Promise<T>): Promise<T> {
    const path = this.files.pathOf(app)
    if (path === undefined) {
      throw new GatewayError('not-found', app === ''
        ? 'this node has no file of API keys: start it with LEDGERLINE_API_KEYS_FILE; ' +
          presentKeys[this.apiKeys.source]
        : `the app ${app} has no file of API keys: name one as apiKeysFile in LEDGERLINE_APPS`)
    }
    try {
      return await work(path)
    } catch (err) {
      if (!(err instanceof KeyFileUnusable || err instanceof ConfigError)) throw err
      throw new GatewayError('not-ready', err.message, { cause: err })
    }
  }
}
