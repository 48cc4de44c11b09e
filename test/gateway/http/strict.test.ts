import t from 'tap'
import type { InjectOptions } from 'fastify'
import { givenApp, key } from './given.js'

/** What the server says is wrong with a request. */
async function refusal (t: Parameters<typeof givenApp>[0], request: InjectOptions) {
  const { app, asked } = givenApp(t, { roles: ['push', 'ip-config', 'projections'] })
  const response = await app.inject({ ...request, headers: { ...key, ...request.headers } })
  const { code, message } = response.json() as { code: string, message: string }
  return { asked, status: response.statusCode, headers: response.headers, code, message }
}

const push = (body: object) => ({ method: 'POST', url: '/v1/downlinks', payload: body } as const)
const least = { to: { userIds: ['ann'] }, payload: 'hi' }
const half = '\ud83d'
const emoji = (count: number) => '😀'.repeat(count)

t.test('An unknown query parameter', async t => {
  for (const url of [
    '/healthz', '/readyz', '/metrics', '/openapi.json', '/v1/ip-config', '/v1/uplinks', '/v1/connections', '/v1/nodes',
    '/v1/lag', '/v1/topics', '/v1/log', '/v1/log/ledger', '/v1/log/ledger/0', '/v1/users/ann/presence',
    '/v1/users/ann/state', '/v1/users/ann/trace?messageId=m', '/v1/nodes/n1/drain',
  ]) {
    t.test(`is refused at ${url}`, async t => {
      const { status, code, message } = await refusal(t, { url: `${url}${url.includes('?') ? '&' : '?'}grup=x` })
      t.equal(status, 400)
      t.match({ code, message }, { code: 'bad-request', message: /^querystring: there is no parameter "grup"/ })
    })
  }
  for (const [method, url] of [
    ['POST', '/v1/downlinks'], ['POST', '/v1/presence'], ['POST', '/v1/rebuilds'], ['POST', '/v1/nodes/n1/drain'],
    ['POST', '/v1/users/ann/redeliveries'], ['DELETE', '/v1/users/ann/connections'], ['DELETE', '/v1/connections/c1'],
  ] as const) {
    t.test(`is refused at ${method} ${url}`, async t => {
      const payload = method === 'POST'
        ? { payload: { ...least, userIds: ['ann'], table: 'presence', deviceId: 'd', fromSeq: 1, toSeq: 1 } }
        : {}
      const { status } = await refusal(t, { method, url: `${url}?grup=x`, ...payload })
      t.equal(status, 400)
    })
  }
  t.test('is told with those that there are, and the nearest', async t => {
    const { message } = await refusal(t, { url: '/v1/uplinks?folow=true' })
    t.equal(message,
      'querystring: there is no parameter "folow"; there are after, since, follow, limit, users, room, service, code, group, ackWithinMs, app. Did you mean "follow"?')
    t.equal((await refusal(t, { url: '/v1/nodes?x=1' })).message,
      'querystring: there is no parameter "x"; there are none.')
  })
})

t.test('A field of the body that is unknown is named, with those that there are', async t => {
  t.match((await refusal(t, push({ ...least, ttlMS: 5 }))).message, /^body: there is no field "ttlMS"; there are to, .* Did you mean "ttlMs"\?$/)
  t.match((await refusal(t, push({ ...least, to: { users: ['ann'] } }))).message, /^body\/to: /)
  t.match((await refusal(t, { method: 'POST', url: '/v1/nodes/n1/drain', payload: { percnt: 5 } })).message, /"percent"\?$/)
})

t.test('A value that is not among those allowed is told with them', async t => {
  t.equal((await refusal(t, { url: '/v1/uplinks?follow=yes' })).message,
    'querystring/follow: got "yes", want "true" or "false"')
  t.equal((await refusal(t, push({ ...least, delivery: 'maybe' }))).message,
    'body/delivery: got "maybe", want "durable" or "signal"')
})

t.test('A value of another form is told with one that would do', async t => {
  t.equal((await refusal(t, { url: '/v1/uplinks?limit=many' })).message,
    'querystring/limit: got "many", want a text such as "100"')
  t.equal((await refusal(t, { url: '/v1/uplinks?after=tomorrow' })).message,
    'querystring/after: got "tomorrow", want now, or a cursor that this gateway gave out for uplinks')
})

