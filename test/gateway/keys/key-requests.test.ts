import { readFileSync, writeFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { ApiKeys } from '../../../gateway/keys/api-keys.js'
import { KeyRequests } from '../../../gateway/keys/key-requests.js'
import { startTestNode } from '../node.js'
import { drawn, givenKeyFile } from './given.js'

/** A node that reads a file with one key of every scope, and one of fewer. */
async function given (t: Test) {
  const all = drawn({ name: 'ops', scopes: ['push', 'read', 'operate', 'admin'] })
  const admin = drawn({ name: 'keeper', scopes: ['admin', 'read'] })
  const file = `${t.testdir()}/keys.json`
  writeFileSync(file, JSON.stringify({ keys: [all.stored, admin.stored] }))
  const node = await startTestNode(t, { LEDGERLINE_API_KEYS: '', LEDGERLINE_API_KEYS_FILE: file })
  const ask = async (key: string, method: string, path: string, body?: object) => {
    const authorization = `Bearer ${key}`
    const json = { headers: { authorization, 'content-type': 'application/json' }, body: JSON.stringify(body) }
    const response = await fetch(`${node.api}${path}`, { method, ...body ? json : { headers: { authorization } } })
    return { status: response.status, json: await response.json() as any }
  }
  return { all, admin, file, ask }
}

t.test('API keys over HTTP', async t => {
  await t.test('are made, listed without what lets anybody use them, and revoked', async t => {
    const { all, file, ask } = await given(t)
    const expiresAt = new Date(Date.now() + 60_000).toISOString()
    const made = await ask(all.key, 'POST', '/v1/keys', { name: 'shop', scopes: ['push'], expiresAt })
    t.match(made, { status: 201, json: { key: /^ll_/, name: 'shop', scopes: ['push'], state: 'good', expiresAt } })
    const push = (key: string) => ask(key, 'POST', '/v1/downlinks', { to: { userIds: ['ann'] }, payload: 'x' })
    t.equal((await push(made.json.key)).status, 202, 'it is good at once')
    t.notMatch(readFileSync(file, 'utf8'), made.json.key)
    const { json } = await ask(all.key, 'GET', '/v1/keys')
    t.strictSame(json.keys.map(({ name, state }: any) => [name, state]), [['ops', 'good'], ['keeper', 'good'], ['shop', 'good']])
    t.notMatch(JSON.stringify(json), 'sha256')
    const revoked = await ask(all.key, 'DELETE', `/v1/keys/${made.json.id}`)
    t.match(revoked, { status: 200, json: { state: 'revoked', revokedAt: /Z$/ } })
    t.match(await push(made.json.key), { status: 401, json: { message: /was revoked/ } }, 'it is refused at once')
    t.strictSame((await ask(all.key, 'DELETE', `/v1/keys/${made.json.id}`)).json, revoked.json, 'again changes nothing')
    t.match(await ask(all.key, 'DELETE', '/v1/keys/0000000000'), { status: 404, json: { code: 'not-found' } })
  })

  await t.test('give no scope that the asking key lacks', async t => {
    const { admin, ask } = await given(t)
    t.match(await ask(admin.key, 'POST', '/v1/keys', { name: 'x', scopes: ['read', 'operate'] }),
      { status: 403, json: { code: 'forbidden', message: /has not the scope operate/ } })
    t.equal((await ask(admin.key, 'POST', '/v1/keys', { name: 'x', scopes: ['read'] })).status, 201)
  })

  await t.test('want a file, a good one, and a time to come', async t => {
    const { all, file, ask } = await given(t)
    const late = await ask(all.key, 'POST', '/v1/keys', { name: 'x', scopes: ['read'], expiresAt: '2020-01-01T00:00:00Z' })
    t.match(late, { status: 400, json: { message: /expiresAt: want a time to come/ } })
    writeFileSync(file, 'no JSON')
    t.match(await ask(all.key, 'POST', '/v1/keys', { name: 'x', scopes: ['read'] }), { status: 503, json: { code: 'not-ready' } })
    t.equal(readFileSync(file, 'utf8'), 'no JSON', 'what is there is not written over')
    const without = await startTestNode(t)
    t.match(await without.request('GET', '/v1/keys'), { status: 404, json: { message: /LEDGERLINE_API_KEYS_FILE/ } })
  })
})

t.test('A key that is made while its app goes is good for nothing', async t => {
  const { path } = await givenKeyFile(t, [])
  const apiKeys = new ApiKeys([])
  let isThere = true
  const requests = new KeyRequests({ pathOf: () => isThere ? path : undefined }, apiKeys)
  const caller = { app: '', id: '', name: '', scopes: ['read'] as const }
  const making = requests.create('shop', { name: 'n', scopes: ['read'] }, caller)
  isThere = false
  apiKeys.replace({ keys: [] }, 'shop')
  const { key } = await making
  t.throws(() => apiKeys.identify(key), { code: 'unauthorized' })
})
