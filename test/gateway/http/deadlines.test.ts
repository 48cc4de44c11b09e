import t from 'tap'
import { givenApp, givenUplinks, key } from './given.js'

const never = () => new Promise<never>(() => {})

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
    uplinks: { log: { ...log, bounds: never }, stream: { name: 'uplinks' } as never },
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
