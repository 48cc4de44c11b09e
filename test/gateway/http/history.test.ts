import t from 'tap'
import { ended, historyLog, noon } from '../../evidence/connection-rows.js'
import { givenApp, key } from './given.js'

const minute = 60_000
const path = '/v1/connections'

t.test('GET /v1/connections', async t => {
  const { log, clock, append } = await historyLog(t, t.testdir())
  const { app } = givenApp(t, { logReader: log })
  for (const minutes of [1, 2, 3]) {
    clock.nowMs = noon + minutes * minute
    await append([
      ended('ann', `a${minutes}`, { closedAtMs: clock.nowMs }), ended('bob', `b${minutes}`, { closedAtMs: clock.nowMs }),
    ])
  }
  const ids = async (query: string) => {
    const { statusCode, body, headers } = await app.inject({ url: `${path}?${query}`, headers: key })
    t.equal(statusCode, 200, query)
    t.match(headers['content-type'], 'application/x-ndjson')
    return body.split('\n').slice(0, -1).map(line => (JSON.parse(line) as { connectionId: string }).connectionId).sort()
  }

  t.test('has each connection that ended, with its whole story', async t => {
    t.strictSame(await ids(''), ['a1', 'a2', 'a3', 'b1', 'b2', 'b3'])
    const { body } = await app.inject({ url: `${path}?userId=ann&until=2026-11-20T12:02Z`, headers: key })
    t.strictSame(JSON.parse(body), ended('ann', 'a1', { closedAtMs: noon + minute }))
  })

  t.test('has those of a while and of a user', async t => {
    t.strictSame(await ids('since=2026-11-20T12:02Z'), ['a2', 'a3', 'b2', 'b3'])
    t.strictSame(await ids('since=2026-11-20T12:02Z&until=2026-11-20T12:03Z&userId=bob'), ['b2'])
    t.strictSame(await ids('since=1ms'), [])
    t.strictSame(await ids('userId=nobody'), [])
  })

  t.test('refuses what it does not understand', async t => {
    for (const query of ['since=yesterday', 'until=3@7', 'since=1h&until=2h', 'user=ann', 'userId=']) {
      const { statusCode, body } = await app.inject({ url: `${path}?${query}`, headers: key })
      t.match([statusCode, JSON.parse(body)], [400, { code: 'bad-request' }], query)
    }
  })

  t.test('wants an API key', async t => {
    t.equal((await app.inject({ url: path })).statusCode, 401)
  })
})
