import fc from 'fast-check'
import t from 'tap'
import type { OutgoingRecord } from '../../../gateway/webhooks/lanes.js'
import { Progress } from '../../../gateway/webhooks/progress.js'
import { Sender, type SenderDeps } from '../../../gateway/webhooks/sender.js'
import { type Webhook, webhooksIn } from '../../../gateway/webhooks/setting.js'
import type { Verdict } from '../../../gateway/webhooks/target.js'
import { webhookStreams } from '../../../gateway/webhooks/events.js'
import { until } from '../node.js'
import { secret } from './receiver.js'

const times = { retryMs: 2, retryMsMax: 10, probeMs: 2, probeMsMax: 10 }
const delivered: Verdict = { type: 'delivered', status: 204, answer: '' }
const failed: Verdict = { type: 'failed', status: 409, reason: 'it answers with 409', fault: 'record' }
const broken: Verdict = { type: 'failed', status: 500, reason: 'it answers with 500', fault: 'unclear' }
const away: Verdict = { type: 'failed', status: 0, reason: 'refused', fault: 'server' }
const refused: Verdict = { type: 'refused', status: 422, reason: 'it answers with 422' }
const gone: Verdict = { type: 'gone', status: 410, reason: 'it answers with 410' }

const of = webhookStreams.get('uplinks')!

interface Sent { readonly id: string, readonly seqs: ReadonlyArray<readonly [string, number]> }

/** A sender to a server that is a function, and what comes of it. */
function given (more: object, answer: (sent: Sent) => Verdict | Promise<Verdict>, slower: object = {}) {
  const webhook: Webhook = webhooksIn(JSON.stringify([
    { name: 'crm', url: 'https://crm.example/', secret, streams: ['uplinks'], ...more },
  ]), () => true)[0]!
  const sent: Sent[] = []
  const taken: string[] = []
  const givenUp: string[] = []
  const atOnce = { now: 0, most: 0 }
  let stuck = ''
  const deps: SenderDeps = {
    webhook,
    times: { ...times, ...slower },
    target: {
      async post (id, body) {
        const seqs = [JSON.parse(body)].flat().map(({ data }) => [data.userId, data.userSeq] as const)
        sent.push({ id, seqs })
        atOnce.most = Math.max(atOnce.most, ++atOnce.now)
        await new Promise(resolve => setImmediate(resolve))
        const verdict = await answer({ id, seqs })
        atOnce.now--
        if (verdict.type === 'delivered') taken.push(...seqs.map(each => each.join('/')))
        return verdict
      },
    },
    giveUp: async records => { givenUp.push(...records.map(({ item }) => `${item.userId}/${item.userSeq}`)) },
    reply: async () => {},
    attempted () {},
    stuck: reason => { stuck = reason },
  }
  const sender = new Sender(deps)
  t.teardown(() => { sender.stop() })
  let committed = 0n
  const progress = new Progress(next => { committed = next }, { recordsMax: 1_000, bytesMax: 1e9 })
  const seqs = new Map<string, number>()
  let offset = 0n
  const add = (users: readonly string[], to = progress) => {
    const place = to.begin(offset++, users.length, users.length)
    sender.add(users.map((userId): OutgoingRecord => {
      const userSeq = (seqs.get(userId) ?? 0) + 1
      seqs.set(userId, userSeq)
      const item = { userId, userSeq, payload: new Uint8Array(0) }
      return {
        of,
        item,
        id: `msg_${userId}_${userSeq}`,
        lane: userId,
        bytes: 1,
        place,
        atMs: 1,
        takenMs: performance.now(),
        attempts: 0,
        firstAtMs: 0,
        firstMs: 0,
        isAlone: false,
      }
    }))
  }
  return { sender, add, sent, taken, givenUp, progress, atOnce, committed: () => committed, stuck: () => stuck }
}

