import { request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import { json } from 'node:stream/consumers'
import { Client } from './client.js'
import type { ClientOptions } from './options.js'
import type { Address, Platform } from './platform.js'
import { openTcp } from './transport-tcp.js'
import { lookupOf, openWebSocket } from './transport-ws.js'
import { RefusedError } from './waits.js'

export type * from './public.js'
export { Client } from './client.js'
export { ClientError, GiveUp, TryLater } from './client-error.js'
export { inDefault, inFile, inIndexedDb, inLocalStorage } from './storage/of-node.js'
export { inMemory } from './storage/storage.js'

const node: Platform = {
  async openTransport (to, encoding, handlers) {
    return /^(tcp|tls):/.test(to.url) ? openTcp(to, handlers) : openWebSocket(to, encoding, handlers)
  },
  getJson,
  watchNetwork: () => () => {}, // Node hears of nothing: see Client.networkChanged
}

/** One device of one user, over WebSocket or TCP. @throws TypeError for an option that can't be */
export function createClient (options: ClientOptions): Client {
  return new Client(options, node)
}

/** Not `fetch`, which can't be told the address of a host. */
async function getJson ({ url, ip }: Address, withinMs: number): Promise<unknown> {
  return await new Promise((resolve, reject) => {
    const request = url.startsWith('https:') ? requestHttps : requestHttp
    const asking = request(url, { lookup: lookupOf(ip), signal: AbortSignal.timeout(withinMs), agent: false })
    asking.on('error', reject)
    asking.on('response', response => {
      if (response.statusCode === 200) json(response).then(resolve, reject)
      else reject(new RefusedError(response.statusCode, response.headers['retry-after']))
    })
    asking.end()
  })
}
