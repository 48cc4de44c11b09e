import fc from 'fast-check'
import t from 'tap'
import type { ServerFrame } from '../../../schemas/frames.js'
import {
  connect, type GivenConnection, givenConnection, openConnection, turn, uplinks, verified,
} from './given-connection.js'

function refusals ({ written }: GivenConnection) {
  return written.filter((frame): frame is ServerFrame & { op: 'uplinkRefused' } => frame.op === 'uplinkRefused')
}

t.test('Uplinks behind a hole', async t => {
  t.test('are refused once, and none of them is stored', async t => {
    const client = await openConnection(t)
    client.received(...uplinks(2, 101))
    await turn()
    t.match(client.asked, [{ type: 'resync', welcomed: false, uplinkSeq: 0 }], 'the user actor says whether there is one')
    t.strictSame(refusals(client), [])
    client.has(0)
    await turn()
    client.received(...uplinks(102, 150))
    await turn()
    client.received(...uplinks(151, 201))
    await turn()
    t.strictSame(refusals(client), [{ op: 'uplinkRefused', expectedSeq: 1, code: 'gap', retryAfterMs: 0 }])
    t.strictSame(client.uplinksAppended(), [])
    t.equal(client.asked.length, 1)
  })

  t.test('are refused again when the client begins again behind the same hole', async t => {
    const client = await openConnection(t)
    for (let attempt = 0; attempt < 2; attempt++) {
      client.received(...uplinks(2, 5))
      await turn()
      client.has(0)
      await turn()
      client.received(...uplinks(6, 6))
      await turn()
    }
    t.strictSame(refusals(client).map(({ expectedSeq }) => expectedSeq), [1, 1])
    t.strictSame(client.uplinksAppended(), [])
  })

  t.test('are taken once it is mended, and a new hole is told', async t => {
    const client = await openConnection(t)
    client.received(...uplinks(2, 3))
    await turn()
    client.has(0)
    await turn()
    client.received(...uplinks(1, 3))
    await turn()
    client.acked(3)
    await turn()
    client.received(...uplinks(5, 6))
    await turn()
    client.has(3)
    await turn()
    t.strictSame(client.uplinksAppended(), [1, 2, 3])
    t.strictSame(client.written.slice(1).map(({ op }) => op), ['uplinkRefused', 'uplinkAck', 'uplinkRefused'])
    t.strictSame(refusals(client).map(({ expectedSeq }) => expectedSeq), [1, 4])
  })

  t.test('are asked for where the hole was mended before it could be told', async t => {
    const client = await openConnection(t)
    client.received(...uplinks(2, 4), ...uplinks(1, 2))
    await turn()
    client.has(0)
    await turn()
    t.strictSame(client.uplinksAppended(), [1, 2])
    t.strictSame(refusals(client).map(({ expectedSeq }) => expectedSeq), [3], 'for 3 and 4 were dropped')
  })

  t.test('are not behind one where another connection brought what is missing', async t => {
    const client = await openConnection(t)
    client.received(...uplinks(3, 3))
    await turn()
    client.has(2)
    await turn()
    t.match(client.asked.at(-1), { type: 'resync', welcomed: true, uplinkSeq: 0 }, 'for the acks of 1 and 2')
    t.strictSame(refusals(client).map(({ expectedSeq }) => expectedSeq), [3])
    client.received(...uplinks(3, 3))
    await turn()
    t.strictSame(client.uplinksAppended(), [3])
  })

  t.test('are asked about again where the answer was lost', async t => {
    const client = await openConnection(t)
    client.received(...uplinks(2, 2))
    await turn()
    for (let i = 0; i < 3; i++) await client.pass(2_000)
    t.ok(client.asked.filter(question => question.type === 'resync' && !question.welcomed).length > 1)
  })

  t.test('wait for connected where they came with connect', async t => {
    const client = givenConnection(t)
    client.received(connect, ...uplinks(7, 8), ...uplinks(10, 11))
    await verified(client)
    t.strictSame(client.uplinksAppended(), [7, 8], 'which may be the first ones: nobody knows yet')
    client.storeAll()
    client.welcome({ uplinkSeq: 6 })
    await turn()
    client.acked(8)
    client.has(8)
    await turn()
    t.strictSame(client.uplinksAppended(), [7, 8])
    t.strictSame(refusals(client).map(({ expectedSeq }) => expectedSeq), [9])
  })
})

