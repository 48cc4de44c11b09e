import { takeLock } from './browser-lock.js'
import { closed } from './storage.js'
import type { ClientStorage } from './storage.js'

const store = 'kept'

/**
 * In IndexedDB: every write is one transaction.
 *
 * @param name of its own for each user and device
 */
export function inIndexedDb (name: string): ClientStorage {
  let release: (() => void) | undefined
  let isLost = false
  let database: IDBDatabase | undefined

  async function openDatabase (): Promise<IDBDatabase> {
    if (typeof indexedDB === 'undefined') throw new Error('there is no IndexedDB here')
    const opening = indexedDB.open(`ledgerline:${name}`, 1)
    opening.onupgradeneeded = () => { opening.result.createObjectStore(store) }
    const opened = await done(opening)
    /** The browser closed it, as where its data were cleared. */
    opened.onclose = () => { if (database === opened) database = undefined }
    // Another page wants to delete it, and would wait for as long as we have it open.
    opened.onversionchange = () => {
      opened.close()
      if (database === opened) database = undefined
    }
    return opened
  }

  return {
    async open (lost, isAgain = false) {
      if (release === undefined || !isAgain) {
        isLost = false
        release = await takeLock(`indexed:${name}`, isAgain, () => {
          isLost = true
          lost()
        })
      }
      database = await openDatabase()
      const kept = database.transaction(store).objectStore(store)
      const [keys, values] = await Promise.all([done(kept.getAllKeys()), done(kept.getAll())])
      return new Map(keys.map((key, i) => [String(key), String(values[i])]))
    },
    async write (changes) {
      if (isLost) return
      if (database === undefined) throw closed('the database was closed from outside')
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
      database = undefined
      release?.()
      release = undefined
    },
  }
}

async function done<T> (request: IDBRequest<T>): Promise<T> {
  return await new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}
