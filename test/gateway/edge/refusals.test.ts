import t from 'tap'
import type { ServerFrame } from '../../../schemas/frames.js'
import { type GivenConnection, openConnection, turn, uplinks } from './given-connection.js'

function refusals ({ written }: GivenConnection) {
  return written.filter((frame): frame is ServerFrame & { op: 'uplinkRefused' } => frame.op === 'uplinkRefused')
}

t.test('Uplinks behind a hole', async t => {
  t.test('are refused once, and those behind them not stored', async t => {
    const client = await openConnection(t)
    client.received(...uplinks(2, 101))
    await turn()
    client.storeAll()
    for (let i = 2; i <= 101; i++) client.refused(1)
    await turn()
    client.received(...uplinks(102, 150))
    await turn()
    client.received(...uplinks(151, 201))
    await turn()
    t.strictSame(refusals(client), [{ op: 'uplinkRefused', expectedSeq: 1, code: 'gap', retryAfterMs: 0 }])
    t.equal(client.uplinksAppended().at(-1), 101)
  })

  t.test('are refused again when the client begins again behind the same hole', async t => {
    const client = await openConnection(t)
    client.received(...uplinks(2, 5))
    await turn()
    for (let i = 2; i <= 5; i++) client.refused(1)
    await turn()
    client.received(...uplinks(2, 5))
    await turn()
    client.received(...uplinks(6, 6))
    await turn()
    t.strictSame(refusals(client).map(({ expectedSeq }) => expectedSeq), [1, 1])
    t.strictSame(client.uplinksAppended(), [2, 3, 4, 5])
  })

  t.test('are taken once it is mended, and a new hole is told', async t => {
    const client = await openConnection(t)
    client.received(...uplinks(2, 3))
    await turn()
    client.refused(1)
    client.refused(1)
    await turn()
    client.received(...uplinks(1, 3))
    client.refused(1)
    await turn()
    client.acked(3)
    await turn()
    client.received(...uplinks(5, 6))
    await turn()
    client.refused(4)
    client.refused(4)
    await turn()
    t.strictSame(client.uplinksAppended(), [2, 3, 1, 2, 3, 5, 6])
    t.strictSame(client.written.slice(1).map(({ op }) => op), ['uplinkRefused', 'uplinkAck', 'uplinkRefused'])
    t.strictSame(refusals(client).map(({ expectedSeq }) => expectedSeq), [1, 4])
  })
})

t.test('Uplinks that the ledger does not take', async t => {
  t.test('are refused once, in how many appends they were', async t => {
    const client = await openConnection(t)
    for (let i = 0; i < 10; i++) {
      client.received(...uplinks(10 * i + 1, 10 * i + 10))
      await turn()
    }
    client.refuseAll()
    await turn()
    t.match(refusals(client), [{ expectedSeq: 1, code: 'ledger-unavailable', retryAfterMs: 1_000 }])
    t.equal(refusals(client).length, 1)
    client.received(...uplinks(1, 5))
    await turn()
    client.refuseAll()
    await turn()
    t.equal(refusals(client).length, 2, 'and when they are sent again')
  })
})

t.test('Uplinks over the rate', async t => {
  t.test('are refused once, with the wait for all of them', async t => {
    const client = await openConnection(t, { frameRate: 10, frameBurst: 5 })
    client.received(...uplinks(1, 24))
    await turn()
    t.strictSame(client.uplinksAppended(), [1, 2, 3, 4, 5], 'its burst')
    const [refusal, ...more] = refusals(client)
    t.strictSame(more, [])
    t.match(refusal, { expectedSeq: 6, code: 'throttled' })
    t.ok(refusal!.retryAfterMs > 2_000, `${refusal!.retryAfterMs} ms: what is over has to be earned too`)
  })

  t.test('are told when the wait has become longer', async t => {
    const client = await openConnection(t, { frameRate: 10, frameBurst: 5 })
    client.received(...uplinks(1, 7))
    await turn()
    client.received(...uplinks(8, 24))
    await turn()
    const [first, second, ...more] = refusals(client)
    t.strictSame(more, [])
    t.match([first, second], [{ expectedSeq: 6 }, { expectedSeq: 6 }])
    t.ok(second!.retryAfterMs > first!.retryAfterMs)
  })

  t.test('end a client that hammers on, with the time that pays its debt', async t => {
    const client = await openConnection(t, { frameRate: 10, frameBurst: 5 })
    client.received(...uplinks(1, 200))
    await turn()
    t.match(client.written.at(-1), { op: 'error', code: 'rate-limited' })
    const { retryAfterMs } = client.written.at(-1) as { retryAfterMs: number }
    t.ok(retryAfterMs > 10_000 && retryAfterMs < 12_000, `${retryAfterMs} ms`)
  })
})