t.test('A value that is long is cut, and never within a surrogate pair', async t => {
  for (const before of ['', 'a']) {
    const { message } = await refusal(t, push({ ...least, to: { userIds: [before + emoji(100)] } }))
    t.match(message, /😀\.\.\., want/)
    t.notMatch(message, /\p{Surrogate}/u)
  }
})

t.test('A payload that is none says what one is', async t => {
  t.equal((await refusal(t, push({ ...least, payload: 7 }))).message, 'body/payload: want a string, or {"base64": "..."}')
})

t.test('A body without a content type is told which one to name', async t => {
  const { status, code, message } = await refusal(t, { ...push(least), payload: JSON.stringify(least) })
  t.match({ status, code, message }, { status: 415, code: 'unsupported-media-type', message: 'want the header content-type: application/json' })
  const other = await refusal(t, { ...push(least), payload: 'a=1', headers: { 'content-type': 'application/x-www-form-urlencoded' } })
  t.match(other, { status: 415, message: 'got content-type: application/x-www-form-urlencoded, want application/json' })
})

t.test('A content type without a body', async t => {
  const headers = { ...key, 'content-type': 'application/json' }

  t.test('is borne where none is wanted', async t => {
    const { app, asked } = givenApp(t)
    const response = await app.inject({ method: 'DELETE', url: '/v1/connections/c1?userId=ann', headers })
    t.equal(response.statusCode, 202)
    t.match(asked.kicks, [{ userId: 'ann', connectionId: 'c1' }])
  })

  t.test('is refused where one is', async t => {
    const { status, message } = await refusal(t, { method: 'POST', url: '/v1/downlinks', headers })
    t.strictSame({ status, message }, { status: 400, message: 'body must be object' })
  })
})

t.test('A body that is not UTF-8 is refused', async t => {
  const payload = Buffer.concat([Buffer.from('{"to":{"userIds":["a"]},"payload":"'), Buffer.from([0xff]), Buffer.from('"}')])
  const { status, code, message, asked } = await refusal(t, {
    method: 'POST', url: '/v1/downlinks', payload, headers: { 'content-type': 'application/json' },
  })
  t.match({ status, code, message }, { status: 400, code: 'bad-request', message: /UTF-8/ })
  t.strictSame(asked.commands, [])
})

t.test('An id', async t => {
  const path = (id: string) => encodeURIComponent(id)
  const doors: Record<string, (id: string) => InjectOptions> = {
    'the users of a push': id => push({ ...least, to: { userIds: [id] } }),
    'the messageId of a push': id => push({ ...least, messageId: id }),
    'the devices of a push': id => push({ ...least, devices: [id] }),
    'the devices that a push leaves out': id => push({ ...least, exceptDevices: [id] }),
    'the users of a look at presence': id => ({ method: 'POST', url: '/v1/presence', payload: { userIds: [id] } }),
    'the device of a redelivery': id =>
      ({ method: 'POST', url: '/v1/users/ann/redeliveries', payload: { deviceId: id, fromSeq: 1, toSeq: 1 } }),
    'the request of a redelivery': id => ({
      method: 'POST', url: '/v1/users/ann/redeliveries', payload: { deviceId: 'd', fromSeq: 1, toSeq: 1, requestId: id },
    }),
  }
  const paths: Record<string, (id: string) => InjectOptions> = {
    'the path of a user\'s presence': id => ({ url: `/v1/users/${path(id)}/presence` }),
    'the path of a user\'s state': id => ({ url: `/v1/users/${path(id)}/state` }),
    'the path of a user\'s trace': id => ({ url: `/v1/users/${path(id)}/trace?messageId=m` }),
    'a trace\'s messageId': id => ({ url: `/v1/users/ann/trace?messageId=${path(id)}` }),
    'a trace\'s connectionId': id => ({ url: `/v1/users/ann/trace?connectionId=${path(id)}` }),
    'a trace\'s sessionId': id => ({ url: `/v1/users/ann/trace?seq=1&sessionId=${path(id)}` }),
    'the path of a kick': id => ({ method: 'DELETE', url: `/v1/users/${path(id)}/connections` }),
    'the path of a connection': id => ({ method: 'DELETE', url: `/v1/connections/${path(id)}` }),
    'the user of a connection': id => ({ method: 'DELETE', url: `/v1/connections/c1?userId=${path(id)}` }),
    'a history\'s user': id => ({ url: `/v1/connections?userId=${path(id)}` }),
    'a log\'s key': id => ({ url: `/v1/log/ledger/0?key=${path(id)}` }),
    'the path of a node': id => ({ url: `/v1/nodes/${path(id)}/drain` }),
    'the path of a redelivery': id => ({
      method: 'POST', url: `/v1/users/${path(id)}/redeliveries`, payload: { deviceId: 'd', fromSeq: 1, toSeq: 1 },
    }),
  }
  const wrong = { '256 emoji': emoji(256), '65 emoji': emoji(65), 'a line break': 'a\nb', 'an escape': '\u001b[31m', C1: 'a\u0085' }
  for (const [door, request] of Object.entries({ ...doors, ...paths })) {
    t.test(`in ${door} is bounded in bytes and holds no control characters`, async t => {
      const { app } = givenApp(t)
      for (const [what, id] of Object.entries({ ...wrong, ...door in doors ? { 'half a character': half } : {} })) {
        const response = await app.inject({ ...request(id), headers: key })
        t.match(response.json(), { statusCode: 400, code: 'bad-request' }, what)
      }
      t.not((await app.inject({ ...request(emoji(64)), headers: key })).statusCode, 400, '256 bytes are taken')
    })
  }
})

