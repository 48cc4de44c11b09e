import t, { type Test } from 'tap'
import { type AuthTimes, AuthService, authTimes } from '../../../gateway/auth/service.js'
import { secretOf } from '../../../gateway/webhooks/signature.js'
import type { Health } from '../../../schemas/conditions.js'
import { until } from '../node.js'
import { authSecret, AuthServer } from './auth-server.js'

/** Fast, so that no test waits for long. */
const fast: AuthTimes = { timeoutMs: 500, waitMs: 2_000, retryMs: 50, retryMaxMs: 50 }
const question = (token: string, deviceId = 'phone') =>
  ({ frame: 'connect', token, deviceId, platform: 'ios', client: 'sdk/1', address: '192.0.2.1:7' }) as const

async function given (t: Test, { concurrency = 8, ...times }: Partial<AuthTimes> & { concurrency?: number } = {}) {
  const server = await AuthServer.start(t)
  const told: string[] = []
  const counts: Record<string, number> = {}
  const health: Health = { begin: (_name, reason) => { told.push(reason) }, end: () => { told.push('') } }
  const service = new AuthService({
    setting: { url: new URL(server.url), secrets: [secretOf(authSecret)], concurrency },
    version: '0',
    hasApp: app => app === '' || app === 'shop',
    health,
    count: outcome => { counts[outcome] = (counts[outcome] ?? 0) + 1 },
    times: { ...fast, ...times },
  })
  t.teardown(() => { service.stop() })
  return { server, service, told, counts }
}

