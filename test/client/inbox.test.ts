import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { Inbox } from '../../client/inbox.js'

function givenInbox (handle: (seq: number) => Promise<void> | void = () => {}) {
  const handled: number[] = []
  const acks: number[] = []
  const failures: unknown[] = []
  const inbox = new Inbox({
    handle: async ({ seq }) => {
      await handle(seq)
      handled.push(seq)
    },
    ack: seq => acks.push(seq),
    failed: err => failures.push(err),
  })
  const take = (seq: number) => {
    const ok = inbox.take({ seq, messageId: `m${seq}`, service: '', payload: Buffer.from('x'), requestedAtMs: 0 })
    inbox.run()
    return ok
  }
  return { inbox, take, handled, acks, failures }
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
    const { take, handled, acks } = givenInbox(async () => await new Promise<void>(resolve => { done = resolve }))
    take(1)
    take(2)
    await setImmediate()
    t.strictSame([handled, acks], [[], []])
    done()
    await setImmediate()
    t.strictSame(handled, [1])
    done()
    await setImmediate()
    t.strictSame([handled, acks], [[1, 2], [2]])
  })

  t.test('acks now and then while many wait', async t => {
    const { inbox, acks } = givenInbox()
    for (let seq = 1; seq <= 150; seq++) {
      inbox.take({ seq, messageId: '', service: '', payload: Buffer.alloc(0), requestedAtMs: 0 })
    }
    await inbox.run()
    t.strictSame(acks, [64, 128, 150])
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
    const { inbox, take, handled } = givenInbox(async () => await new Promise<void>(resolve => { done = resolve }))
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

  t.test('acks nothing that a listener failed at, and takes it again', async t => {
    let broken = true
    const { inbox, take, handled, acks, failures } = givenInbox(seq => {
      if (seq === 2 && broken) throw new Error('broken')
    })
    take(1)
    await setImmediate()
    take(2)
    take(3)
    await setImmediate()
    t.match(failures, [{ message: 'broken' }])
    t.strictSame([handled, acks, inbox.doneSeq], [[1], [1], 1])
    broken = false
    inbox.resume(1, 1)
    take(2)
    take(3)
    await setImmediate()
    t.strictSame(handled, [1, 2, 3])
  })
})
