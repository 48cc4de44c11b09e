import t from 'tap'
import { GatewayError } from '../../../schemas/errors.js'
import { until } from '../node.js'
import { connect, givenConnection, identity, openConnection, ping, turn, uplinks } from './given-connection.js'

const token = (name: string) => ({ op: 'token', token: name } as const)

t.test('A token on an open connection', async t => {
  t.test('takes the place of the old one, and holds up nothing', async t => {
    const client = await openConnection(t, {}, { token: { endsAtMs: Date.now() + 60_000 } })
    client.received(token('new'), ...uplinks(1, 1), ping())
    await turn()
    t.strictSame(client.uplinksAppended(), [1])
    t.match(client.written.slice(1), [{ op: 'pong' }])
    const expiresAtMs = Date.now() + 100_000
    client.letIn({ expiresAtMs, endsAtMs: expiresAtMs + 30_000 })
    await turn()
    t.match(client.written.slice(2), [{ op: 'tokenAccepted', expiresAtMs }])
    await client.pass(100_000)
    t.equal(client.phase(), 'open', 'longer than the old one')
    client.received(ping())
    await client.pass(31_000)
    t.match(client.written.at(-1), { op: 'error', code: 'token-expired' })
  })

  t.test('may last for ever', async t => {
    const client = await openConnection(t, {}, { token: { endsAtMs: Date.now() + 60_000 } })
    client.received(token('new'))
    await turn()
    client.letIn()
    await turn()
    t.match(client.written.slice(1), [{ op: 'tokenAccepted', expiresAtMs: 0 }])
  })

  t.test('must be of the same user and device', async t => {
    for (const [what, other] of [['user', { userId: 'bob' }], ['device', { deviceId: 'tablet' }]] as const) {
      const client = await openConnection(t)
      client.received(token('other'))
      await turn()
      client.letIn(other)
      await turn()
      t.match(client.written.slice(1), [{ op: 'error', code: 'bad-token' }], what)
      t.match(client.end(), { code: 'bad-token' })
    }
  })

  t.test('that is refused ends the connection, with what it was refused for', async t => {
    for (const code of ['bad-token', 'token-expired', 'token-early'] as const) {
      const client = await openConnection(t)
      client.received(token('bad'))
      await turn()
      client.verifying.shift()!.reject(new GatewayError(code, undefined, { retryAfterMs: 7 }))
      await turn()
      t.match(client.written.slice(1), [{ op: 'error', code, retryAfterMs: 7 }])
    }
  })

  for (const code of ['key-set-unavailable', 'auth-unavailable'] as const) {
    t.test(`is tried again while it can not be checked: ${code}`, async t => {
      const client = await openConnection(t)
      client.received(token('new'))
      await turn()
      client.verifying.shift()!.reject(new GatewayError(code, undefined, { retryAfterMs: 1 }))
      await until('it is tried again', () => client.verifying.length > 0)
      t.equal(client.phase(), 'open')
      client.letIn({ expiresAtMs: 5_000_000_000_000 })
      await turn()
      t.match(client.written.slice(1), [{ op: 'tokenAccepted', expiresAtMs: 5_000_000_000_000 }])
    })
  }

  t.test('waits for the one that is verified, and the last of many counts', async t => {
    const client = await openConnection(t)
    for (let i = 0; i < 50; i++) client.received(token(`t${i}`))
    await turn()
    t.strictSame(client.verifying.map(({ token }) => token), ['t0'])
    client.letIn({ expiresAtMs: 1 })
    await turn()
    t.strictSame(client.verifying.map(({ token }) => token), ['t49'])
    client.verifying.shift()!.resolve(identity({ expiresAtMs: 2 }))
    await turn()
    t.match(client.written.slice(1), [{ op: 'tokenAccepted', expiresAtMs: 1 }, { op: 'tokenAccepted', expiresAtMs: 2 }])
    client.received(token('later'))
    await turn()
    t.strictSame(client.verifying.map(({ token }) => token), ['later'])
  })

  t.test('is out of order before connected', async t => {
    const first = givenConnection(t)
    first.received(token('new'))
    await turn()
    t.match(first.written, [{ op: 'error', code: 'protocol' }])
    for (const behind of [[token('new')], [ping(), token('new')]]) {
      const client = givenConnection(t)
      client.received(connect, ...behind)
      await until('connect is taken', () => client.phase() === 'verifying')
      client.letIn()
      await turn()
      client.welcome()
      await turn()
      t.match(client.written.at(-1), { op: 'error', code: 'protocol' })
    }
  })
})
