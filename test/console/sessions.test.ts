import t, { type Test } from 'tap'
import { LoadHistory } from '../../gateway/console/load-history.js'
import { ConsoleSessions, sessionMs, sessionsMax } from '../../gateway/console/sessions.js'
import { AddressList } from '../../gateway/edge/clients.js'
import type { HttpDeps } from '../../gateway/http/server.js'
import { ApiKeys } from '../../gateway/keys/api-keys.js'
import { scopes } from '../../gateway/keys/scopes.js'
import { until } from '../gateway/node.js'
import { drawn } from '../gateway/keys/given.js'
import { givenApp, key } from '../gateway/http/given.js'
import { buildPages } from './console-page.js'

const host = 'console.example.com'
const origin = `http://${host}`

type Method = 'GET' | 'POST' | 'DELETE'
type Headers = Record<string, string>

/** A gateway with the console, whose clock the test moves. */
function givenConsole (t: Test, more: Partial<HttpDeps> = {}) {
  let nowMs = Date.parse('2026-06-01T00:00:00Z')
  const operator = drawn({ scopes })
  const apiKeys = new ApiKeys(['key-of-the-environment'], () => nowMs)
  apiKeys.replace({ keys: [operator.stored] })
  const sessions = new ConsoleSessions(apiKeys, () => nowMs)
  const history = new LoadHistory()
  const { app } = givenApp(t, {
    apiKeys,
    roles: ['push', 'ip-config', 'console'],
    console: { sessions, nodeId: 'n1', version: '1.2.3', load: sinceMs => history.since(sinceMs) },
    ...more,
  })
  const ask = async (method: Method, url: string, headers: Headers = {}, payload?: object) => {
    const answer = await app.inject({ method, url, headers: { host, ...headers }, ...payload ? { payload } : {} })
    const isJson = answer.headers['content-type']?.toString().startsWith('application/json') ?? false
    return { status: answer.statusCode, headers: answer.headers, json: isJson ? answer.json() : undefined }
  }
  const signIn = async (apiKey = operator.key, headers: Headers = { origin }) => {
    const answer = await ask('POST', '/console/session', headers, { apiKey })
    const setCookie = String(answer.headers['set-cookie'] ?? '')
    return { ...answer, setCookie, cookie: setCookie.split(';', 1)[0]! }
  }
  return { app, ask, signIn, sessions, apiKeys, operator, passes: (ms: number) => { nowMs += ms } }
}

const codeOf = ({ status, json }: { status: number, json?: { code?: string } }) => [status, json?.code]

t.test('Signing in', async t => {
  t.test('says where the key is from', async t => {
    const { signIn, operator } = givenConsole(t)
    t.match((await signIn(operator.key)).json, { key: { id: operator.id, from: 'file' } })
    t.match((await signIn('key-of-the-environment')).json, { key: { id: '', from: 'environment' } })
    const apiKeys = new ApiKeys(['key-of-the-data-directory'], undefined, [], 'data-directory')
    const console = { sessions: new ConsoleSessions(apiKeys), nodeId: 'n1', version: '1.2.3', load: () => new LoadHistory().since(0) }
    t.match((await givenConsole(t, { console }).signIn('key-of-the-data-directory')).json, { key: { id: '', from: 'data-directory' } })
  })

  t.test('gives a cookie that no script, no other site and no plain connection gets', async t => {
    const { signIn } = givenConsole(t, { proxied: { proxies: AddressList.of(['127.0.0.1']), uncounted: undefined, headerRefused () {} } })
    const plain = await signIn()
    t.match(plain.setCookie, /^ledgerline-console=[\w-]{43}; Path=\/; Max-Age=28800; HttpOnly; SameSite=Strict$/)
    const overTls = await signIn(undefined, { origin: `https://${host}`, 'x-forwarded-proto': 'https' })
    t.match(overTls.setCookie, /^__Host-ledgerline-console=[\w-]{43}; Path=\/; Max-Age=28800; HttpOnly; SameSite=Strict; Secure$/)
  })

  t.test('wants a key with the scopes operate and read', async t => {
    const { signIn, apiKeys } = givenConsole(t)
    t.strictSame(codeOf(await signIn('key-of-nobody')), [401, 'unauthorized'])
    for (const wrong of [['read', 'push', 'admin'], ['operate', 'push', 'admin']] as const) {
      const weak = drawn({ scopes: wrong })
      apiKeys.replace({ keys: [weak.stored] })
      const answer = await signIn(weak.key)
      t.strictSame(codeOf(answer), [403, 'forbidden'])
      t.equal(answer.setCookie, '')
    }
    t.equal((await signIn('key-of-the-environment')).status, 200)
  })

  t.test('is not for pages of another origin', async t => {
    const { signIn } = givenConsole(t)
    for (const headers of [{}, { origin: 'http://evil.example.com' }, { origin: `${origin}:81` }, { origin: 'null' },
      { origin, 'sec-fetch-site': 'same-site' }] as Headers[]) {
      t.strictSame(codeOf(await signIn(undefined, headers)), [403, 'bad-origin'], JSON.stringify(headers))
    }
  })

  t.test('ends the session that began first where there are too many', async t => {
    const { ask, signIn, sessions } = givenConsole(t)
    const { cookie } = await signIn()
    for (let i = 1; i < sessionsMax; i++) await signIn()
    t.equal((await ask('GET', '/v1/load', { cookie })).status, 200)
    await signIn()
    t.strictSame(codeOf(await ask('GET', '/v1/load', { cookie })), [401, 'unauthorized'])
    t.equal(sessions.size, sessionsMax)
  })
})

