import t from 'tap'
import { readConfig } from '../../../gateway/read-config.js'
import { ensureSecrets } from '../../../gateway/secrets.js'
import { alive, connected, connectFrame, dialects, endsWith, speaker } from '../edge/dialects.js'
import { jwtSecret, signedToken, startTestNode, type TestNode, until } from '../node.js'
import { AuthServer, authSecret } from './auth-server.js'

const alone = { LEDGERLINE_JWT_SECRET: '' }
const counted = async (node: TestNode, outcome: string) => {
  const { text } = await node.request('GET', '/metrics')
  return Number(new RegExp(`auth_tokens_total{outcome="${outcome}"} (\\d+)`).exec(text)?.[1] ?? 0)
}

t.test('A node that asks business about tokens', async t => {
  const server = await AuthServer.start(t)
  const node = await startTestNode(t, { ...alone, ...server.settings })

  for (const dialect of dialects) {
    t.test(`lets in over ${dialect} whom it names`, async t => {
      server.answer = ({ token }) => ({ result: 'allow', userId: token.slice('session-of-'.length) })
      const { client, welcome } = await connected(t, node, dialect, 'ann', {
        token: 'session-of-ann', platform: 'ios', client: 'sdk/1',
      })
      t.equal(welcome.userId, 'ann')
      await alive(t, client)
      t.match(server.questions.at(-1), {
        frame: 'connect', token: 'session-of-ann', deviceId: 'phone', platform: 'ios', client: 'sdk/1', address: /^127\.0\.0\.1:\d+$/,
      })
    })

    t.test(`refuses over ${dialect} whom it refuses, with its code, reason and wait`, async t => {
      for (const code of ['bad-token', 'token-expired', 'token-early', 'rate-limited', 'banned']) {
        server.answer = () => ({ result: 'refuse', code, reason: 'not paid', retryAfterMs: 77 })
        const client = await speaker(t, node, dialect)
        client.sendAll([await connectFrame(node, 'ann'), { op: 'uplink', seq: 1, payload: 'not to be taken' }])
        const last = await endsWith(t, client, code)
        t.match(last, code === 'banned' ? { op: 'kick', reason: 'not paid' } : { op: 'error', message: 'not paid', retryAfterMs: 77 })
      }
    })

    t.test(`sends away over ${dialect} for a while where it can not be asked`, async t => {
      server.says(200, 'nonsense')
      const client = await speaker(t, node, dialect)
      client.send(await connectFrame(node, 'ann'))
      const { retryAfterMs } = await endsWith(t, client, 'auth-unavailable')
      t.ok(retryAfterMs > 0 && retryAfterMs < 60_000)
    })
  }

  t.test('tells when a token expires that a client can not read', async t => {
    const expiresAtMs = Date.now() + 3_600_000
    server.answer = () => ({ result: 'allow', userId: 'ann', expiresAtMs })
    for (const dialect of dialects) {
      const { client } = await connected(t, node, dialect, 'ann', { token: `expires-${dialect}` })
      t.match(await client.next(), { op: 'tokenAccepted', expiresAtMs })
      client.destroy()
    }
  })

  t.test('takes no device but the one that it names', async t => {
    server.answer = () => ({ result: 'allow', userId: 'ann', deviceId: 'tablet' })
    const client = await speaker(t, node, 'TCP')
    client.send(await connectFrame(node, 'ann'))
    await endsWith(t, client, 'bad-token')
    await connected(t, node, 'TCP', 'ann', { deviceId: 'tablet' })
  })

  t.test('gives no more rights in rooms than it says', async t => {
    server.answer = () => ({ result: 'allow', userId: 'ann', rooms: { open: 'r' } })
    const { client } = await connected(t, node, 'TCP', 'ann')
    client.sendAll([{ op: 'join', roomId: 'closed', seq: -1 }, { op: 'join', roomId: 'open', seq: -1 }])
    const heard = [await client.next(), await client.next()]
    t.match(heard.find(({ roomId }) => roomId === 'closed'), { op: 'left', code: 'forbidden' })
    t.match(heard.find(({ roomId }) => roomId === 'open'), { op: 'joined' })
  })

  t.test('ends a connection with its token, and takes one that is over for expired', async t => {
    server.answer = () => ({ result: 'allow', userId: 'ann', expiresAtMs: Date.now() - 60_000 })
    const late = await speaker(t, node, 'TCP')
    late.send(await connectFrame(node, 'ann'))
    await endsWith(t, late, 'token-expired')
    // Clocks may differ by 30 s.
    server.answer = () => ({ result: 'allow', userId: 'ann', expiresAtMs: Date.now() - 29_000 })
    const { client } = await connected(t, node, 'TCP', 'ann')
    await endsWith(t, client, 'token-expired')
  })

  t.test('asks about a fresh token of an open connection, again until it can be asked', async t => {
    server.answer = () => ({ result: 'allow', userId: 'ann' })
    const { client } = await connected(t, node, 'WebSocket JSON', 'ann', { platform: 'ios' })
    server.says(500, '')
    client.send({ op: 'token', token: 'fresh' })
    const before = server.questions.length
    await until('it was asked in vain', () => server.questions.length > before)
    await alive(t, client)
    const expiresAtMs = Date.now() + 3_600_000
    server.answer = () => ({ result: 'allow', userId: 'ann', expiresAtMs })
    t.match(await client.next(), { op: 'tokenAccepted', expiresAtMs })
    t.match(server.questions.at(-1), { frame: 'token', token: 'fresh', deviceId: 'phone', platform: 'ios', client: '', address: /./ })
    server.answer = () => ({ result: 'allow', userId: 'bob' })
    client.send({ op: 'token', token: 'of another' })
    await endsWith(t, client, 'bad-token')
  })

  t.test('ends a token that is banned by the id that it was given', async t => {
    server.answer = ({ token }) => ({ result: 'allow', userId: 'carol', tokenId: token, cacheMs: 60_000 })
    const { client } = await connected(t, node, 'TCP', 'carol', { token: 'stolen' })
    const { status } = await node.request('POST', '/v1/bans', { userId: 'carol', tokenId: 'stolen', reason: 'lost phone' })
    t.equal(status, 202)
    await endsWith(t, client, 'banned')
    const again = await speaker(t, node, 'TCP')
    again.send(await connectFrame(node, 'carol', { token: 'stolen' }))
    await endsWith(t, again, 'banned')
    t.ok(await counted(node, 'cached') > 0, 'whatever is cached')
    await connected(t, node, 'TCP', 'carol', { token: 'another' })
  })

  t.test('stays ready while it is away, and says what is wrong', async t => {
    await server.die()
    for (let i = 0; i < 6; i++) {
      const client = await speaker(t, node, 'TCP')
      client.send(await connectFrame(node, 'ann'))
      await endsWith(t, client, 'auth-unavailable')
    }
    const shown = await until('it is shown', async () => {
      const { status, json } = await node.request('GET', '/readyz')
      t.equal(status, 200)
      const { auth } = (json as { checks: Record<string, { ok: boolean, reason: string }> }).checks
      return auth?.ok === false ? auth : undefined
    })
    t.match(shown.reason, /ECONNREFUSED/)
    t.match((await node.request('GET', '/metrics')).text, /ledgerline_circuit_state{dependency="auth"} [12]/)
    await server.listen()
    server.answer = () => ({ result: 'allow', userId: 'ann' })
    await until('it is over', async () => {
      const { json } = await node.request('GET', '/readyz')
      return (json as { checks: Record<string, { ok: boolean }> }).checks['auth']?.ok
    })
    await connected(t, node, 'TCP', 'ann')
  })
  t.strictSame(server.forged, [], 'all that it was asked is signed')
})

