import { setImmediate } from 'node:timers/promises'
import fc from 'fast-check'
import t from 'tap'
import { Inbox } from '../../client/inbox.js'
import type { ReceivedDownlink } from '../../client/inbox.js'

interface Given {
  readonly handle?: (seq: number) => Promise<void> | void
  readonly isManual?: boolean
  readonly repeats?: readonly string[]
  readonly isHopeless?: boolean
}

function givenInbox ({ handle = () => {}, isManual = false, repeats = [], isHopeless = false }: Given = {}) {
  const handled: number[] = []
  const acks: number[] = []
  const done: number[] = []
  const failures: unknown[] = []
  const waiting: ReceivedDownlink[] = []
  let goOn = () => {}
  const inbox: Inbox = new Inbox({
    isManual,
    isRepeat: ({ messageId }) => repeats.includes(messageId),
    handle: async downlink => {
      waiting.push(downlink)
      await handle(downlink.seq)
      handled.push(downlink.seq)
    },
    done: ({ seq }) => { done.push(seq) },
    kept: () => undefined,
    ack: () => { acks.push(inbox.ackableSeq) },
    failed: async (_downlink, err) => {
      failures.push(err)
      await new Promise<void>(resolve => { goOn = resolve })
      return isHopeless
    },
  })
  const take = (seq: number, messageId = `m${seq}`) => {
    const ok = inbox.take({ seq, messageId, service: '', payload: Buffer.from('x'), requestedAtMs: 0 })
    inbox.run()
    return ok
  }
  return { inbox, take, handled, acks, done, failures, waiting, goOn: () => goOn() }
}

