import { connect } from 'node:net'
import t from 'tap'
import type { Test } from 'tap'
import { GatewayError } from '../../../schemas/errors.js'
import { givenApp, key, node } from './given.js'

function isError (t: Test, response: { statusCode: number, json: () => any }, statusCode: number, code: string) {
  t.equal(response.statusCode, statusCode)
  const body = response.json()
  t.match(body, { statusCode, code, error: String, message: String })
  t.strictSame(Object.keys(body).sort(), ['code', 'error', 'message', 'statusCode'])
}

t.test('An API key', async t => {
  const wanting = ['/v1/uplinks', '/v1/users/ann/presence', '/v1/nodes', '/metrics']

  for (const url of wanting) {
    t.test(`is wanted for ${url}`, async t => {
      const { app } = givenApp(t)
      for (const authorization of [undefined, '', 'key-one-of-the-tests', 'Basic key-one-of-the-tests', 'Bearer', 'Bearer key', 'Bearer key-one-of-the-tests x']) {
        const response = await app.inject({ url, headers: authorization === undefined ? {} : { authorization } })
        isError(t, response, 401, 'unauthorized')
        t.equal(response.headers['www-authenticate'], 'Bearer')
      }
      t.equal((await app.inject({ url, headers: { authorization: 'Bearer key-one-of-the-tests' } })).statusCode, 200)
      t.equal((await app.inject({ url, headers: { authorization: 'bearer  key-two-of-the-tests' } })).statusCode, 200)
    })
  }

  t.test('is wanted before a body is looked at', async t => {
    const { app } = givenApp(t)
    isError(t, await app.inject({ method: 'POST', url: '/v1/downlinks', payload: { junk: 1 } }), 401, 'unauthorized')
  })

  for (const url of ['/v1/ip-config', '/healthz', '/readyz', '/openapi.json']) {
    t.test(`is not wanted for ${url}`, async t => {
      const { app } = givenApp(t)
      t.equal((await app.inject({ url })).statusCode, 200)
    })
  }
})

t.test('An error', async t => {
  t.test('is not-found for an unknown path', async t => {
    const { app } = givenApp(t)
    isError(t, await app.inject('/v2/nothing?key=hush'), 404, 'not-found')
    isError(t, await app.inject({ method: 'PUT', url: '/v1/uplink', headers: key }), 404, 'not-found')
  })

  t.test('is bad-request for a URL that cannot be decoded', async t => {
    const { app } = givenApp(t)
    isError(t, await app.inject({ url: '/v1/users/%zz/presence', headers: key }), 400, 'bad-request')
  })

  t.test('has the code and status of a GatewayError', async t => {
    const { app } = givenApp(t, { nodes: async () => { throw new GatewayError('ledger-unavailable', 'disk full') } })
    const response = await app.inject({ url: '/v1/nodes', headers: key })
    isError(t, response, 503, 'ledger-unavailable')
    t.equal(response.json().message, 'disk full')
    t.equal(response.headers['retry-after'], '1')
  })

  t.test('is internal, and tells nothing, for what is not the caller\'s', async t => {
    for (const err of [new Error('hush'), new GatewayError('bad-record', 'hush'), Object.assign(new Error('hush'), { statusCode: 502 })]) {
      const { app } = givenApp(t, { nodes: async () => { throw err } })
      const response = await app.inject({ url: '/v1/nodes', headers: key })
      isError(t, response, 500, 'internal')
      t.notMatch(response.body, 'hush')
    }
  })

  t.test('is not-ready while the server closes', async t => {
    const { app } = givenApp(t)
    let url = ''
    let during: Response | undefined
    app.addHook('preClose', async () => { during = await fetch(`${url}/healthz`) })
    url = await app.listen({ port: 0 })
    await app.close()
    const body = await during?.json()
    isError(t, { statusCode: during?.status ?? 0, json: () => body }, 503, 'not-ready')
  })

  t.test('is bad-request for bytes that are no HTTP', async t => {
    const { app } = givenApp(t)
    await app.listen({ port: 0 })
    const { port } = app.server.address() as { port: number }
    const socket = connect(port)
    t.teardown(() => socket.destroy())
    socket.end('\x00\x01\x02 nonsense\r\n\r\n')
    let text = ''
    for await (const chunk of socket) text += String(chunk)
    const body = text.slice(text.indexOf('\r\n\r\n') + 4)
    isError(t, { statusCode: Number(text.split(' ')[1]), json: () => JSON.parse(body) }, 400, 'bad-request')
    t.equal((await app.inject('/healthz')).statusCode, 200)
  })
})

t.test('ip-config', async t => {
  t.test('asks for the transport and region given', async t => {
    const { app } = givenApp(t)
    const response = await app.inject('/v1/ip-config?transport=tcp&region=north')
    t.strictSame(response.json(), {
      endpoints: ['tcp://north.example.com'],
      ttlMs: 1,
      heartbeatMs: 2,
      backoff: { baseMs: 3, capMs: 4 },
      asOfMs: 5,
    })
  })

  t.test('takes WebSocket and no region by default', async t => {
    const { app } = givenApp(t)
    t.strictSame((await app.inject('/v1/ip-config')).json().endpoints, ['ws://.example.com'])
  })

  t.test('refuses an unknown transport and a long region', async t => {
    const { app } = givenApp(t)
    isError(t, await app.inject('/v1/ip-config?transport=udp'), 400, 'bad-request')
    isError(t, await app.inject(`/v1/ip-config?region=${'a'.repeat(65)}`), 400, 'bad-request')
    isError(t, await app.inject('/v1/ip-config?region=a&region=b'), 400, 'bad-request')
  })
})

