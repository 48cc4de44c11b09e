import { inIndexedDb } from './indexed-db.js'
import type { ClientStorage } from './storage.js'

/*
  The storages as browsers have them: every build of the client exports the same names (see public.ts).
*/

export { inIndexedDb } from './indexed-db.js'
export { inLocalStorage } from './local-storage.js'

/**
 * Takes what is there: IndexedDB in browsers, a file in Node. Where neither is, the client goes on in memory and tells
 * `storageFailed`.
 *
 * @param name of its own for each user and device
 */
export function inDefault (name: string): ClientStorage {
  return inIndexedDb(name)
}

/**
 * In Node: in a file, synced before a write counts. It belongs to one process at a time.
 *
 * @param path of its own for each user and device; its folder exists
 * @throws Error in browsers, which have no files
 */
export function inFile (path: string): ClientStorage {
  throw new Error(`inFile: no files here for ${path}. Use inIndexedDb(name), or inDefault(name) to take what is there`)
}
