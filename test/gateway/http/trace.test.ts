import t from 'tap'
import type { Inquiry } from '../../../evidence/inquiry.js'
import type { TraceRange } from '../../../evidence/trace.js'
import { givenApp, key } from './given.js'

t.test('A trace', async t => {
  const asked: Array<Inquiry & { userId: string }> = []
  const ranges: TraceRange[] = []
  const { app } = givenApp(t, {
    trace: async (userId, inquiry, range) => {
      asked.push({ userId, ...inquiry })
      ranges.push(range)
      return { userId, steps: [], verdict: { code: 'never-requested', cause: '', text: 'No request.' } }
    },
  })
  const get = async (query: string) =>
    await app.inject({ method: 'GET', url: `/v1/users/ann/trace${query}`, headers: key })

  await t.test('is of a downlink by its id, of an uplink by its session and seq, or of a connection', async t => {
    t.match((await get('?messageId=m1')).json(), { userId: 'ann', verdict: { code: 'never-requested' } })
    t.equal((await get('?sessionId=s1&seq=7')).statusCode, 200)
    t.equal((await get('?connectionId=c1')).statusCode, 200)
    t.strictSame(asked, [
      { userId: 'ann', messageId: 'm1' },
      { userId: 'ann', sessionId: 's1', seq: 7 },
      { userId: 'ann', connectionId: 'c1' },
    ])
  })

  await t.test('is of a range of times or positions', async t => {
    await get('?messageId=m1&since=2026-11-20T10:00:00Z&until=3@1021.4')
    t.strictSame(ranges.at(-1), {
      since: { type: 'time', atMs: Date.UTC(2026, 10, 20, 10) },
      until: { type: 'position', position: { partition: 3, offset: 1021n, index: 4 }, wholeBlock: false },
    })
  })

  for (const query of ['', '?sessionId=s1', '?seq=1', '?messageId=m1&seq=1', '?sessionId=s1&seq=0', '?sessionId=s1&seq=x', '?who=1',
    '?messageId=m1&connectionId=c1', '?messageId=m1&since=yesterday']) {
    await t.test(`asked for with "${query}" is a bad request`, async t => {
      t.match((await get(query)).json(), { statusCode: 400, code: 'bad-request' })
    })
  }

  await t.test('is of a user in a room, or of a post by its id', async t => {
    await get('?roomId=chat:7')
    t.strictSame(asked.at(-1), { userId: 'ann', roomId: 'chat:7' })
    const posts: unknown[] = []
    const { app } = givenApp(t, {
      tracePost: async (roomId, post, { since }) => {
        posts.push({ roomId, post, since })
        return { roomId, steps: [], verdict: { code: 'delivered', cause: '', text: 'Given.' } }
      },
    })
    const response = await app.inject({ url: '/v1/rooms/chat%3A7/trace?post=ann%2F12', headers: key })
    t.match(response.json(), { roomId: 'chat:7', steps: [], verdict: { code: 'delivered' } })
    t.strictSame(posts, [{ roomId: 'chat:7', post: 'ann/12', since: undefined }])
    for (const query of ['', '?post=', '?post=m1&since=yesterday']) {
      t.equal((await app.inject({ url: `/v1/rooms/r/trace${query}`, headers: key })).json().code, 'bad-request', query)
    }
  })

  await t.test('wants an API key', async t => {
    const response = await app.inject({ method: 'GET', url: '/v1/users/ann/trace?messageId=m1' })
    t.equal(response.statusCode, 401)
  })
})
