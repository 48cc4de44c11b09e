import { request } from 'node:http'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { entriesOf } from '../../../evidence/entries.js'
import { openRemoteLog } from '../../../ledger/remote.js'
import type { Fact } from '../../../schemas/facts.js'

/** What the ledger of a running node holds about a user, oldest first. */
export async function factsOf (
  node: { readonly http: string }, userId: string, apiKey?: string
): Promise<Array<Fact & { [field: string]: any }>> {
  const log = await openLog(node, apiKey)
  const facts = []
  for await (const { entry } of entriesOf(log, userId)) facts.push(entry.fact)
  await log.close()
  return facts
}

/** The streams of a running node, over HTTP. */
export function openLog ({ http }: { readonly http: string }, apiKey = 'the-key-of-a-test-node') {
  return openRemoteLog({
    async get (path, signal) {
      const asked = request(http + path, { headers: { authorization: `Bearer ${apiKey}` }, signal }).end()
      const [response] = await once(asked, 'response') as [IncomingMessage]
      if (response.statusCode !== 200) throw new Error(`${path} was answered with ${response.statusCode}`)
      return response
    },
  })
}
