import t from 'tap'
import { startTestNode } from '../node.js'
import { closeCodes, connected } from './dialects.js'
import { feedAll, type Outcome, servesOthers } from './fuzz-feed.js'
import { type Meal, meal } from './fuzz-meals.js'
import { avro, type Sent, unavro, withLength } from './hand-avro.js'

/** Why this end of a connection is none that protocol.md 4 knows; undefined where it is. */
function wrongEnd ({ received, serverFirst, failure }: Outcome, { first, rest }: Meal): string | undefined {
  if (failure) return failure.message
  let last: Buffer | undefined
  for (let start = 0; start < received.length;) {
    const end = start + 4 + (start + 4 <= received.length ? received.readUInt32BE(start) : 0)
    if (end > received.length) return 'the last frame is not whole'
    last = received.subarray(start + 4, end)
    start = end
  }
  const frame = last && unavro(last)
  if (frame && /^(error|kick|redirect)$/.test(frame.op)) {
    return frame.code in closeCodes ? undefined : `code ${frame.code}`
  }
  // A goodbye is answered by none.
  const goodbye = [first, ...rest].some(part => part.includes(0x0f))
  return serverFirst && !goodbye ? 'closed without a word' : undefined
}

t.test('A node that is fed with mutated frames over TCP', async t => {
  const node = await startTestNode(t, { LEDGERLINE_FRAME_BYTES_MAX: '1024' })
  const { client: bystander } = await connected(t, node, 'TCP', 'bystander')

  t.test('ends each connection as documented, and keeps nothing of it', async t => {
    const cook = (seed: number, hello: Sent) => meal(seed, hello, avro, withLength)
    await feedAll(t, cook, wrongEnd, node, node.tcpPort, 1)
  })

  t.test('serves others as if nothing had been', async t => { await servesOthers(t, node, bystander) })
})
