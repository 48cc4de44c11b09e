import { once } from 'node:events'
import { get } from 'node:http'
import type { IncomingMessage } from 'node:http'
import t from 'tap'
import { givenApp, givenUplinks, key, uplink } from './given.js'

t.test('Uplinks of one block come all, however large their lines are together', { timeout: 850_000 }, async t => {
  const payload = new Uint8Array(65_000) // each byte of it is six characters of JSON, and a string has its bound
  const block = Array.from({ length: 1_400 }, (_, i) => uplink('ann', i + 1, { payload }))
  const { app } = givenApp(t, { logReader: givenUplinks([[block]]).log })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const [response] = await once(get(`${url}/v1/uplinks`, { headers: key }), 'response') as [IncomingMessage]
  let lines = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, at + 1)) lines++
  }
  t.equal(lines, 1_400)
  t.ok(response.complete)
})
