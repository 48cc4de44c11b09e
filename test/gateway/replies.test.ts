import t from 'tap'
import { repliesIn } from '../../gateway/replies.js'

const answered = [{ id: 'msg_1', userId: 'ann' }, { id: 'msg_2', userId: 'bob' }, { id: 'msg_3', userId: undefined }]
const repliesTo = (downlinks: unknown, to = answered) => repliesIn(downlinks, to, 'shop', 1_024)

t.test('Downlinks in an answer', async t => {
  t.test('go to the user of what they answer, under ids that are made of its own', async t => {
    const [one, two, three, four] = repliesTo([
      { payload: 'a', inReplyTo: 'msg_2' },
      { payload: 'b', inReplyTo: 'msg_1', service: 'bot', ttlMs: 5, delivery: 'signal' },
      { payload: 'c', inReplyTo: 'msg_2' },
      { payload: 'd', inReplyTo: 'msg_3', userIds: ['eve', 'dan'], messageId: 'mine' },
    ])
    t.match(one, { messageId: 'msg_2/reply/0', userIds: ['bob'], app: 'shop', service: '', delivery: 'durable' })
    t.match(two, { messageId: 'msg_1/reply/0', userIds: ['ann'], service: 'bot', ttlMs: 5, delivery: 'signal' })
    t.match(three, { messageId: 'msg_2/reply/1', userIds: ['bob'] })
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