t.test('A webhook', async t => {
  t.test('gets the records of each user in order, whatever fails, and all of them', async t => {
    await fc.assert(fc.asyncProperty(
      fc.array(fc.array(fc.constantFrom('a', 'b', 'c', 'd', 'e'), { maxLength: 8 }), { minLength: 1, maxLength: 20 }),
      fc.constantFrom(1, 3, 50), fc.constantFrom(1, 2, 16), fc.infiniteStream(fc.nat(99)),
      async (blocks, batch, concurrency, draws) => {
        const some = given({ batch, concurrency }, ({ seqs }) => {
          // The fifth record of each user is one that the server never takes.
          if (seqs.some(([, seq]) => seq === 5)) return refused
          const draw = draws.next().value
          return draw < 15 ? failed : draw < 20 ? broken : draw < 25 ? away : delivered
        })
        for (const block of blocks) some.add(block)
        await until('all is done', () => some.committed() === BigInt(blocks.length))
        some.sender.stop()
        const all = new Map<string, number>()
        for (const user of blocks.flat()) all.set(user, (all.get(user) ?? 0) + 1)
        for (const [user, count] of all) {
          const ofUser = some.taken.filter(each => each.startsWith(`${user}/`))
          const ids = Array.from({ length: count }, (_, i) => `${user}/${i + 1}`)
          const wanted = ids.filter(each => !each.endsWith('/5'))
          t.strictSame(ofUser, wanted)
        }
        const fifths = [...all].filter(([, count]) => count >= 5).map(([user]) => `${user}/5`)
        t.strictSame(some.givenUp.sort(), fifths.sort())
        t.ok(some.atOnce.most <= concurrency)
      }), { numRuns: 60 })
  })

  t.test('gets many users side by side, and no two requests with one user at the same time', async t => {
    const users = new Map<string, number>()
    const some = given({ concurrency: 8 }, async ({ seqs: [[user]] }: any) => {
      users.set(user, (users.get(user) ?? 0) + 1)
      t.equal(users.get(user), 1)
      await new Promise(resolve => setTimeout(resolve, 2))
      users.set(user, users.get(user)! - 1)
      return delivered
    })
    some.add(Array.from({ length: 200 }, (_, i) => `user ${i % 20}`))
    await until('all is done', () => some.committed() === 1n)
    t.equal(some.atOnce.most, 8)
  })

  t.test('gets others meanwhile while one user\'s record fails', async t => {
    let isBack = false
    const some = given({}, ({ seqs: [[user]] }: any) => user === 'poison' && !isBack ? failed : delivered)
    some.add(['poison'])
    for (let i = 0; i < 50; i++) some.add(['ann', 'poison', 'bob'])
    await until('the others are done', () => some.taken.length === 100)
    t.notOk(some.taken.some(each => each.startsWith('poison')))
    t.equal(some.committed(), 0n, 'what was not delivered is sent again after a crash')
    isBack = true
    await until('all is done', () => some.committed() === 51n)
    const wanted = Array.from({ length: 51 }, (_, i) => `poison/${i + 1}`)
    t.strictSame(some.taken.filter(each => each.startsWith('poison')), wanted)
  })

  t.test('gives up a user who leaves no room for others, and only while others are taken', async t => {
    const some = given({ batch: 1 }, ({ seqs: [[user, seq]] }: any) => user === 'poison' && seq === 1 ? failed : delivered)
    some.add(['poison'])
    await until('it is tried', () => some.sent.length >= 7)
    t.strictSame(some.givenUp, [])
    some.add(Array.from({ length: 1_000 }, () => 'poison'))
    t.ok(some.progress.isFull)
    await new Promise(resolve => setTimeout(resolve, 50))
    t.strictSame(some.givenUp, [], 'nothing was taken since it failed: it may be the server')
    some.add(['ann'])
    await until('all is done', () => some.committed() === 3n)
    t.strictSame(some.givenUp, ['poison/1'])
  })

  t.test('gets nothing but one request at a time while its server is away, and all once it is back', async t => {
    let isBack = false
    const some = given({ concurrency: 4 }, () => isBack ? delivered : away)
    some.add(Array.from({ length: 40 }, (_, i) => `user ${i}`))
    await until('the circuit is open', () => some.sender.circuit.state === 'open')
    await until('those under way have ended', () => some.atOnce.now <= 1)
    some.atOnce.most = 0
    await until('it is asked a few times', () => some.sent.length > 30)
    t.equal(some.atOnce.most, 1)
    t.equal(some.stuck(), 'refused')
    isBack = true
    await until('all is done', () => some.committed() === 1n)
    t.equal(some.taken.length, 40)
    t.equal(some.stuck(), '')
  })

  for (const batch of [1, 10]) {
    t.test(`has its circuit closed while one user's record alone fails, in batches of ${batch}`, async t => {
      const some = given({ batch }, ({ seqs }) => seqs.some(([user]) => user === 'poison') ? broken : delivered)
      some.add(['poison', ...batch === 1 ? [] : ['in one batch with it']])
      await until('it has failed often', () => some.sent.length >= 20)
      t.equal(some.sender.circuit.opened, 0)
      some.add(['ann', 'bob'])
      const others = batch === 1 ? 2 : 3
      await until('the others are taken', () => some.taken.length === others)
      t.strictSame([some.sender.circuit.opened, some.givenUp], [0, []])
    })
  }

  t.test('closes its circuit by any record that is taken, though five users have one that never is', async t => {
    const some = given({ concurrency: 1 }, ({ seqs: [[user]] }: any) => /^bad/.test(user) ? broken : delivered)
    some.add(['bad 1', 'bad 2', 'bad 3', 'bad 4', 'bad 5'])
    await until('its circuit is open', () => some.sender.circuit.opened > 0)
    for (let n = 1; n <= 20; n++) {
      some.add([`user ${n}`])
      await until('it is taken', () => some.taken.length === n)
    }
  })

  t.test('is tried with all that failed in turns', async t => {
    let isOne = false
    const some = given({}, ({ seqs: [[user]] }: any) => isOne && user === 'user 7' ? delivered : away)
    some.add(Array.from({ length: 8 }, (_, i) => `user ${i}`))
    await until('its circuit is open', () => some.sender.circuit.state === 'open')
    await until('those under way have ended', () => some.atOnce.now === 0)
    isOne = true
    await until('that user is tried', () => some.taken.length > 0)
  })

  t.test('has the id that it had when it is sent again', async t => {
    let count = 0
    const some = given({ batch: 3 }, () => ++count < 4 ? away : delivered)
    some.add(['ann', 'bob', 'ann'])
    await until('all is done', () => some.committed() === 1n)
    t.equal(new Set(some.sent.map(({ id }) => id)).size, 1)
    t.strictSame(some.sent.map(({ seqs }) => seqs.length), [3, 3, 3, 3])
  })

  t.test('is left alone for as long as retry-after says', async t => {
    let count = 0
    const some = given({}, () => ++count === 1 ? { ...failed, retryAfterMs: 200 } as Verdict : delivered)
    const startMs = performance.now()
    some.add(['ann'])
    await until('it is told', () => count === 1)
    await new Promise(resolve => setTimeout(resolve, 20))
    some.add(['bob', 'cid'])
    await new Promise(resolve => setTimeout(resolve, 50))
    t.equal(some.sent.length, 1)
    await until('all is done', () => some.committed() === 2n)
    t.ok(performance.now() - startMs >= 199)
  })

  t.test('is left alone for as long also where it is away, and its circuit open', async t => {
    let isBack = false
    const some = given({ concurrency: 8 }, () => isBack ? delivered : { ...away, retryAfterMs: 300 } as Verdict)
    some.add(Array.from({ length: 8 }, (_, i) => `user ${i}`))
    await until('the circuit is open', () => some.sender.circuit.state === 'open')
    await until('those under way have ended', () => some.atOnce.now === 0)
    const { length } = some.sent
    await new Promise(resolve => setTimeout(resolve, 150))
    t.equal(some.sent.length, length)
    isBack = true
    await until('all is done', () => some.committed() === 1n)
  })

  t.test('gets nothing any more after it has answered 410', async t => {
    const some = given({}, () => gone)
    some.add(['ann'])
    await until('it is disabled', () => some.sender.isDisabled)
    some.add(['bob'])
    await new Promise(resolve => setTimeout(resolve, 50))
    t.equal(some.sent.length, 1)
    t.equal(some.committed(), 0n)
    t.match(some.stuck(), /410/)
  })

  t.test('gives up what fails for too long, and the user\'s later ones go on', async t => {
    const some = given({ giveUpAfterMs: 1_000 }, ({ seqs: [[, seq]] }: any) => seq === 1 ? failed : delivered)
    some.add(['ann', 'ann'])
    await until('all is done', () => some.committed() === 1n)
    t.strictSame(some.givenUp, ['ann/1'])
    t.strictSame(some.taken, ['ann/2'])
  })

  t.test('gets what has failed again, though the time of day has leapt a year ahead meanwhile', async t => {
    const { now } = Date
    t.teardown(() => { Date.now = now })
    let answers = 0
    const some = given({}, () => answers++ === 0 ? failed : delivered)
    some.add(['ann'])
    await until('it was sent', () => some.sent.length === 1)
    Date.now = () => now() + 365 * 86_400_000
    await until('all is done', () => some.committed() === 1n)
    t.strictSame(some.givenUp, [])
    t.strictSame(some.taken, ['ann/1'])
  })

  t.test('gets a batch when it is full, or when its time is over', async t => {
    const some = given({ batch: 10, lingerMs: 100 }, () => delivered)
    const startMs = performance.now()
    for (let i = 0; i < 9; i++) some.add([`user ${i}`])
    await new Promise(resolve => setTimeout(resolve, 20))
    t.equal(some.sent.length, 0)
    some.add(['user 9'])
    await until('it is sent', () => some.sent.length === 1)
    some.add(['late'])
    await until('all is done', () => some.committed() === 11n)
    t.strictSame(some.sent.map(({ seqs }) => seqs.length), [10, 1])
    t.ok(performance.now() - startMs >= 99)
  })

  t.test('gets nothing of a partition that was given back', async t => {
    const some = given({ concurrency: 1 }, () => delivered)
    const other = new Progress(() => {}, { recordsMax: 10, bytesMax: 1e9 })
    some.add(['ann', 'bob', 'cid'], other)
    other.end()
    await some.sender.forget(other, 1_000)
    some.add(['ann', 'dan'])
    await until('all is done', () => some.committed() > 0n)
    t.strictSame(some.taken, ['ann/1', 'ann/2', 'dan/1'])
  })

  t.test('has every record of another partition in the same lanes when one is given back, in order', async t => {
    const some = given({ concurrency: 1 }, () => delivered)
    const other = new Progress(() => {}, { recordsMax: 100, bytesMax: 1e9 })
    some.add(['first']) // its request is under way while the others queue up
    some.add(['ann', 'bob'], other)
    some.add(['ann', 'bob'])
    some.add(['ann', 'bob'], other)
    some.add(['ann', 'bob'])
    other.end()
    await some.sender.forget(other, 1_000)
    some.add(['ann'])
    await until('all is done', () => some.progress.undone === 0)
    t.strictSame(some.taken, ['first/1', 'ann/2', 'bob/2', 'ann/4', 'bob/4', 'ann/5'])
  })

  t.test('does not wait for the repeat of a record whose partition was given back', async t => {
    const slow = { retryMs: 600_000, retryMsMax: 600_000 }
    const some = given({}, ({ seqs: [[, seq]] }: any) => seq === 1 ? failed : delivered, slow)
    const other = new Progress(() => {}, { recordsMax: 100, bytesMax: 1e9 })
    some.add(['ann'], other)
    await until('it has failed', () => some.sent.length > 0 && some.atOnce.now === 0)
    other.end()
    await some.sender.forget(other, 1_000)
    some.add(['ann'])
    await until('it is done', () => some.progress.undone === 0)
    t.strictSame(some.taken, ['ann/2'])
  })
})