t.test('A session', async t => {
  t.test('stands for its key, with the scopes of that', async t => {
    const { ask, signIn, apiKeys, operator } = givenConsole(t)
    const { cookie } = await signIn()
    t.equal((await ask('GET', '/v1/nodes', { cookie })).status, 200)
    t.equal((await ask('POST', '/v1/nodes/n1/drain', { cookie, origin }, {})).status, 202)
    apiKeys.replace({ keys: [{ ...operator.stored, scopes: ['operate', 'read'] }] })
    t.strictSame(codeOf(await ask('POST', '/v1/backups', { cookie, origin }, {})), [403, 'forbidden'], 'what the key has lost')
  })

  t.test('is nobody\'s without its cookie', async t => {
    const { ask, signIn } = givenConsole(t)
    const { cookie } = await signIn()
    const guessed = `ledgerline-console=${'A'.repeat(43)}`
    const bad = [{}, { cookie: guessed }, { cookie: `${cookie}x` }, { cookie: `__Host-${cookie}` }] as Headers[]
    for (const headers of bad) {
      t.strictSame(codeOf(await ask('GET', '/v1/nodes', headers)), [401, 'unauthorized'], JSON.stringify(headers))
    }
  })

  t.test('writes for the pages of the console alone', async t => {
    const { ask, signIn } = givenConsole(t)
    const { cookie } = await signIn()
    for (const headers of [{}, { origin: 'http://evil.example.com' }, { origin: 'http://localhost:3000' },
      { origin, 'sec-fetch-site': 'cross-site' }] as Headers[]) {
      const answer = await ask('POST', '/v1/nodes/n1/drain', { cookie, ...headers }, {})
      t.strictSame(codeOf(answer), [403, 'bad-origin'], JSON.stringify(headers))
    }
    const read = await ask('GET', '/v1/nodes', { cookie, 'sec-fetch-site': 'same-site' })
    t.strictSame(codeOf(read), [403, 'bad-origin'], 'nor is anything read for a page of the same site')
  })

  t.test('ends with its time, with its key, and where its user signs out', async t => {
    const { ask, signIn, passes, apiKeys, operator } = givenConsole(t)
    const old = await signIn()
    passes(sessionMs - 1)
    t.equal((await ask('GET', '/v1/nodes', { cookie: old.cookie })).status, 200)
    passes(1)
    t.strictSame(codeOf(await ask('GET', '/v1/nodes', { cookie: old.cookie })), [401, 'unauthorized'], 'its time is over')
    const { cookie } = await signIn()
    const out = await ask('DELETE', '/console/session', { cookie, origin })
    t.match(out.headers['set-cookie'], /^ledgerline-console=; Path=\/; Max-Age=0;/)
    t.strictSame(codeOf(await ask('GET', '/v1/nodes', { cookie })), [401, 'unauthorized'], 'signed out')
    const last = await signIn()
    apiKeys.replace({ keys: [{ ...operator.stored, revokedAt: '2026-06-01T00:00:00Z' }] })
    t.strictSame(codeOf(await ask('GET', '/v1/nodes', { cookie: last.cookie })), [401, 'unauthorized'], 'its key was revoked')
    t.strictSame(codeOf(await ask('GET', '/console/session', { cookie: last.cookie })), [401, 'unauthorized'])
  })
})