t.test('A text is bounded in bytes and well-formed', async t => {
  for (const request of [
    push({ ...least, service: emoji(65) }),
    push({ ...least, platforms: [emoji(17)] }),
    push({ ...least, platforms: [half] }),
    { url: `/v1/uplinks?service=${encodeURIComponent(emoji(65))}` },
    { url: `/v1/ip-config?region=${encodeURIComponent(emoji(17))}` },
    { method: 'DELETE', url: `/v1/users/ann/connections?reason=${encodeURIComponent(emoji(65))}` },
  ] satisfies InjectOptions[]) {
    t.match(await refusal(t, request), { status: 400, code: 'bad-request', message: /want at most \d+ bytes of well-formed UTF-8$/ })
  }
})

t.test('A wrong method of a path is told with those that it takes', async t => {
  t.match(await refusal(t, { method: 'PUT', url: '/v1/downlinks?x=1' }),
    { status: 405, code: 'method-not-allowed', headers: { allow: 'POST' } })
  t.match(await refusal(t, { method: 'POST', url: '/v1/users/a%2Fb/presence' }), { status: 405, headers: { allow: 'GET, HEAD' } })
  t.match(await refusal(t, { method: 'DELETE', url: '/v1/connections' }), { status: 405, headers: { allow: 'GET' } })
  t.match(await refusal(t, { method: 'POST', url: '/v1/nodes', payload: '<a/>', headers: { 'content-type': 'text/xml' } }),
    { status: 405, headers: { allow: 'GET, HEAD' } })
  t.match(await refusal(t, { url: '/v1/downlinks/' }), { status: 404, code: 'not-found' })
})

t.test('A route of a role that the node lacks', async t => {
  const { app } = givenApp(t, { roles: ['users'] })
  for (const [role, request] of [
    ['push', { method: 'POST', url: '/v1/downlinks', payload: least }], ['push', { url: '/v1/users/ann/presence' }],
    ['ip-config', { url: '/v1/ip-config' }], ['projections', { method: 'POST', url: '/v1/rebuilds' }],
    ['edge', { url: '/v1/connect' }],
  ] as const) {
    t.test(`says that it lacks ${role}, at ${request.url}`, async t => {
      t.match((await app.inject({ ...request, headers: key })).json(),
        { statusCode: 404, code: 'not-found', message: `this node lacks the role ${role}: ask one that has it` })
    })
  }
  t.test('wants a key first', async t => {
    t.equal((await app.inject('/v1/users/ann/presence')).statusCode, 401)
  })
  t.test('is not in the OpenAPI document', async t => {
    t.strictSame(Object.keys((await app.inject('/openapi.json')).json().paths).filter(path => path.includes('users')), [])
  })
})
