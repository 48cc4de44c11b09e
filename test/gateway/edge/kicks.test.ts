import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { startTestNode, type TestNode, until } from '../node.js'
import { closeCodes, connected, dialects, type Speaker } from './dialects.js'
import { unavro } from './hand-avro.js'

/** So much that it waits in buffers while the client does not read; below the bound of a slow consumer. */
const payload = 'x'.repeat(8_000)
const count = 100

/** Sends without end, so that there is always something that nobody has read yet: closing on that would be a reset. */
function chatter (t: Test, client: Speaker): void {
  const timer = setInterval(() => { client.sendAll(Array.from({ length: 100 }, () => ({ op: 'ping' }))) }, 1)
  t.teardown(() => { clearInterval(timer) })
}

/** Writes a lot to a client, so that what follows stands behind it. */
async function burden (node: TestNode): Promise<void> {
  await Promise.all(Array.from({ length: count }, () => node.push('ann', payload)))
  await until('all is written', async () => (await node.request('GET', '/metrics')).text.includes(`downlinks_total ${count}`))
}

async function readsItAll (t: Test, client: Speaker, code: string): Promise<void> {
  const { left, closeCode } = await client.closed()
  const seqs = left.filter(({ op }) => op === 'downlink').map(({ seq }) => seq)
  t.strictSame(seqs, Array.from({ length: count }, (_, i) => i + 1))
  t.match(left.at(-1), { op: 'kick', code }, 'the kick comes last')
  if (closeCode !== undefined) t.equal(closeCode, closeCodes[code])
}

for (const dialect of dialects) {
  t.test(`A kick behind much else and against a stream, over ${dialect},`, async t => {
    t.test('is read before the close when the login policy asks for it', async t => {
      const node = await startTestNode(t, { LEDGERLINE_LOGIN_POLICY: 'user' })
      const { client } = await connected(t, node, dialect, 'ann')
      await burden(node)
      chatter(t, client)
      await connected(t, node, 'TCP', 'ann', { deviceId: 'tablet', sessionId: 's2', downlinkSeq: 0 })
      await readsItAll(t, client, 'kicked')
      t.strictSame(node.logged, [])
    })

    t.test('is read before the close when an operator asks for it', async t => {
      const node = await startTestNode(t)
      const { client, welcome } = await connected(t, node, dialect, 'ann')
      await burden(node)
      chatter(t, client)
      await until('it is routed', async () =>
        (await node.request('DELETE', `/v1/connections/${welcome.connectionId}`)).status === 202)
      await readsItAll(t, client, 'kicked')
      t.strictSame(node.logged, [])
    })
  })
}

t.test('A refusal of an address that opens connections too fast', async t => {
  t.test('is read before the close by a client that has sent what nobody reads', async t => {
    const node = await startTestNode(t, { LEDGERLINE_ACCEPT_RATE: '1' })
    const { client: inside } = await connected(t, node, 'TCP', 'ann')
    inside.destroy()
    const outcomes = await Promise.all(Array.from({ length: 10 }, () => talkative(node.tcpPort)))
    t.strictSame(outcomes.filter(({ error }) => error !== undefined), [], 'no reset takes the last frame with it')
    const told = outcomes.filter(({ bytes }) => bytes.length > 4).map(({ bytes }) => unavro(bytes.subarray(4)))
    t.ok(told.length >= 9)
    t.strictSame(told.filter(({ op, code }) => op !== 'error' || code !== 'rate-limited'), [])
  })

  t.test('is an answer that a WebSocket client can read', async t => {
    const node = await startTestNode(t, { LEDGERLINE_ACCEPT_RATE: '1' })
    await connected(t, node, 'WebSocket JSON', 'ann')
    await t.rejects(async () => { for (;;) await connected(t, node, 'WebSocket JSON', 'ann') }, /429/)
  })
})

/** Sends at once what would be far too much, and reads until the end. One that is let in hangs up. */
async function talkative (port: number): Promise<{ bytes: Buffer, error: Error | undefined }> {
  const socket = connect({ host: '127.0.0.1', port })
  const chunks: Buffer[] = []
  let error: Error | undefined
  socket.on('data', chunk => { chunks.push(chunk) })
  socket.on('error', err => { error = err })
  const closed = new Promise(resolve => { socket.on('close', resolve) })
  socket.write(Buffer.concat([Buffer.from([0, 0, 1, 0, 1]), Buffer.alloc(20_000)]))
  await closed
  return { bytes: Buffer.concat(chunks), error }
}
