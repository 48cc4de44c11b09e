import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { drawKey, type StoredKey } from '../../../gateway/keys/key-file.js'

/** What a key is, but for what is drawn. */
export type Wanted = Partial<Omit<StoredKey, 'id' | 'sha256'>>

/** A new key, and its row in the file. */
export function drawn ({ name = 'of a test', scopes = ['push'], ...more }: Wanted = {}) {
  const { key, id, sha256 } = drawKey()
  const stored: StoredKey = { id, name, sha256, scopes, createdAt: '2026-01-01T00:00:00Z', ...more }
  return { key, id, stored }
}

/** A file of keys, which `put` replaces as `ledgerline keys` does. */
export async function givenKeyFile (t: Test, keys: readonly StoredKey[]) {
  const directory = await mkdtemp(join(tmpdir(), 'ledgerline-keys-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  const path = join(directory, 'keys.json')
  const putText = async (text: string) => {
    await writeFile(`${path}.new`, text)
    await rename(`${path}.new`, path)
  }
  const put = (next: readonly StoredKey[]) => putText(JSON.stringify({ keys: next }))
  await put(keys)
  return { path, put, putText }
}
