import { readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { accessMarkdown, accessTable } from '../../../gateway/http/access.js'
import { ApiKeys } from '../../../gateway/keys/api-keys.js'
import { type Scope, scopes } from '../../../gateway/keys/scopes.js'
import { drawn } from '../keys/given.js'
import { givenApp } from './given.js'

/** What each route is asked with; a body that no route takes, for who may ask comes before what is asked. */
const requests = Object.entries(accessTable).map(([name, access]) => {
  const [method, path] = name.split(' ') as ['GET' | 'POST' | 'DELETE', string]
  return { name, access, method, url: path.replace(/:\w+/g, 'x') }
})
const withKey = requests.filter(({ access }) => access !== 'public')

function givenKeys (t: Test) {
  const of = Object.fromEntries(scopes.map(scope => [scope, drawn({ scopes: [scope] })])) as
    Record<Scope, ReturnType<typeof drawn>>
  const all = drawn({ scopes })
  const expired = drawn({ scopes, expiresAt: '2026-06-01T00:00:00Z' })
  const revoked = drawn({ scopes, revokedAt: '2026-06-01T00:00:00Z' })
  const apiKeys = new ApiKeys(['key-one-of-the-tests'], () => Date.parse('2026-06-01T00:00:00Z'))
  apiKeys.replace({ keys: [...Object.values(of), all, expired, revoked].map(({ stored }) => stored) })
  const { app } = givenApp(t, { apiKeys, roles: ['push', 'ip-config', 'projections', 'console', 'webhooks'] })
  const ask = async (request: { method: 'GET' | 'POST' | 'DELETE', url: string }, key?: string) => {
    const headers = key === undefined ? {} : { authorization: `Bearer ${key}` }
    const answer = await app.inject({ ...request, headers, payload: request.method === 'GET' ? undefined : { junk: 1 } })
    const isJson = answer.headers['content-type']?.toString().startsWith('application/json') ?? false
    return { status: answer.statusCode, code: isJson ? answer.json().code as string : '', text: answer.body }
  }
  return { app, ask, of, all, expired, revoked }
}

t.test('A route', async t => {
  t.test('can not be added where nobody says whom it is for', async t => {
    const { app } = givenApp(t)
    t.throws(() => app.get('/v1/new', async () => 'hello'), { message: /does not say whom GET \/v1\/new is for/ })
    t.throws(() => app.post('/healthz', async () => 'hello'), { message: /POST \/healthz/ })
  })

  t.test('is in the OpenAPI document with the scope that it wants, and the table has no other', async t => {
    const { app } = givenKeys(t)
    const { paths } = (await app.inject('/openapi.json')).json() as { paths: Record<string, Record<string, any>> }
    const operations = Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ path, method, operation })))
    const described = operations.map(({ path, method, operation }) =>
      [`${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ':$1')}`, operation.security[0]?.apiKey[0] ?? 'public'])
    const { 'GET /v1/connect': _edge, 'GET /openapi.json': _itself, ...expected } = accessTable
    t.strictSame(Object.fromEntries(described), expected)
  })

  t.test('for everybody wants no key', async t => {
    const { ask } = givenKeys(t)
    for (const request of requests.filter(({ access }) => access === 'public')) {
      if (request.url === '/v1/connect') continue // this app has no edge
      const { status } = await ask(request, 'll_abcd_of-nobody')
      t.equal(status, 200, request.name)
    }
  })

  t.test('for others wants one that is known, not revoked and not expired', async t => {
    const { ask, all, expired, revoked } = givenKeys(t)
    const flipped = all.key.slice(0, -2) + (all.key.at(-2) === 'A' ? 'B' : 'A') + all.key.at(-1)
    const bad = [undefined, 'key-two-of-the-tests', flipped, all.id, all.stored.sha256, drawn().key, expired.key, revoked.key]
    for (const request of withKey) {
      for (const key of bad) {
        const { status, code } = await ask(request, key)
        t.strictSame([status, code], [401, 'unauthorized'], `${request.name} with ${key}`)
      }
    }
  })

  t.test('lets its scope pass and no other one', async t => {
    const { ask, of } = givenKeys(t)
    for (const request of withKey) {
      for (const scope of scopes) {
        const { status, code, text } = await ask(request, of[scope].key)
        if (scope === request.access) t.notOk([401, 403].includes(status), `${request.name} with ${scope}: ${status}`)
        else {
          t.strictSame([status, code], [403, 'forbidden'], `${request.name} with ${scope}`)
          t.match(text, `the API key ${of[scope].id} has not the scope ${request.access}`)
        }
      }
    }
  })

  t.test('lets a key of the environment pass, and one with all scopes', async t => {
    const { ask, all } = givenKeys(t)
    for (const request of withKey) {
      for (const key of ['key-one-of-the-tests', all.key]) {
        const { status } = await ask(request, key)
        t.notOk([401, 403].includes(status), `${request.name}: ${status}`)
      }
    }
  })

  t.test('is asked by HEAD as by GET', async t => {
    const { app, of } = givenKeys(t)
    const statusOf = async (key?: string) =>
      (await app.inject({ method: 'HEAD', url: '/v1/nodes', headers: key ? { authorization: `Bearer ${key}` } : {} })).statusCode
    t.strictSame([await statusOf(), await statusOf(of.push.key), await statusOf(of.read.key)], [401, 403, 200])
  })
})

t.test('docs/operations.md holds the table of who may ask what', async t => {
  const page = readFileSync(new URL('../../../../docs/operations.md', import.meta.url), 'utf8')
  t.ok(page.includes(accessMarkdown()), 'run: node -e "import(\'./dist/gateway/http/access.js\').then(m => console.log(m.accessMarkdown()))"')
})
