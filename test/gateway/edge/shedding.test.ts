import t from 'tap'
import type { Frame } from '../../../schemas/frames.js'
import { openConnection, turn, uplinks } from './given-connection.js'

t.test('While memory is short', async t => {
  t.test('uplinks of a low priority are refused with a wait, and taken when they come again', async t => {
    const client = await openConnection(t)
    client.bearsFrom(1)
    client.received(...uplinks(1, 3))
    await turn()
    t.strictSame(client.uplinksAppended(), [])
    const [refusal, ...more] = client.written.slice(1) as Array<{ retryAfterMs: number }>
    t.match(refusal, { op: 'uplinkRefused', expectedSeq: 1, code: 'overloaded' })
    t.ok(refusal!.retryAfterMs >= 2_000 && refusal!.retryAfterMs <= 4_000)
    t.strictSame(more, [])
    client.received({ ...uplinks(1, 1)[0], priority: 1 } as Frame)
    await turn()
    t.strictSame(client.uplinksAppended(), [1], 'what is more important is taken')
    client.bearsFrom(-Infinity)
    client.received(...uplinks(2, 3))
    await turn()
    t.strictSame(client.uplinksAppended(), [1, 2, 3])
  })

  t.test('a client that reads slowly is closed to come back, and one that reads is not', async t => {
    const slow = await openConnection(t)
    slow.queues(200_000)
    slow.shedReaders()
    await turn()
    t.match(slow.written.at(-1), { op: 'error', code: 'slow-consumer' })
    const reader = await openConnection(t)
    reader.queues(1_000)
    reader.shedReaders()
    await turn()
    t.equal(reader.phase(), 'open')
  })
})