t.test('A service that is asked about tokens', async t => {
  t.test('gets what is known of the client, signed, and says whose the token is', async t => {
    const { server, service, counts } = await given(t)
    server.answer = () => ({
      result: 'allow', userId: 'žofie', app: 'shop', deviceId: 'phone', tokenId: 't1', expiresAtMs: 9e12, rooms: { 'r*': 'rw' },
    })
    const allowed = await service.ask(question('opaque'))
    t.match(allowed, { userId: 'žofie', app: 'shop', deviceId: 'phone', tokenId: 't1', expiresAtMs: 9e12 })
    t.ok(allowed.rooms.may('w', 'r7'))
    t.strictSame(server.questions, [question('opaque')])
    t.strictSame(server.forged, [])
    t.strictSame(counts, { allowed: 1 })
  })

  t.test('says little, and nothing is made up: no end, no rooms, no token id', async t => {
    const { service } = await given(t)
    const allowed = await service.ask(question('ann'))
    t.match(allowed, { userId: 'ann', app: '', deviceId: undefined, tokenId: '', expiresAtMs: Infinity })
    t.ok(allowed.rooms.isEmpty)
  })

  t.test('refuses, with a code, a reason and a wait that the client gets', async t => {
    const { server, service, counts } = await given(t)
    for (const code of ['bad-token', 'token-expired', 'token-early', 'rate-limited', 'banned']) {
      server.answer = () => ({ result: 'refuse', code, reason: 'not paid', retryAfterMs: 7 })
      await t.rejects(service.ask(question('x')), { code, message: 'not paid', retryAfterMs: 7 })
    }
    server.answer = () => ({ result: 'refuse', code: 'banned' })
    await t.rejects(service.ask(question('x')), { code: 'banned', message: /banned this user/ })
    t.strictSame(counts, { refused: 6 })
  })

  t.test('that is away, slow or answers nonsense refuses nobody for good', async t => {
    const { server, service, told } = await given(t)
    const says = (status: number, body: string, headers = {}) => () => { server.says(status, body, headers) }
    const troubles: Array<[string, RegExp, () => unknown]> = [
      ['is away', /ECONNREFUSED/, () => server.die()],
      ['fails', /answers with 500/, async () => { await server.listen(); server.says(500, '') }],
      ['refuses the gateway', /answers with 401/, says(401, '')],
      ['has moved', /answers with 404/, says(404, '')],
      ['sends elsewhere', /answers with 302, and redirects are not followed/, says(302, '', { location: `${server.url}&elsewhere` })],
      ['sends elsewhere for good', /answers with 308/, says(308, '', { location: server.url })],
      ['says nothing', /something else than JSON/, says(200, '')],
      ['answers a page', /something else than JSON/, says(200, '<html>maintenance</html>')],
      ['answers null', /result: want/, says(200, 'null')],
      ['answers a list', /result: want/, says(200, '[]')],
      ['answers without a user', /want "userId"/, says(200, '{"result":"allow"}')],
      ['names no user', /userId: want/, says(200, '{"result":"allow","userId":""}')],
      ['names a user of two apps', /userId: want/, says(200, '{"result":"allow","userId":"shop\\u001fann"}')],
      ['names an app that is not here', /app: want/, says(200, '{"result":"allow","userId":"ann","app":"other"}')],
      ['misspells the end', /a field that is not known; there are .*expiresAtMs/, says(200, '{"result":"allow","userId":"ann","expireAtMs":1}')],
      ['has an end that is none', /expiresAtMs/, says(200, '{"result":"allow","userId":"ann","expiresAtMs":"soon"}')],
      ['has a room right that is none', /rooms: want/, says(200, '{"result":"allow","userId":"ann","rooms":{"a":"x"}}')],
      ['refuses with a code of its own', /code: want one of/, says(200, '{"result":"refuse","code":"internal"}')],
      ['gives too long a reason', /reason: want/, says(200, JSON.stringify({ result: 'refuse', code: 'banned', reason: 'x'.repeat(257) }))],
      ['answers too much', /more than 65536 bytes/, says(200, JSON.stringify({ result: 'allow', userId: 'x'.repeat(70_000) }))],
      ['hangs', /no answer within/, () => { server.hangs() }],
      ['hangs in its answer', /no answer within/, () => {
        server.answer = (_, response) => { response.writeHead(200); response.write('{"result"') }
      }],
      ['dies in its answer', /./, () => {
        server.answer = (_, response) => { response.writeHead(200); response.write('{'); response.destroy() }
      }],
    ]
    for (const [what, reason, make] of troubles) {
      await make()
      const err = await service.ask(question('ann')).catch(err => err)
      t.match(err, { code: 'auth-unavailable', message: /come back/ }, what)
      t.ok(err.retryAfterMs > 0 && err.retryAfterMs < 1_000, `${err.retryAfterMs} ms`)
      t.match(told.at(-1), reason, what)
      t.notMatch(told.at(-1), /tenant/, 'what is behind the path is not told')
      server.answer = () => ({ result: 'allow', userId: 'ann' })
      if (what === 'is away') continue
      await until('it answers', () => service.ask(question('ann')).catch(() => undefined))
      t.equal(told.at(-1), '', 'it is over')
    }
    t.notOk(server.questions.some(asked => asked.token !== 'ann'), 'and nowhere else was asked')
  })

  t.test('is asked again where nobody else asks, so that the trouble is over once it answers', async t => {
    for (const trouble of [503, 200]) {
      const { server, service, told } = await given(t)
      server.says(trouble, trouble === 200 ? 'nonsense' : '')
      await t.rejects(service.ask(question('ann')), { code: 'auth-unavailable' })
      t.not(told.at(-1), '')
      server.answer = () => ({ result: 'allow', userId: 'ann' })
      await until('it is over', () => told.at(-1) === '')
    }
  })

  t.test('is left alone while it does not answer, and found back by itself', async t => {
    const { server, service, told } = await given(t)
    server.says(503, '')
    for (let i = 0; i < 5; i++) await t.rejects(service.ask(question(`t${i}`)), { code: 'auth-unavailable' })
    t.not(service.circuit.state, 'closed')
    const asked = server.questions.length
    const late = Array.from({ length: 200 }, (_, i) => question(`late${i}`))
    const refused = await Promise.all(late.map(asked => service.ask(asked).catch(err => err)))
    t.ok(refused.every(({ code }) => code === 'auth-unavailable'))
    t.ok(server.questions.length - asked < 20, `one question at a time: ${server.questions.length - asked}`)
    server.answer = ({ token }) => ({ result: 'allow', userId: token, cacheMs: 60_000 })
    await until('it is found back', () => service.circuit.state === 'closed')
    t.equal(told.at(-1), '')
    t.equal(server.questions.at(-1)?.token, 'late199', 'by the question of who came last')
    const before = server.questions.length
    await service.ask(question('late199'))
    t.equal(server.questions.length, before, 'whose answer was not asked for in vain')
  })

  t.test('is asked for nobody who waited when it stopped answering', async t => {
    const { server, service } = await given(t, { concurrency: 1, retryMs: 10_000, retryMaxMs: 10_000 })
    server.says(503, '')
    const all = Array.from({ length: 50 }, (_, i) => question(`t${i}`))
    const codes = await Promise.all(all.map(each => service.ask(each).catch(({ code }) => code)))
    t.strictSame(codes, Array(50).fill('auth-unavailable'))
    t.equal(server.questions.length, 5)
  })

  t.test('that fails at one token is asked about others', async t => {
    const { server, service } = await given(t)
    server.answer = ({ token }, response) => {
      if (token !== 'poison') return { result: 'allow', userId: token }
      response.writeHead(500).end()
      return undefined
    }
    for (let i = 0; i < 5; i++) await service.ask(question('poison')).catch(() => {})
    t.not(service.circuit.state, 'closed')
    await t.rejects(service.ask(question('ann')), { code: 'auth-unavailable' }, 'until it is known again')
    await until('it is', () => service.ask(question('ann')).catch(() => undefined))
    for (let i = 0; i < 20; i++) {
      server.says(i < 10 ? 200 : i < 15 ? 401 : 404, '{"nonsense":1}')
      await t.rejects(service.ask(question(`n${i}`)), { code: 'auth-unavailable' })
    }
    t.equal(service.circuit.state, 'closed', 'an answer that can not be taken is one')
  })

  t.test('that asks to be left alone is, and clients are told to wait as long', async t => {
    const { server, service } = await given(t)
    server.says(429, '', { 'retry-after': '5' })
    const err = await service.ask(question('ann')).catch(err => err)
    t.equal(err.code, 'auth-unavailable')
    t.ok(err.retryAfterMs > 4_500 && err.retryAfterMs < 5_500, `${err.retryAfterMs} ms`)
    await t.rejects(service.ask(question('bob')), { code: 'auth-unavailable' })
    await new Promise(resolve => setTimeout(resolve, 200))
    t.equal(server.questions.length, 1, 'nor does a probe ask')
  })

  t.test('gets so many questions at a time; others wait, and not for ever', async t => {
    const { server, service } = await given(t, { concurrency: 3, timeoutMs: 4_000, waitMs: 300 })
    const held: Array<() => void> = []
    server.answer = async ({ token }) => {
      await new Promise<void>(resolve => { held.push(resolve) })
      return { result: 'allow', userId: token }
    }
    const all = Array.from({ length: 20 }, (_, i) => question(`t${i}`))
    const asked = all.map(each => service.ask(each).then(({ userId }) => userId, err => err.code))
    await until('three are there', () => held.length === 3)
    held[0]!()
    await until('the fourth has its turn', () => held.length === 4)
    t.strictSame(await Promise.all(asked.slice(4)), Array(16).fill('auth-unavailable'), 'their turn did not come in time')
    for (const release of held) release()
    t.strictSame(await Promise.all(asked.slice(0, 4)), ['t0', 't1', 't2', 't3'])
    t.equal(server.atOnceMost, 3)
  })

  t.test('turns away at once whom it has no room for', async t => {
    const { server, service } = await given(t, { concurrency: 1, timeoutMs: 1_000, waitMs: 60_000 })
    server.hangs()
    const outcomes: string[] = []
    const all = Array.from({ length: 1_200 }, (_, i) => question(`t${i}`))
    const asked = all.map(each => service.ask(each).catch(err => { outcomes.push(err.code) }))
    await until('175 are turned away', () => outcomes.length === 1_200 - 1 - 1_024)
    t.equal(server.questions.length <= 1, true)
    service.stop()
    await Promise.all(asked)
    t.equal(outcomes.length, 1_200, 'all of them have come to an end')
  })

  t.test('waits for no more than 8 MiB of tokens', async t => {
    const { server, service } = await given(t, { concurrency: 1, timeoutMs: 1_000, waitMs: 60_000 })
    server.hangs()
    let away = 0
    const all = Array.from({ length: 700 }, (_, i) => question(`${i}${'x'.repeat(16_000)}`))
    const asked = all.map(each => service.ask(each).catch(() => { away++ }))
    await until('some are turned away', () => away > 0)
    t.ok(away > 100 && away < 250, `${away}`)
    service.stop()
    await Promise.all(asked)
  })

  t.test('answers for as long as it says, for this token and device alone', async t => {
    const { server, service, counts } = await given(t)
    server.answer = ({ token }) => token === 'bad'
      ? { result: 'refuse', code: 'bad-token', cacheMs: 60_000 }
      : { result: 'allow', userId: 'ann', cacheMs: token === 'short' ? 50 : 60_000 }
    for (let i = 0; i < 3; i++) await service.ask(question('long'))
    for (let i = 0; i < 3; i++) await t.rejects(service.ask(question('bad')), { code: 'bad-token' })
    t.equal(server.questions.length, 2)
    await service.ask(question('long', 'tablet'))
    t.equal(server.questions.length, 3, 'another device')
    await service.ask(question('short'))
    await new Promise(resolve => setTimeout(resolve, 80))
    await service.ask(question('short'))
    t.equal(server.questions.length, 5, 'its time was over')
    t.strictSame(counts, { allowed: 4, cached: 4, refused: 1 })
    await server.die()
    await service.ask(question('long'))
  })

  t.test('has time for both waits before a client is taken for silent', async t => {
    t.ok(authTimes.timeoutMs + authTimes.waitMs < 10_000)
  })
})
