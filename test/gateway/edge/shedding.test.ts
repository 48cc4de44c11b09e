import t from 'tap'
import type { Frame } from '../../../schemas/frames.js'
import { until } from '../node.js'
import { connect, givenConnection, openConnection, ping, turn, uplinks } from './given-connection.js'

t.test('While the node bears no more', async t => {
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

  t.test('acks, pings, tokens and goodbyes are taken as ever', async t => {
    const client = await openConnection(t)
    client.bearsFrom(Infinity)
    client.downlink(1)
    await turn()
    client.received(...uplinks(1, 1), { op: 'downlinkAck', seq: 1 }, ping())
    await turn()
    const said = client.written.slice(2).map(({ op }) => op)
    t.strictSame(said.sort(), ['pong', 'uplinkRefused'])
    t.equal(client.connection.cursor.ackedSeq, 1)
    client.received({ op: 'token', token: 'next' })
    await until('the token is looked at', () => client.verifying.length === 1)
    client.received({ op: 'disconnect', endSession: false })
    await until('it is closed', () => client.phase() === 'closing')
    t.equal(client.end()?.code, 'disconnected')
  })

  t.test('a client that is not admitted once it is known who it is, is sent elsewhere with a wait', async t => {
    const client = givenConnection(t)
    client.admitsWhen(userId => userId !== 'bob')
    client.received(connect)
    await until('connect is taken', () => client.phase() === 'verifying')
    client.letIn({ userId: 'bob' })
    await until('it is sent away', () => client.phase() === 'closing')
    t.strictSame(client.written, [{ op: 'redirect', endpoints: [], retryAfterMs: 5_000, code: 'redirected' }])
    t.strictSame(client.appended(), [], 'and the ledger does not hear of it')
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
