import { Client } from './client.js'
import type { ClientOptions } from './options.js'
import { urlByIp } from './platform.js'
import type { Platform } from './platform.js'
import { openWebSocket } from './transport-browser.js'
import { RefusedError } from './waits.js'

export type * from './public.js'
export { Client } from './client.js'
export { ClientError, GiveUp, TryLater } from './client-error.js'
export { inDefault, inFile, inIndexedDb, inLocalStorage } from './storage/of-browsers.js'
export { inMemory } from './storage/storage.js'

const browser: Platform = {
  openTransport: async (to, encoding, handlers) => openWebSocket(to, encoding, handlers),
  async getJson (from, withinMs) {
    const late = new AbortController() // React Native has no AbortSignal.timeout
    const timer = setTimeout(() => late.abort(), withinMs)
    try {
      const response = await fetch(urlByIp(from), { signal: late.signal })
      if (!response.ok) throw new RefusedError(response.status, response.headers.get('retry-after'))
      return await response.json()
    } finally {
      clearTimeout(timer)
    }
  },
  watchNetwork (changed, { sleep, wake }) {
    const stopped = new AbortController()
    const { signal } = stopped
    const { addEventListener, document } = globalThis as Partial<typeof globalThis>
    addEventListener?.('online', () => changed(true), { signal })
    document?.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'visible') changed(false)
    }, { signal })
    document?.addEventListener('resume', () => changed(false), { signal }) // a frozen tab thaws, whether it is seen or not
    // A page that is not kept goes on to its end without a word: the server would take a goodbye for a wish to leave.
    addEventListener?.('pagehide', ({ persisted }) => { if (persisted) sleep() }, { signal })
    addEventListener?.('pageshow', ({ persisted }) => { if (persisted) wake() }, { signal })
    return () => stopped.abort()
  },
}

/** One device of one user. Over WebSocket; in Node also over TCP. @throws TypeError for an option that can't be */
export function createClient (options: ClientOptions): Client {
  const client = new Client(options, browser)
  const { transport, endpoints = [] } = options
  if (transport === 'tcp' || [endpoints].flat().some(url => /^(tcp|tls):/.test(url))) {
    throw new TypeError('tcp:// and tls:// are for Node; here it is ws:// and wss://')
  }
  return client
}