t.test('An answer that goes on ends with the session', async t => {
  const ends: Array<[string, (given: ReturnType<typeof givenConsole>, token: string) => void]> = [
    ['where its user signs out', ({ sessions }, token) => { sessions.end(token) }],
    ['when its time is over', ({ passes, apiKeys }) => {
      passes(sessionMs)
      // As the console does every few seconds.
      apiKeys.cutStale()
    }],
  ]
  for (const [what, end] of ends) {
    await t.test(what, async t => {
      const given = givenConsole(t)
      const { app, sessions, apiKeys, operator } = given
      const url = await app.listen({ port: 0, host: '127.0.0.1' })
      const follow = async (headers: Headers) => {
        const { body } = await fetch(`${url}/v1/uplinks?follow=true`, { headers })
        return body!.getReader()
      }
      const { token } = sessions.begin(apiKeys.identify(operator.key))
      const withKey = await follow({ authorization: `Bearer ${operator.key}` })
      const inSession = await follow({ cookie: `ledgerline-console=${token}` })
      const another = sessions.begin(apiKeys.identify('key-of-the-environment'))
      const other = await follow({ cookie: `ledgerline-console=${another.token}` })
      const ended = new Set<unknown>()
      const over = Promise.all([withKey, inSession, other].map(async reader => {
        for (;;) {
          const isOver = await reader.read().then(({ done }) => done, () => true)
          if (isOver) break
        }
        ended.add(reader)
      }))
      end(given, token)
      await until('it has ended', () => ended.has(inSession))
      t.notOk(ended.has(withKey), 'one with a key goes on')
      await app.close()
      await over
    })
  }
})

t.test('The pages', async t => {
  buildPages()

  t.test('run nothing that is not theirs', async t => {
    const { headers, status } = await givenConsole(t).ask('GET', '/console')
    t.equal(status, 200)
    const policy = String(headers['content-security-policy'])
    for (const part of ['default-src \'none\'', 'script-src \'self\'', 'frame-ancestors \'none\'']) t.match(policy, part)
    t.notMatch(policy, 'unsafe')
    t.equal(headers['cache-control'], 'no-cache')
  })

  t.test('have assets that browsers keep, and no other files', async t => {
    const { app } = givenConsole(t)
    const { body } = await app.inject('/console')
    const assets = [...body.matchAll(/"(\/console\/assets\/[^"]+)"/g)].map(([, path]) => path!)
    t.equal(assets.length, 3)
    for (const asset of assets) {
      const { statusCode, headers } = await app.inject(asset)
      t.equal(statusCode, 200, asset)
      t.equal(headers['cache-control'], 'public, max-age=31536000, immutable')
    }
    for (const path of ['/console/assets/', '/console/assets/nothing.js', '/console/assets/..%2findex.html', '/console/x']) {
      t.equal((await app.inject(path)).statusCode, 404, path)
    }
  })

  t.test('are not on the port of clients, nor on a node without the role', async t => {
    const { ask } = givenConsole(t, { side: 'clients' })
    t.equal((await ask('GET', '/console')).status, 404)
    const { app } = givenApp(t, { console: undefined })
    t.equal((await app.inject('/console')).statusCode, 404)
    const { statusCode, body } = await app.inject({ url: '/v1/load', headers: key })
    t.equal(statusCode, 404)
    t.match(body, 'lacks the role console')
  })
})