t.test('Presence', async t => {
  t.test('is told for one user', async t => {
    const { app } = givenApp(t)
    const response = await app.inject({ url: '/v1/users/a%2Fb%20c/presence', headers: key })
    t.strictSame(response.json(),
      { userId: 'a/b c', online: false, sessions: [], lastSeenAtMs: null, asOf: { position: '0@1.0', atMs: 9 } })
  })

  t.test('is told with all that is known of each session', async t => {
    const session = {
      connectionId: 'c1',
      deviceId: 'phone',
      platform: 'ios',
      sessionId: 's1',
      client: 'app/1',
      transport: 'ws' as const,
      address: '127.0.0.1:5',
      nodeId: 'n1',
      openedAtMs: 8,
    }
    const answer = { userId: 'ann', online: true, sessions: [session], lastSeenAtMs: 8, asOf: { position: '0@1.0', atMs: 9 } }
    const { app } = givenApp(t, { presence: async () => answer })
    t.strictSame((await app.inject({ url: '/v1/users/ann/presence', headers: key })).json(), answer)
  })

  t.test('is told for many, in their order', async t => {
    const { app } = givenApp(t)
    const response = await app.inject({ method: 'POST', url: '/v1/presence', headers: key, payload: { userIds: ['b', 'a'] } })
    t.match(response.json(), { users: [{ userId: 'b' }, { userId: 'a' }] })
  })

  t.test('takes a user id of 256 bytes and refuses a longer one', async t => {
    const { app } = givenApp(t)
    const longest = encodeURIComponent('ü'.repeat(128))
    t.equal((await app.inject({ url: `/v1/users/${longest}/presence`, headers: key })).statusCode, 200)
    isError(t, await app.inject({ url: `/v1/users/${longest}a/presence`, headers: key }), 400, 'bad-request')
    isError(t, await app.inject({ url: `/v1/users/${'a'.repeat(3000)}/presence`, headers: key }), 414, 'bad-request')
  })

  for (const body of [{}, { userIds: [] }, { userIds: 'ann' }, { userIds: ['a', 'a'] }, { userIds: [''] }, { userIds: [1] },
    { userIds: ['a'], more: 1 }, { userIds: Array.from({ length: 1001 }, (_, i) => `u${i}`) }]) {
    t.test(`refuses ${JSON.stringify(body).slice(0, 40)}`, async t => {
      const { app } = givenApp(t)
      isError(t, await app.inject({ method: 'POST', url: '/v1/presence', headers: key, payload: body }), 400, 'bad-request')
    })
  }
})

t.test('A kick', async t => {
  t.test('names one connection, and its user where the caller knows', async t => {
    const { app, asked } = givenApp(t)
    const response = await app.inject({ method: 'DELETE', url: '/v1/connections/c1?userId=ann&reason=bye', headers: key })
    t.equal(response.statusCode, 202)
    t.strictSame(response.json(), { connections: [{ userId: 'ann', connectionId: 'c1' }] })
    t.strictSame(asked.kicks, [{ app: '', userId: 'ann', connectionId: 'c1', reason: 'bye', by: '' }])
  })

  t.test('names all connections of a user', async t => {
    const { app, asked } = givenApp(t)
    t.equal((await app.inject({ method: 'DELETE', url: '/v1/users/ann/connections', headers: key })).statusCode, 202)
    t.strictSame(asked.kicks, [{ app: '', userId: 'ann', connectionId: '', reason: '', by: '' }])
  })

  t.test('is not-found where nothing is open', async t => {
    const { app } = givenApp(t)
    isError(t, await app.inject({ method: 'DELETE', url: '/v1/connections/c2', headers: key }), 404, 'not-found')
    isError(t, await app.inject({ method: 'DELETE', url: '/v1/users/bob/connections', headers: key }), 404, 'not-found')
  })

  t.test('refuses a reason of more than 256 characters', async t => {
    const { app } = givenApp(t)
    const url = `/v1/connections/c1?reason=${'a'.repeat(257)}`
    isError(t, await app.inject({ method: 'DELETE', url, headers: key }), 400, 'bad-request')
  })
})

t.test('The node table is told with all its fields', async t => {
  const { app } = givenApp(t)
  const response = await app.inject({ url: '/v1/nodes', headers: key })
  t.strictSame(response.json(), { nodes: [node], asOf: { position: '0@1.0', atMs: 9 } })
})

t.test('Health', async t => {
  t.test('is 503 with the reasons while the node is not ready', async t => {
    const state = { ready: false, checks: { log: { ok: false, reason: 'disk full' } } }
    const { app } = givenApp(t, { readiness: () => state })
    const response = await app.inject('/readyz')
    t.equal(response.statusCode, 503)
    t.strictSame(response.json(), state)
    t.strictSame((await app.inject('/healthz')).json(), { status: 'ok' })
  })

  t.test('has metrics as Prometheus reads them', async t => {
    const { app } = givenApp(t)
    const response = await app.inject({ url: '/metrics', headers: key })
    t.equal(response.body, 'up 1\n')
    t.equal(response.headers['content-type'], 'text/plain; version=0.0.4')
  })
})
