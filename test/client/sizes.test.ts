import fc from 'fast-check'
import t from 'tap'
import { createClient } from '../../client/node.js'
import { uplinkBytes } from '../../client/payloads.js'
import { frameBytes } from '../../client/transport-tcp.js'
import { encodeFrameJson } from '../../schemas/frame-codec.js'
import type { Uplink } from '../../schemas/frames.js'
import { startProcess, tokenFor } from '../faults/node-process.js'

t.test('The size of an uplink', async t => {
  t.test('is that of its frame, in either encoding', async t => {
    const text = fc.string({ unit: fc.constantFrom('a', '"', '\\', '\u0001', 'é', '☃', '😀'), maxLength: 200 })
    const payload = fc.oneof(fc.uint8Array({ maxLength: 300 }), text.map(each => Buffer.from(each)))
    fc.assert(fc.property(fc.record({
      op: fc.constant('uplink' as const),
      seq: fc.integer({ min: 1, max: 2 ** 53 - 1 }),
      service: text,
      payload,
      priority: fc.integer(),
      roomId: text,
    }), (uplink: Uplink) => {
      t.equal(uplinkBytes(uplink, 'avro'), frameBytes(uplink, 0).length)
      t.equal(uplinkBytes(uplink, 'json'), Buffer.byteLength(encodeFrameJson(uplink)))
    }), { numRuns: 300 })
  })
})

t.test('A client that speaks JSON to a gateway', async t => {
  const gateway = await startProcess(t, t.testdir())
  const token = await tokenFor('ann')
  const client = createClient({
    endpoints: gateway.http.replace('http', 'ws'), getToken: () => token, deviceId: 'phone', encoding: 'json',
  })
  t.teardown(() => client.close())
  const lost: string[] = []
  client.on('disconnected', ({ code, reason }) => { lost.push(`${code} ${reason}`) })
  const large = [Buffer.alloc(60_000, 0xff), '\u0001'.repeat(20_000), '"'.repeat(40_000)]
  const early = large.map(payload => client.send(payload))
  const behind = client.send('behind them')
  client.connect()
  for (const sent of early) await t.rejects(sent, { code: 'payload-too-large' })
  t.match(await behind, { seq: 1 })
  for (const payload of large) await t.rejects(client.send(payload), { code: 'payload-too-large' })
  const frame: Uplink = { op: 'uplink', seq: 2, service: '', payload: Buffer.alloc(0), priority: 0, roomId: '' }
  const room = 65_536 - uplinkBytes(frame, 'json')
  t.match(await client.send('x'.repeat(room)), { seq: 2 }, 'what just fits goes')
  await t.rejects(client.send('x'.repeat(room + 1)), { code: 'payload-too-large' })
  t.strictSame([lost, client.state], [[], 'connected'])
})
