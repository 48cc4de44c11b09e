import t from 'tap'
import { givenApp, givenUplinks, key, uplink } from './given.js'

const never = () => new Promise<never>(() => {})

async function * nothingYet (): AsyncGenerator<never> { await never() }

t.test('An answer that does not come in time', async t => {
  const { log } = givenUplinks([[]])
  const { app } = givenApp(t, {
    presence: never,
    nodes: never,
    kick: never,
    push: never,
    lag: never,
    topics: never,
    ipConfig: never,
    drainState: never,
    logReader: { ...log, bounds: never },
  })
  await app.ready()

  const requests = [
    ['GET', '/v1/users/ann/presence', 'not-ready'],
    ['GET', '/v1/nodes', 'not-ready'],
    ['GET', '/v1/lag', 'not-ready'],
    ['GET', '/v1/topics', 'not-ready'],
    ['GET', '/v1/ip-config', 'not-ready'],
    ['GET', '/v1/nodes/n1/drain', 'not-ready'],
    ['DELETE', '/v1/users/ann/connections', 'not-ready'],
    ['GET', '/v1/uplinks?after=', 'ledger-unavailable'],
  ] as const
  await t.test('is a 503 with Retry-After, whatever was asked', async t => {
    await Promise.all(requests.map(async ([method, url, code]) => {
      const response = await app.inject({ method, url, headers: key })
      t.match(response.json(), { statusCode: 503, code }, url)
      t.match(response.headers['retry-after'], /^\d+$/)
    }))
  })

  await t.test('is one for signals, and for what has to be stored', async t => {
    const push = (delivery: string) => app.inject({
      method: 'POST',
      url: '/v1/downlinks',
      headers: key,
      payload: { to: { userIds: ['ann'] }, payload: 'hi', delivery },
    })
    const [signal, durable] = await Promise.all([push('signal'), push('durable')])
    t.match(signal.json(), { statusCode: 503, code: 'not-ready' })
    t.match(durable.json(), { statusCode: 503, code: 'ledger-unavailable' })
  })
})

t.test('While the log is known to be away', async t => {
  let asked = 0
  const ask = async (): Promise<never> => { asked++; throw new Error('asked all the same') }
  const { log } = givenUplinks([[]])
  let reason = 'Kafka does not answer'
  const { app } = givenApp(t, {
    logAway: () => reason,
    push: ask,
    kick: ask,
    lag: ask,
    topics: ask,
    bansOf: ask,
    ban: ask,
    liftBan: ask,
    drain: ask,
    state: ask,
    trace: ask,
    redeliver: ask,
    logReader: { ...log, bounds: ask },
  })
  await app.ready()
  const to = { userIds: ['ann'] }
  const requests: Array<readonly [string, string, string, object?]> = [
    ['DELETE', '/v1/users/ann/connections', 'not-ready'],
    ['DELETE', '/v1/connections/c1', 'not-ready'],
    ['GET', '/v1/lag', 'not-ready'],
    ['GET', '/v1/topics', 'not-ready'],
    ['GET', '/v1/users/ann/bans', 'not-ready'],
    ['GET', '/v1/users/ann/state', 'not-ready'],
    ['GET', '/v1/users/ann/trace?connectionId=c1', 'not-ready'],
    ['GET', '/v1/uplinks', 'ledger-unavailable'],
    ['POST', '/v1/nodes/n1/drain', 'ledger-unavailable', {}],
    ['POST', '/v1/downlinks', 'ledger-unavailable', { to, payload: 'hi' }],
    ['POST', '/v1/bans', 'ledger-unavailable', { userId: 'ann', reason: 'spam' }],
  ]
  const answers = async () => await Promise.all(requests.map(async ([method, url,, payload]) => {
    const response = await app.inject({ method: method as 'GET', url, headers: key, ...payload ? { payload } : {} })
    const { statusCode, code, message } = response.json()
    return { url, statusCode, code, message, retryAfter: response.headers['retry-after'] }
  }))

  await t.test('what needs it is refused, and not asked for', async t => {
    for (const [i, answer] of (await answers()).entries()) {
      const [, url, code] = requests[i]!
      t.match(answer, { url, statusCode: 503, code, message: reason, retryAfter: /^\d+$/ }, url)
    }
    t.equal(asked, 0)
  })

  await t.test('what does not need it is answered', async t => {
    t.equal((await app.inject({ url: '/v1/users/ann/presence', headers: key })).statusCode, 200)
    t.equal((await app.inject({ url: '/v1/nodes', headers: key })).statusCode, 200)
    t.equal((await app.inject({ url: '/v1/ip-config' })).statusCode, 200)
  })

  await t.test('and no longer', async t => {
    reason = ''
    await answers()
    t.equal(asked, requests.length)
  })
})

