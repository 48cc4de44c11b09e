import t from 'tap'
import type { TraceQuery } from '../../../gateway/http/trace.js'
import { givenApp, key } from './given.js'

t.test('A trace', async t => {
  const asked: Array<TraceQuery & { userId: string }> = []
  const { app } = givenApp(t, {
    trace: async (userId, query) => {
      asked.push({ userId, ...query })
      return { userId, steps: [], verdict: { code: 'never-requested', text: 'No request.' } }
    },
  })
  const get = async (query: string) =>
    await app.inject({ method: 'GET', url: `/v1/users/ann/trace${query}`, headers: key })

  await t.test('is of a downlink by its id, or of an uplink by its session and seq', async t => {
    t.match((await get('?messageId=m1')).json(), { userId: 'ann', verdict: { code: 'never-requested' } })
    t.equal((await get('?sessionId=s1&seq=7')).statusCode, 200)
    t.strictSame(asked, [{ userId: 'ann', messageId: 'm1' }, { userId: 'ann', sessionId: 's1', seq: 7 }])
  })

  for (const query of ['', '?sessionId=s1', '?seq=1', '?messageId=m1&seq=1', '?sessionId=s1&seq=0', '?sessionId=s1&seq=x', '?who=1']) {
    await t.test(`asked for with "${query}" is a bad request`, async t => {
      t.match((await get(query)).json(), { statusCode: 400, code: 'bad-request' })
    })
  }

  await t.test('wants an API key', async t => {
    const response = await app.inject({ method: 'GET', url: '/v1/users/ann/trace?messageId=m1' })
    t.equal(response.statusCode, 401)
  })
})
