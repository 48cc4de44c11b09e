import { mkdir } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { inFile } from './file.js'
import { inIndexedDb as inIndexedDbOfBrowsers } from './indexed-db.js'
import { inLocalStorage as inLocalStorageOfBrowsers } from './local-storage.js'
import type { ClientStorage } from './storage.js'

/*
  The storages as Node has them: every build of the client exports the same names (see public.ts).
*/

export { inFile } from './file.js'

/** In `~/.ledgerline/<name>.journal`, see `inFile`. */
export function inDefault (name: string): ClientStorage {
  const path = join(homedir(), '.ledgerline', `${encodeURIComponent(name)}.journal`)
  const file = inFile(path)
  return {
    ...file,
    async open (lost, isAgain) {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 })
      return await file.open(lost, isAgain)
    },
  }
}

/** @throws Error in Node itself, which has no IndexedDB; where something brings one (Electron, a test) it is used */
export function inIndexedDb (name: string): ClientStorage {
  if (typeof indexedDB === 'undefined') absent('inIndexedDb', 'IndexedDB')
  return inIndexedDbOfBrowsers(name)
}

/** @throws Error in Node itself, which has no localStorage; where something brings one (Electron, a test) it is used */
export function inLocalStorage (name: string): ClientStorage {
  if (typeof localStorage === 'undefined') absent('inLocalStorage', 'localStorage')
  return inLocalStorageOfBrowsers(name)
}

function absent (name: string, what: string): never {
  throw new Error(`${name}: Node has no ${what}. Use inFile(path), or inDefault(name) to take what is there`)
}
