import { changeKeyFile, readKeyFile } from './changed-file.js'
import { drawKey, type StoredKey } from './key-file.js'

/** What a new key is to be good for. */
export type WantedKey = Pick<StoredKey, 'name' | 'scopes' | 'requestsPerSecond' | 'recipientsPerSecond' | 'expiresAt'>

/** What is shown of a key. */
export type ListedKey = Omit<StoredKey, 'sha256'> & { readonly state: 'good' | 'expired' | 'revoked' }

export function listedKey ({ sha256: _, ...key }: StoredKey): ListedKey {
  const isExpired = key.expiresAt !== undefined && Date.parse(key.expiresAt) <= Date.now()
  return { ...key, state: key.revokedAt !== undefined ? 'revoked' : isExpired ? 'expired' : 'good' }
}

/** @throws as `readKeyFile` */
export async function listKeys (path: string): Promise<ListedKey[]> {
  return (await readKeyFile(path)).keys.map(listedKey)
}

/**
 * Makes a key and keeps its digest in the file.
 *
 * @returns the key itself, which nobody can tell later, and what is shown of it
 * @throws as `changeKeyFile`
 */
export async function createKey (path: string, wanted: WantedKey): Promise<ListedKey & { readonly key: string }> {
  const { key, id, sha256 } = drawKey()
  const { name, scopes, requestsPerSecond, recipientsPerSecond, expiresAt } = wanted
  const stored: StoredKey = {
    id,
    name,
    sha256,
    scopes,
    ...requestsPerSecond === undefined ? {} : { requestsPerSecond },
    ...recipientsPerSecond === undefined ? {} : { recipientsPerSecond },
    createdAt: new Date().toISOString(),
    ...expiresAt === undefined ? {} : { expiresAt },
  }
  await changeKeyFile(path, ({ keys }) => ({ keys: [...keys, stored] }))
  return { key, ...listedKey(stored) }
}

/**
 * Has gateways refuse a key from now on. One that was revoked before stays as it is.
 *
 * @returns undefined where the file has no such key; one that is not there is not made
 * @throws as `changeKeyFile`
 */
export async function revokeKey (path: string, keyId: string): Promise<ListedKey | undefined> {
  const known = await readKeyFile(path)
  if (!known.keys.some(({ id }) => id === keyId)) return undefined
  let revoked: StoredKey | undefined
  await changeKeyFile(path, ({ keys }) => ({
    keys: keys.map(key => {
      if (key.id !== keyId) return key
      revoked = { ...key, revokedAt: key.revokedAt ?? new Date().toISOString() }
      return revoked
    }),
  }))
  return revoked && listedKey(revoked)
}