t.test('Inbox', async t => {
  t.test('hands on each downlink once, in order, and acks behind it', async t => {
    const { take, handled, acks, inbox } = givenInbox()
    for (const seq of [1, 2, 2, 1, 3]) t.equal(take(seq), true)
    await setImmediate()
    t.strictSame(handled, [1, 2, 3])
    t.equal(acks.at(-1), 3)
    t.equal(inbox.doneSeq, 3)
  })

  t.test('hands on the next one only when the last one is done with', async t => {
    let done = () => {}
    const { take, handled, acks } = givenInbox({
      handle: async () => await new Promise<void>(resolve => { done = resolve }),
    })
    take(1)
    take(2)
    await setImmediate()
    t.strictSame([handled, acks], [[], []])
    done()
    await setImmediate()
    t.strictSame(handled, [1])
    done()
    await setImmediate()
    t.strictSame([handled, acks], [[1, 2], [1, 2]])
  })

  t.test('acks on a new connection only what the server has written to it', async t => {
    const { inbox, take, acks } = givenInbox()
    for (const seq of [1, 2, 3]) take(seq)
    await setImmediate()
    acks.length = 0
    inbox.resume(1, 1) // asked before 2 and 3 were done with
    t.equal(inbox.ackableSeq, 1)
    take(2)
    t.equal(inbox.ackableSeq, 2)
    take(3)
    t.strictSame(acks, [2, 3])
  })

  t.test('drops what was done with under another number, and acks it', async t => {
    const { take, handled, acks } = givenInbox({ repeats: ['m2'] })
    for (const seq of [1, 2, 3]) take(seq)
    await setImmediate()
    t.strictSame([handled, acks.at(-1)], [[1, 3], 3])
  })

  t.test('hands on without waiting where acks are manual, and is done up to the first that is not acked', async t => {
    const { inbox, take, waiting, done, acks } =
      givenInbox({ isManual: true, handle: async () => await new Promise(() => {}) })
    for (const seq of [1, 2, 3]) take(seq)
    await setImmediate()
    t.strictSame([waiting.map(({ seq }) => seq), inbox.doneSeq], [[1, 2, 3], 0])
    waiting[1]!.ack()
    t.strictSame([inbox.doneSeq, acks], [0, []])
    waiting[0]!.ack()
    waiting[0]!.ack()
    t.strictSame([inbox.doneSeq, done, acks], [2, [1, 2], [2]])
  })

  t.test('does not hand on a copy of what the application has in hand, and is done with both at once', async t => {
    const { inbox, take, waiting, done, acks } =
      givenInbox({ isManual: true, handle: async () => await new Promise(() => {}) })
    for (const [seq, messageId] of [[1, 'a'], [2, 'b'], [3, 'b'], [4, 'a'], [5, 'c']] as const) take(seq, messageId)
    await setImmediate()
    t.strictSame(waiting.map(({ messageId }) => messageId), ['a', 'b', 'c'])
    waiting[1]!.ack()
    take(6, 'b')
    await setImmediate()
    t.equal(waiting.length, 3, 'nor of what it has done with behind one that it has not')
    waiting[0]!.ack()
    t.strictSame([inbox.doneSeq, done, acks.at(-1)], [4, [1, 2, 3, 4], 4])
    waiting[2]!.ack()
    t.strictSame([inbox.doneSeq, acks.at(-1)], [6, 6])
  })

  t.test('says when one is missing', async t => {
    const { take } = givenInbox()
    t.equal(take(1), true)
    t.equal(take(3), false)
  })

  t.test('goes on behind an announced gap', async t => {
    const { inbox, take, handled } = givenInbox()
    take(1)
    await setImmediate()
    inbox.resume(5, 1)
    t.equal(inbox.doneSeq, 5)
    t.equal(take(6), true)
    await setImmediate()
    t.strictSame(handled, [1, 6])
  })

  t.test('does not hand on again what came again on a new connection', async t => {
    let done = () => {}
    const { inbox, take, handled } = givenInbox({
      handle: async () => await new Promise<void>(resolve => { done = resolve }),
    })
    take(1)
    take(2)
    inbox.resume(0, 0)
    take(1)
    take(2)
    done()
    await setImmediate()
    done()
    await setImmediate()
    t.strictSame(handled, [1, 2])
  })

  t.test('begins anew where the server does', async t => {
    const { inbox, take, handled } = givenInbox()
    for (const seq of [1, 2, 3]) take(seq)
    await setImmediate()
    inbox.resume(0, 3)
    t.equal(inbox.doneSeq, 0)
    take(1)
    await setImmediate()
    t.strictSame(handled, [1, 2, 3, 1])
  })

  t.test('acks nothing that a listener failed at, and hands it on again before what is behind it', async t => {
    let broken = true
    const { take, handled, acks, failures, goOn } = givenInbox({
      handle: seq => { if (seq === 2 && broken) throw new Error('broken') },
    })
    for (const seq of [1, 2, 3]) take(seq)
    await setImmediate()
    t.match(failures, [{ message: 'broken' }])
    t.strictSame([handled, acks], [[1], [1]])
    broken = false
    goOn()
    await setImmediate()
    t.strictSame([handled, acks.at(-1)], [[1, 2, 3], 3])
  })

  t.test('counts one as done with that is given up, and hands on those behind it', async t => {
    const { take, handled, done, acks, goOn } = givenInbox({
      handle: seq => { if (seq === 2) throw new Error('broken') }, isHopeless: true,
    })
    for (const seq of [1, 2, 3]) take(seq)
    await setImmediate()
    goOn()
    await setImmediate()
    t.strictSame([handled, done, acks.at(-1)], [[1, 3], [1, 2, 3], 3])
  })

  t.test('hands on everything once and in order, whatever breaks and however late the application is', async t => {
    const steps = fc.array(fc.constantFrom('push', 'write', 'deliver', 'finish', 'ack', 'cut'), { maxLength: 200 })
    await fc.assert(fc.asyncProperty(steps, async steps => {
      const finishing: Array<() => void> = []
      const { inbox, take, handled } = givenInbox({
        handle: async () => await new Promise<void>(resolve => finishing.push(resolve)),
      })
      let [pushed, acked, written] = [0, 0, 0]
      let wire: number[] = []
      const run: Record<string, () => void> = {
        push: () => { pushed++ },
        write: () => { if (written < pushed) wire.push(++written) },
        deliver: () => {
          const seq = wire.shift()
          if (seq !== undefined && !take(seq)) throw new Error(`${seq} came too early`)
        },
        finish: () => finishing.shift()?.(),
        ack: () => {
          if (inbox.ackableSeq > written) throw new Error(`ack of ${inbox.ackableSeq} is ahead of ${written}`)
          acked = inbox.ackableSeq
        },
        cut: () => {
          wire = []
          const asked = inbox.doneSeq
          written = acked = Math.max(acked, asked)
          finishing.splice(0, 1).forEach(finish => finish()) // it may end while the new connection is made
          inbox.resume(written, asked)
        },
      }
      for (const step of steps) {
        run[step]!()
        await null
      }
      while (inbox.doneSeq < pushed) {
        for (const step of ['write', 'deliver', 'finish', 'ack']) run[step]!()
        await setImmediate()
      }
      t.strictSame(handled, Array.from({ length: pushed }, (_, i) => i + 1))
    }), { numRuns: 100 })
  })
})
