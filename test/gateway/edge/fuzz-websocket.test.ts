import t from 'tap'
import { startTestNode } from '../node.js'
import { closeCodes, connected } from './dialects.js'
import { feedAll, type Outcome, servesOthers } from './fuzz-feed.js'
import { type Meal, meal } from './fuzz-meals.js'
import { avro, type Sent, unavro } from './hand-avro.js'
import { binary, close, messagesIn, rawFrame, text, upgradeRequest } from './raw-websocket.js'

/** Why this end of a connection is none that protocol.md 4 knows; undefined where it is. */
function wrongEnd ({ received, serverFirst, failure }: Outcome, { rough }: Meal): string | undefined {
  if (failure) return failure.message
  const { messages, bytes } = messagesIn(received) ?? { messages: [], bytes: 0 }
  if (bytes !== received.length) return 'the last message is not whole'
  const [before, closing] = messages.slice(-2)
  if (closing?.opcode !== close) return serverFirst ? 'closed without a close frame' : undefined
  const closeCode = closing.payload.length === 0 ? 1005 : closing.payload.readUInt16BE()
  const code = Object.keys(closeCodes).find(each => closeCodes[each] === closeCode)
  // 1000 answers a goodbye; a close frame of the client's own, which a mutation may make, gets its code back.
  if (code === undefined) return rough || closeCode === 1000 ? undefined : `close code ${closeCode}`
  const frame = before!.opcode === binary ? unavro(before!.payload) : JSON.parse(before!.payload.toString())
  return frame.code === code ? undefined : `close code ${closeCode} behind ${JSON.stringify(frame)}`
}

t.test('A node that is fed with mutated frames over WebSocket', async t => {
  const node = await startTestNode(t, { LEDGERLINE_FRAME_BYTES_MAX: '1024' })
  const { client: bystander } = await connected(t, node, 'WebSocket JSON', 'bystander')

  t.test('ends each connection as documented, and keeps nothing of it', async t => {
    const asJson = (frame: Sent) => Buffer.from(JSON.stringify(frame))
    const inText = (frame: Buffer) => rawFrame(text, frame)
    const inBinary = (frame: Buffer) => rawFrame(binary, frame)
    const [avroUpgrade, jsonUpgrade] = [upgradeRequest('ledgerline.v1.avro'), upgradeRequest('ledgerline.v1.json')]
    const cook = (seed: number, hello: Sent) => seed % 2 === 0
      ? meal(seed, hello, avro, inBinary, avroUpgrade)
      : meal(seed, hello, asJson, inText, jsonUpgrade)
    await feedAll(t, cook, wrongEnd, node, node.httpPort, 1_000_001)
  })

  t.test('serves others as if nothing had been', async t => { await servesOthers(t, node, bystander) })
})
