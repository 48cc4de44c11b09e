import fc from 'fast-check'
import t from 'tap'
import type { Accepted } from '../../client/outbox.js'
import { Outbox } from '../../client/outbox.js'

const bounds = { max: 1000, bytesMax: 1 << 20 }

/** One whose uplinks may go out as soon as they are taken in. */
function givenOutbox (count: number, max = bounds.max) {
  const outbox = new Outbox({ ...bounds, max })
  const accepted: Accepted[] = []
  const add = (text: string) => {
    const sent = outbox.add('', Buffer.from(text), 0)
    outbox.release(outbox.offer())
    sent.accepted.then(each => accepted.push(each), () => {})
    return sent
  }
  for (let i = 1; i <= count; i++) add(`${i}`)
  const taken = (window = 256) => {
    const seqs: number[] = []
    for (let next = outbox.take(window); next; next = outbox.take(window)) seqs.push(next.seq)
    return seqs
  }
  return { outbox, accepted, add, taken }
}

t.test('Outbox', async t => {
  t.test('numbers uplinks 1, 2, 3 and gives each out once', async t => {
    const { outbox, add, taken } = givenOutbox(3)
    t.match(outbox.take(256), { op: 'uplink', seq: 1, service: '', payload: Buffer.from('1'), priority: 0 })
    t.strictSame(taken(), [2, 3])
    t.strictSame(taken(), [])
    add('4')
    t.strictSame(taken(), [4])
  })

  t.test('gives out no more than the window, and goes on with each ack', async t => {
    const { outbox, taken } = givenOutbox(5)
    t.strictSame(taken(2), [1, 2])
    outbox.ack(1, [1])
    t.strictSame(taken(2), [3])
    outbox.ack(3, [2, 3])
    t.strictSame(taken(2), [4, 5])
  })

  t.test('resolves each send with the numbers that the ack names', async t => {
    const { outbox, accepted, taken } = givenOutbox(4)
    taken()
    outbox.ack(3, [17, 19])
    await null
    t.strictSame(accepted, [{ seq: 1, userSeq: undefined }, { seq: 2, userSeq: 17 }, { seq: 3, userSeq: 19 }])
    t.equal(outbox.size, 1)
  })

  t.test('ignores a repeated ack, and one beyond what it has', async t => {
    const { outbox, accepted, taken } = givenOutbox(2)
    taken()
    outbox.ack(1, [1])
    outbox.ack(1, [1])
    outbox.ack(0, [])
    await null
    t.equal(accepted.length, 1)
    outbox.ack(9, [])
    await null
    t.strictSame([accepted.length, outbox.ackedSeq, outbox.size], [2, 2, 0])
  })

  t.test('sends again from the expected seq after a refusal', async t => {
    const { outbox, taken } = givenOutbox(4)
    taken()
    outbox.ack(1, [1])
    outbox.rewind(3)
    t.strictSame(taken(), [3, 4])
    outbox.rewind(1)
    t.strictSame(taken(), [2, 3, 4], 'but never what is acked')
    outbox.rewind(9)
    t.strictSame(taken(), [])
  })

  t.test('sends again what the server had not accepted when the connection broke', async t => {
    const { outbox, accepted, taken } = givenOutbox(4)
    taken()
    t.equal(outbox.resume(2, 0), true)
    await null
    t.strictSame(accepted.map(each => each.seq), [1, 2])
    t.strictSame(taken(), [3, 4])
  })

  t.test('goes on behind what was acked while a new connection was made', async t => {
    const { outbox, taken } = givenOutbox(4)
    taken()
    outbox.ack(3, [1, 2, 3])
    t.equal(outbox.resume(1, 0), true, 'an answer older than the acks of the connection that is left')
    t.strictSame(taken(), [4])
  })

  t.test('holds back what is not on record as offered', async t => {
    const { outbox, taken } = givenOutbox(1)
    outbox.add('', Buffer.from('2'), 0)
    t.strictSame(taken(), [1])
    outbox.release(outbox.offer())
    t.strictSame(taken(), [2])
  })

  t.test('is not the session\'s any more where the server has accepted what was never offered', async t => {
    const { outbox, accepted, taken } = givenOutbox(2)
    outbox.add('', Buffer.from('3'), 0)
    t.equal(outbox.resume(3, 0), false)
    await null
    t.strictSame(accepted.map(each => each.seq), [1, 2], 'what was offered is accepted')
    outbox.restart()
    outbox.release(outbox.offer())
    t.strictSame(taken(), [1])
    t.strictSame(outbox.uplinks.map(({ payload }) => Buffer.from(payload).toString()), ['3'])
  })

  t.test('goes on with what an earlier run left behind, and tells when it is accepted', async t => {
    const { outbox: earlier } = givenOutbox(3)
    earlier.ack(1, [1])
    const outbox = new Outbox(bounds)
    const accepted: unknown[] = []
    outbox.restore(earlier.uplinks, 1, 3, (uplink, each) => accepted.push([uplink.seq, each]), () => {})
    t.equal(outbox.add('', Buffer.from('4'), 0).uplink.seq, 4)
    outbox.ack(2, [9])
    await new Promise(resolve => setImmediate(resolve))
    t.strictSame(accepted, [[2, { seq: 2, userSeq: 9 }]])
  })

  t.test('does not take for sent what an earlier run took in and never offered', async t => {
    const { outbox: earlier } = givenOutbox(2)
    const outbox = new Outbox(bounds)
    const accepted: number[] = []
    outbox.restore(earlier.uplinks, 0, 1, ({ seq }) => accepted.push(seq), () => {})
    t.equal(outbox.resume(2, 0), false, 'a copy has sent something else under its number')
    await null
    t.strictSame(accepted, [1])
    outbox.restart()
    t.strictSame(outbox.uplinks.map(({ seq, payload }) => [seq, Buffer.from(payload).toString()]), [[1, '2']])
  })

  t.test('numbers anew when the server has lost what it once acked', async t => {
    const { outbox, taken } = givenOutbox(3)
    taken()
    outbox.ack(2, [1, 2])
    t.equal(outbox.resume(0, 2), false)
    outbox.restart()
    t.equal(outbox.resume(0, 0), true)
    outbox.release(outbox.offer())
    t.strictSame(taken(), [1])
  })

  t.test('refuses another one when it is full', async t => {
    const { outbox, add, taken } = givenOutbox(2, 2)
    t.throws(() => add('3'), { code: 'outbox-full' })
    taken()
    outbox.ack(1, [1])
    add('3')
    t.strictSame(taken(), [3])
  })

  t.test('refuses what makes too many bytes', async t => {
    const outbox = new Outbox({ max: 10, bytesMax: 10 })
    outbox.add('', Buffer.alloc(6), 0)
    t.throws(() => outbox.add('', Buffer.alloc(5), 0), { code: 'outbox-full' })
    t.throws(() => outbox.add('é'.repeat(3), Buffer.alloc(0), 0), { code: 'outbox-full' }, 'those of its service count')
    outbox.ack(1, [1])
    t.equal(outbox.add('', Buffer.alloc(10), 0).uplink.seq, 2)
  })

  t.test('rejects what waits when nothing will be sent any more', async t => {
    const { outbox, add } = givenOutbox(0)
    const { accepted: sent } = add('1')
    outbox.fail(new Error('gone'))
    await t.rejects(sent, { message: 'gone' })
    t.equal(outbox.size, 0)
  })

  t.test('brings every uplink to the server exactly once and in order, whatever breaks', async t => {
    const steps = fc.array(fc.constantFrom('add', 'send', 'deliver', 'ack', 'break', 'refuse'), { maxLength: 200 })
    await fc.assert(fc.asyncProperty(steps, async steps => {
      const { outbox, accepted, add } = givenOutbox(0)
      const server: string[] = []
      let added = 0
      let wire: Array<{ seq: number, text: string }> = []
      const run: Record<string, () => void> = {
        add: () => { add(`${++added}`) },
        send: () => {
          const next = outbox.take(4)
          if (next) wire.push({ seq: next.seq, text: Buffer.from(next.payload).toString() })
        },
        deliver: () => {
          const frame = wire.shift()
          if (frame && frame.seq === server.length + 1) server.push(frame.text)
        },
        ack: () => outbox.ack(server.length, [server.length]),
        refuse: () => outbox.rewind(server.length + 1),
        break: () => {
          wire = []
          outbox.resume(server.length, outbox.ackedSeq)
        },
      }
      for (const step of steps) run[step]!()
      run['break']!()
      while (server.length < added) {
        run['send']!()
        run['deliver']!()
        run['ack']!()
      }
      await null
      t.strictSame(server, Array.from({ length: added }, (_, i) => `${i + 1}`))
      t.strictSame(accepted.map(each => each.seq), server.map((_, i) => i + 1))
    }), { numRuns: 200 })
  })
})