t.test('A node with keys and a service', async t => {
  const server = await AuthServer.start(t)
  const shop = { name: 'shop', issuers: [{ issuer: 'shop-id', secret: 'the secret of the shop and of nobody else' }] }
  const node = await startTestNode(t, {
    ...server.settings, LEDGERLINE_JWT_ISSUER: 'id', LEDGERLINE_APPS: JSON.stringify([shop]), LEDGERLINE_ACCEPT_RATE: '0',
  })

  t.test('asks about no token that names an issuer, whatever that one says of it', async t => {
    await connected(t, node, 'TCP', 'ann', { token: await node.token('ann', { iss: 'id' }) })
    for (const claims of [{ iss: 'id', sub: '' }, { iss: 'shop-id', sub: 'ann' }]) {
      const client = await speaker(t, node, 'TCP')
      client.send(await connectFrame(node, 'ann', { token: await signedToken(claims) }))
      await endsWith(t, client, 'bad-token')
    }
    t.strictSame(server.questions, [])
  })

  t.test('asks about all others, and they may be of an app', async t => {
    server.answer = () => ({ result: 'allow', userId: 'ann', app: 'shop' })
    for (const token of ['opaque', 'a.b.c', await signedToken({ sub: 'ann' }), await signedToken({ sub: 'ann', iss: 'other' })]) {
      const { welcome } = await connected(t, node, 'TCP', 'ann', { token })
      t.equal(welcome.userId, 'ann')
      t.equal(server.questions.at(-1)?.token, token)
    }
    const { json } = await node.request('GET', '/v1/users/ann/presence?app=shop')
    t.match(json, { userId: 'ann' })
  })

  t.test('goes on for those of issuers while the service hangs under a flood', async t => {
    server.hangs()
    const flood = await Promise.all(Array.from({ length: 400 }, async (_, i) => {
      const client = await speaker(t, node, 'TCP')
      client.send(await connectFrame(node, 'eve', { token: `opaque-${i}`, deviceId: `d${i}` }))
      return client
    }))
    await until('it hangs', () => server.atOnce >= 64)
    t.ok(server.atOnceMost <= 64, `${server.atOnceMost} at once`)
    for (let i = 0; i < 20; i++) {
      const token = await node.token(`u${i}`, { iss: 'id' })
      const { client } = await connected(t, node, 'TCP', `u${i}`, { token })
      await alive(t, client)
    }
    for (const client of flood) await endsWith(t, client, 'auth-unavailable')
    t.ok(server.questions.length < 200, `${server.questions.length} questions: the others were not asked in vain`)
  })
})