t.test('A repeated uplink', async t => {
  t.test('whose append is under way is not stored twice, and its ack is that of the first', async t => {
    const client = await openConnection(t)
    client.received(...uplinks(1, 3), ...uplinks(2, 4))
    await turn()
    client.received(...uplinks(1, 4))
    await turn()
    t.strictSame(client.uplinksAppended(), [1, 2, 3, 4])
    t.strictSame(client.asked, [])
    client.acked(4)
    await turn()
    t.strictSame(client.written.slice(1).map(({ op }) => op), ['uplinkAck'])
  })

  t.test('that was acked is answered by the user actor, once for a turn, and not stored', async t => {
    const client = await openConnection(t)
    client.received(...uplinks(1, 9))
    await turn()
    client.storeAll()
    client.acked(9)
    await turn()
    client.received(...uplinks(7, 9), ...uplinks(5, 6), ...uplinks(10, 10))
    await turn()
    t.match(client.asked, [{ type: 'resync', welcomed: true, uplinkSeq: 4 }])
    t.strictSame(client.uplinksAppended(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
  })

  t.test('gets its own answer and no other, however many are asked for at once', async t => {
    const client = await openConnection(t, {}, { welcome: { uplinkSeq: 9 } })
    for (const seq of [5, 6, 7]) {
      client.received(...uplinks(seq, seq))
      await turn()
    }
    t.equal(client.asked.length, 1, 'its answer has them all')
    client.received(...uplinks(3, 3))
    await turn()
    client.tells(9, [105, 106, 107, 108, 109])
    await turn()
    t.equal(client.written.length, 1, '3 is asked for behind that')
    client.tells(9, [103, 104, 105, 106, 107, 108, 109])
    await turn()
    t.strictSame(client.written.slice(1), [{ op: 'uplinkAck', seq: 7, userSeqs: [103, 104, 105, 106, 107] }])
    client.received(...uplinks(9, 9))
    await turn()
    client.tells(9, [109])
    await turn()
    t.strictSame(client.written.slice(2), [{ op: 'uplinkAck', seq: 9, userSeqs: [109] }])
  })

  t.test('is asked for again where the answer was lost', async t => {
    const client = await openConnection(t, {}, { welcome: { uplinkSeq: 9 } })
    client.received(...uplinks(9, 9))
    await turn()
    for (let i = 0; i < 3; i++) await client.pass(2_000)
    t.ok(client.asked.filter(question => question.type === 'resync' && question.uplinkSeq === 8).length > 1)
  })

  t.test('that was accepted on an earlier connection is not stored either', async t => {
    const client = await openConnection(t, {}, { welcome: { uplinkSeq: 9 } })
    client.received(...uplinks(8, 10))
    await turn()
    t.match(client.asked, [{ type: 'resync', welcomed: true, uplinkSeq: 7 }])
    t.strictSame(client.uplinksAppended(), [10])
  })

  t.test('whose number nobody has to remember gets its ack without', async t => {
    const client = await openConnection(t, { uplinkWindow: 4 }, { welcome: { uplinkSeq: 9 } })
    client.received(...uplinks(5, 5))
    await turn()
    t.strictSame(client.written.slice(1), [{ op: 'uplinkAck', seq: 5, userSeqs: [] }])
    t.strictSame([client.asked, client.uplinksAppended()], [[], []])
  })

  t.test('after a refusal by the ledger is stored, for the first one was not', async t => {
    const client = await openConnection(t)
    client.received(...uplinks(1, 3))
    await turn()
    client.refuseAll()
    await turn()
    client.received(...uplinks(1, 3))
    await turn()
    t.strictSame(client.uplinksAppended(), [1, 2, 3, 1, 2, 3])
  })
})

t.test('Whatever a client sends, in whatever order, each uplink is stored once, in order', async t => {
  await fc.assert(fc.asyncProperty(
    fc.nat(5), fc.array(fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 6 }), { maxLength: 12 }),
    async (uplinkSeq, reads) => {
      const client = await openConnection(t, {}, { welcome: { uplinkSeq } })
      let accepted = uplinkSeq
      for (const seqs of reads) {
        client.received(...seqs.flatMap(seq => uplinks(seq, seq)))
        await turn()
        client.storeAll()
        accepted = client.uplinksAppended().at(-1) ?? uplinkSeq
        client.has(accepted)
        client.acked(accepted)
        await turn()
        const next = reads.flat().includes(accepted + 1)
        if (!next) t.strictSame(refusals(client).filter(({ expectedSeq }) => expectedSeq > accepted + 1), [])
      }
      const stored = client.uplinksAppended()
      t.strictSame(stored, stored.map((_, i) => uplinkSeq + 1 + i))
    }), { numRuns: 25 })
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
