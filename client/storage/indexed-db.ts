import { takeLock } from './browser-lock.js'
import type { ClientStorage } from './storage.js'

const store = 'kept'

/**
 * In IndexedDB: every write is one transaction.
 *
 * @param name of its own for each user and device
 */
export function inIndexedDb (name: string): ClientStorage {
  let release = () => {}
  let isLost = false
  let database: IDBDatabase | undefined
  return {
    async open (lost) {
      isLost = false
      release = await takeLock(`indexed:${name}`, () => {
        isLost = true
        lost()
      })
      const opening = indexedDB.open(`ledgerline:${name}`, 1)
      opening.onupgradeneeded = () => { opening.result.createObjectStore(store) }
      database = await done(opening)
      const kept = database.transaction(store).objectStore(store)
      const [keys, values] = await Promise.all([done(kept.getAllKeys()), done(kept.getAll())])
      return new Map(keys.map((key, i) => [String(key), String(values[i])]))
    },
    async write (changes) {
      if (isLost || database === undefined) return
      // Strict: the default may answer before the disk has it.
      const writing = database.transaction(store, 'readwrite', { durability: 'strict' })
      const kept = writing.objectStore(store)
      for (const [key, value] of changes) {
        if (value === undefined) kept.delete(key)
        else kept.put(value, key)
      }
      await new Promise<void>((resolve, reject) => {
        writing.oncomplete = () => resolve()
        writing.onabort = () => reject(writing.error ?? new Error('the transaction was aborted'))
      })
    },
    async close () {
      database?.close()
      release()
    },
  }
}

async function done<T> (request: IDBRequest<T>): Promise<T> {
  return await new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}
