import t from 'tap'
import { repliesIn, repliesOfAck } from '../../gateway/replies.js'

const answered = [{ id: 'msg_1', userId: 'ann' }, { id: 'msg_2', userId: 'bob' }, { id: 'msg_3', userId: undefined }]
const repliesTo = (downlinks: unknown, to = answered) => repliesIn(downlinks, to, { webhook: 'crm', app: 'shop' }, 1_024)

t.test('Downlinks in an answer', async t => {
  t.test('go to the user of what they answer, under ids that are made of its own', async t => {
    const [one, two, three, four] = repliesTo([
      { payload: 'a', inReplyTo: 'msg_2' },
      { payload: 'b', inReplyTo: 'msg_1', service: 'bot', ttlMs: 5, delivery: 'signal' },
      { payload: 'c', inReplyTo: 'msg_2' },
      { payload: 'd', inReplyTo: 'msg_3', userIds: ['eve', 'dan'], messageId: 'mine' },
    ])
    t.match(one, { messageId: 'webhook/crm/msg_2/reply/0', userIds: ['bob'], app: 'shop', service: '', delivery: 'durable' })
    t.match(two, { messageId: 'webhook/crm/msg_1/reply/0', userIds: ['ann'], service: 'bot', ttlMs: 5, delivery: 'signal' })
    t.match(three, { messageId: 'webhook/crm/msg_2/reply/1', userIds: ['bob'] })
    t.match(four, { messageId: 'mine', userIds: ['eve', 'dan'] })
    t.equal(Buffer.from(four!.payload).toString(), 'd')
    t.match(repliesTo([{ payload: 'a' }], answered.slice(0, 1)), [{ userIds: ['ann'] }])
  })

  for (const [what, downlinks, message] of [
    ['that are no array', {}, /must be array/],
    ['that answer nobody knows which record', [{ payload: 'a' }], /0\/inReplyTo: want the id/],
    ['that answer another record', [{ payload: 'a', inReplyTo: 'msg_9' }], /0\/inReplyTo: want the id/],
    ['for nobody', [{ payload: 'a', inReplyTo: 'msg_3' }], /userIds: want 1 to 1000/],
    ['without a payload', [{ inReplyTo: 'msg_1' }], /payload/],
    ['with a field that there is not', [{ payload: 'a', inReplyTo: 'msg_1', to: 'ann' }], /additional/],
    ['that are too large', [{ payload: 'x'.repeat(1_024), inReplyTo: 'msg_1' }], /1024 are the bound/],
    ['for a user with a bad id', [{ payload: 'a', inReplyTo: 'msg_1', userIds: ['a\u0000'] }], /userIds/],
  ] as const) {
    t.test(`${what} are refused`, async t => { t.throws(() => repliesTo(downlinks), { message }) })
  }
})

t.test('Replies of an ack', async t => {
  const of = (replies: object[], { group = 'bots', streams = ['uplinks'] } = {}) =>
    repliesOfAck(replies, new Set(streams), { app: 'shop', group }, 1_024)
  const idsOf = (replies: object[], more?: { group?: string, streams?: string[] }) =>
    of(replies, more).map(each => 'messageId' in each ? each.messageId : each.code)

  t.test('have other ids for each group and stream', async t => {
    t.strictSame(idsOf([{ inReplyTo: 'ann/1', payload: 'a' }]), ['group/bots/uplinks/ann/1/reply/0'])
    t.strictSame(idsOf([{ inReplyTo: 'ann/1', payload: 'a' }], { group: 'orders' }), ['group/orders/uplinks/ann/1/reply/0'])
    const streams = ['uplinks', 'presence', 'receipts', 'posts']
    const replies = streams.map(stream => ({ inReplyTo: 'ann/1', stream, payload: 'a', userIds: ['ann'] }))
    t.strictSame(idsOf(replies, { streams }), streams.map(stream => `group/bots/${stream}/ann/1/reply/0`))
  })

  t.test('keep their ids where one among them that was refused is put right', async t => {
    const [a, b] = [{ inReplyTo: 'ann/1', payload: 'a' }, { inReplyTo: 'ann/1', payload: 'b' }]
    const [first, second] = idsOf([a, b])
    t.strictSame(idsOf([{ ...a, ttl: 5 }, b]), ['bad-request', second])
    t.strictSame(idsOf([{ ...a, payload: 'x'.repeat(1_024) }, b]), ['payload-too-large', second])
    t.not(first, second)
  })

  t.test('have ids that are none too long, and different ones, for users whose ids are as long as may be', async t => {
    const users = ['a', 'b'].flatMap(letter => [200, 244, 250, 256].map(length => letter.repeat(length)))
    const made = of(users.flatMap(userId => [1, 2].map(seq => ({ inReplyTo: `${userId}/${seq}`, payload: 'a' }))))
    t.strictSame(made.flatMap(each => 'userIds' in each ? each.userIds : []), users.flatMap(userId => [userId, userId]))
    t.equal(new Set(made.map(each => (each as { messageId: string }).messageId)).size, 2 * users.length)
    const to = [{ id: 'm', userId: 'u'.repeat(256) }]
    t.match(repliesTo([{ payload: 'a' }], to), [{ userIds: ['u'.repeat(256)] }])
  })

  t.test('go to the user of the record of a user, whatever else is acked with it', async t => {
    const streams = ['uplinks', 'posts']
    t.match(of([
      { inReplyTo: 'ann/1', stream: 'uplinks', payload: 'a' },
      { inReplyTo: 'ann/1', stream: 'posts', payload: 'a' },
      { inReplyTo: 'ann/1', payload: 'a', userIds: ['ann'] },
      { inReplyTo: 'ann/1', stream: 'none', payload: 'a' },
      { stream: 'uplinks', payload: 'a' },
    ], { streams }), [
      { userIds: ['ann'] },
      { code: 'bad-request', message: /userIds/ },
      { code: 'bad-request', message: /^stream: want/ },
      { code: 'bad-request', message: /stream/ },
      { code: 'bad-request', message: /inReplyTo/ },
    ])
  })
})