t.test('A node whose one issuer has no name', async t => {
  const server = await AuthServer.start(t)
  const node = await startTestNode(t, server.settings)

  t.test('asks about what is no JWT, and about no JWT', async t => {
    await connected(t, node, 'TCP', 'ann', { token: await node.token('ann', { iss: 'anybody' }) })
    const forged = await speaker(t, node, 'TCP')
    forged.send(await connectFrame(node, 'ann', { token: await signedToken({ sub: 'ann' }, { secret: 'of nobody here, and long enough' }) }))
    await endsWith(t, forged, 'bad-token')
    t.strictSame(server.questions, [])
    await connected(t, node, 'TCP', 'ann', { token: 'ann' })
    t.equal(server.questions.length, 1)
  })
})

t.test('No token and no secret comes out in logs or answers, whatever the service does', async t => {
  const server = await AuthServer.start(t)
  const node = await startTestNode(t, { ...alone, ...server.settings }, 'trace')
  const token = 'HUSHxMARKERxHUSHx'
  const heard: string[] = []
  const answers: Array<() => unknown> = [
    () => ({ result: 'allow', userId: 'ann', [token]: 1 }),
    () => ({ result: 'refuse', code: token }),
    () => ({ result: token }),
    () => ({ result: 'allow', userId: token.repeat(20) }),
    () => ({ result: 'refuse', code: 'bad-token' }),
  ]
  for (const answer of answers) {
    server.answer = answer
    const client = await speaker(t, node, 'TCP')
    client.send(await connectFrame(node, 'ann', { token }))
    heard.push(JSON.stringify((await client.closed()).left))
  }
  await server.die()
  const client = await speaker(t, node, 'TCP')
  client.send(await connectFrame(node, 'ann', { token }))
  heard.push(JSON.stringify((await client.closed()).left))
  for (const path of ['/metrics', '/v1/health', '/readyz']) heard.push((await node.request('GET', path)).text)
  for (const text of [...heard, ...node.logged.map(record => JSON.stringify(record))]) {
    t.notOk(text.includes(token) || text.includes(authSecret.slice(6)) || text.includes('tenant'), text.slice(0, 60))
  }
  t.ok(node.logged.length > 0)
})

t.test('The settings', async t => {
  const settings = { LEDGERLINE_AUTH_URL: 'https://business.example.com/auth?x=1', LEDGERLINE_AUTH_SECRET: authSecret }

  t.test('want a URL and a secret, both', async t => {
    const authUrl = settings.LEDGERLINE_AUTH_URL
    t.match(readConfig(settings), { authUrl, authSecret: [authSecret], authConcurrency: 64 })
    for (const [set, missing] of [['AUTH_URL', 'AUTH_SECRET'], ['AUTH_SECRET', 'AUTH_URL']] as const) {
      const name = `LEDGERLINE_${set}` as const
      const message = new RegExp(`^LEDGERLINE_${missing}: got nothing`)
      t.throws(() => readConfig({ [name]: settings[name] }), { name: 'ConfigError', message })
    }
    for (const url of ['business', 'ftp://x', 'https://user:hush@x']) {
      t.throws(() => readConfig({ ...settings, LEDGERLINE_AUTH_URL: url }), { name: 'ConfigError', message: /^((?!hush).)*$/ })
    }
    for (const secret of ['hush-hush-hush-hush-hush-hush-hush', `${authSecret},hush`, Array(5).fill(authSecret).join()]) {
      t.throws(() => readConfig({ ...settings, LEDGERLINE_AUTH_SECRET: secret }), { message: /^LEDGERLINE_AUTH_SECRET ((?!hush-|,hush).)*$/ })
    }
  })

  t.test('leave no issuer where none is set, and have no secret generated', async t => {
    const dataDir = t.testdir({})
    const config = await ensureSecrets(readConfig({ ...settings, LEDGERLINE_DATA: dataDir }))
    t.equal(config.jwtSecret, undefined)
    const ofNobody = { ...settings, LEDGERLINE_JWT_ISSUER: 'id' }
    t.throws(() => readConfig(ofNobody), { name: 'ConfigError', message: /no secret is generated/ })
    t.match(readConfig({ ...settings, LEDGERLINE_JWT_ISSUER: 'id', LEDGERLINE_JWT_SECRET: jwtSecret }), { jwtIssuer: ['id'] })
  })
})
