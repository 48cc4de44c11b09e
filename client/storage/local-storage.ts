import { takeLock } from './browser-lock.js'
import type { ClientStorage } from './storage.js'

/**
 * In `localStorage`: simple, synchronous, some 5 MB for the whole origin. IndexedDB holds more.
 *
 * @param name of its own for each user and device
 */
export function inLocalStorage (name: string): ClientStorage {
  const prefix = `ledgerline:${name}:`
  let release = () => {}
  let isLost = false
  return {
    async open (lost) {
      isLost = false
      release = await takeLock(`local:${name}`, () => {
        isLost = true
        lost()
      })
      const keys = Object.keys(localStorage).filter(key => key.startsWith(prefix))
      return new Map(keys.map(key => [key.slice(prefix.length), localStorage.getItem(key)!]))
    },
    async write (changes) {
      if (isLost) return
      for (const [key, value] of changes) {
        if (value === undefined) localStorage.removeItem(prefix + key)
        else localStorage.setItem(prefix + key, value)
      }
    },
    close: async () => release(),
  }
}
