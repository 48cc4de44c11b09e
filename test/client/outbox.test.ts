import fc from 'fast-check'
import t from 'tap'
import type { Accepted } from '../../client/outbox.js'
import { Outbox } from '../../client/outbox.js'

function givenOutbox (count: number, max = 1000) {
  const outbox = new Outbox(max)
  const accepted: Accepted[] = []
  const add = (text: string) => {
    const sent = outbox.add('', Buffer.from(text), 0)
    sent.then(each => accepted.push(each), () => {})
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
    t.equal(outbox.resume(2), true)
    await null
    t.strictSame(accepted.map(each => each.seq), [1, 2])
    t.strictSame(taken(), [3, 4])
  })

  t.test('goes on behind what an earlier life of the session sent', async t => {
    const { outbox, taken } = givenOutbox(0)
    t.equal(outbox.resume(7), true)
    outbox.add('', Buffer.from('a'), 0)
    t.strictSame(taken(), [8])
  })

  t.test('numbers anew when the server has lost what it once acked', async t => {
    const { outbox, taken } = givenOutbox(3)
    taken()
    outbox.ack(2, [1, 2])
    t.equal(outbox.resume(0), false)
    outbox.restart()
    t.equal(outbox.resume(0), true)
    t.strictSame(taken(), [1])
  })

  t.test('refuses another one when it is full', async t => {
    const { outbox, add, taken } = givenOutbox(2, 2)
    await t.rejects(add('3'), { code: 'outbox-full' })
    taken()
    outbox.ack(1, [1])
    add('3')
    t.strictSame(taken(), [3])
  })

  t.test('rejects what waits when nothing will be sent any more', async t => {
    const { outbox, add } = givenOutbox(0)
    const sent = add('1')
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
          outbox.resume(server.length)
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