t.test('What is read from the log ends when that goes away meanwhile', async t => {
  let reason = ''
  const { app } = givenApp(t, { logAway: () => reason, state: never, trace: never })
  await app.ready()
  const answers = ['/v1/users/ann/state', '/v1/users/ann/trace?connectionId=c1'].map(url => app.inject({ url, headers: key }))
  await new Promise(resolve => setImmediate(resolve))
  reason = 'Kafka does not answer'
  for (const response of await Promise.all(answers)) t.match(response.json(), { statusCode: 503, code: 'not-ready', message: reason })
})

t.test('Every answer begins in time', async t => {
  t.test('also that of a route whose work nobody has bounded', async t => {
    const { app } = givenApp(t, { backup: never, beginMs: 50 })
    const payload = { directory: '/tmp/never', token: 'a token of sixteen or more' }
    const response = await app.inject({ method: 'POST', url: '/v1/backups', headers: key, payload })
    t.match(response.json(), { statusCode: 503, code: 'not-ready' })
    t.match(response.headers['retry-after'], /^\d+$/)
  })

  t.test('and one that has begun goes on after that time', async t => {
    const { log, add } = givenUplinks([[]])
    const { app } = givenApp(t, { logReader: log, beginMs: 50 })
    await app.listen({ host: '127.0.0.1', port: 0 })
    const leaving = new AbortController()
    t.teardown(() => { leaving.abort() })
    const response = await fetch(`${origin(app)}/v1/uplinks?follow=true`, { headers: key, signal: leaving.signal })
    t.equal(response.status, 200)
    await new Promise(resolve => setTimeout(resolve, 200))
    add(0, [uplink('ann', 1)])
    const lines = response.body!.pipeThrough(new TextDecoderStream()).getReader()
    t.match(await lines.read(), { value: /"userId":"ann"/ })
  })

  t.test('and of what comes as lines or blocks, the head comes before the first of them', async t => {
    const reader = { partitions: () => 1, bounds: async () => ({ first: 0n, next: 9n }), offsetAt: never }
    const { app } = givenApp(t, {
      roles: ['push', 'projections'],
      rebuild: nothingYet,
      backup: async () => nothingYet(),
      logReader: { ...reader, read: nothingYet } as never,
      streams: [{ name: 'ledger' } as never],
    })
    await app.listen({ host: '127.0.0.1', port: 0 })
    const post = { method: 'POST', headers: { ...key, 'content-type': 'application/json' } }
    const requests: Array<[string, RequestInit]> = [
      ['/v1/rebuilds', { ...post, body: JSON.stringify({ table: 'presence' }) }],
      ['/v1/backups', { ...post, body: JSON.stringify({ directory: '/tmp/never', token: 'a token of sixteen or more' }) }],
      ['/v1/connections', { headers: key }],
      ['/v1/log/ledger/0', { headers: key }],
    ]
    for (const [path, init] of requests) {
      const leaving = new AbortController()
      const response = await fetch(origin(app) + path, { ...init, signal: leaving.signal })
      t.equal(response.status, 200, path)
      leaving.abort()
    }
  })
})

function origin (app: { server: { address (): unknown } }): string {
  return `http://127.0.0.1:${(app.server.address() as { port: number }).port}`
}
