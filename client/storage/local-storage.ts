import { takeLock } from './browser-lock.js'
import { closed } from './storage.js'
import type { ClientStorage } from './storage.js'

/**
 * In `localStorage`: simple, synchronous, some 5 MB for the whole origin. IndexedDB holds more.
 *
 * @param name of its own for each user and device
 */
export function inLocalStorage (name: string): ClientStorage {
  const prefix = `ledgerline:${name}:`
  let release: (() => void) | undefined
  let isLost = false
  /** A key that is there, unless somebody has emptied the storage. */
  let witness: string | undefined
  return {
    async open (lost, isAgain = false) {
      if (typeof localStorage === 'undefined') throw new Error('there is no localStorage here')
      if (release === undefined || !isAgain) {
        isLost = false
        release = await takeLock(`local:${name}`, isAgain, () => {
          isLost = true
          lost()
        })
      }
      const keys = Object.keys(localStorage).filter(key => key.startsWith(prefix))
      witness = keys[0]
      return new Map(keys.map(key => [key.slice(prefix.length), localStorage.getItem(key)!]))
    },
    async write (changes) {
      if (isLost) return
      if (witness !== undefined && localStorage.getItem(witness) === null) throw closed('localStorage was emptied from outside')
      for (const [name, value] of changes) {
        const key = prefix + name
        if (value !== undefined) {
          localStorage.setItem(key, value)
          witness = key
        } else {
          localStorage.removeItem(key)
          if (witness === key) witness = undefined
        }
      }
    },
    async close () {
      release?.()
      release = undefined
    },
  }
}
