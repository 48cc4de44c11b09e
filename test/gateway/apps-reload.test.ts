import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { scopes } from '../../gateway/keys/scopes.js'
import { startProcess } from '../faults/node-process.js'
import { alive, connected, connectFrame, type Dialect, endsWith, speaker } from './edge/dialects.js'
import { drawn, givenKeyFile } from './keys/given.js'
import { jwtSecret, signedToken, TestNode, until } from './node.js'

/* The file of apps changes while a process runs: who was let in by what it said may be refused by what it says now. */

const dialects = ['TCP', 'WebSocket Avro', 'WebSocket JSON'] as const
const secretOf = (name: string) => `the secret of ${name}, and of nobody else`
const appOf = (name: string, more: object = {}) =>
  ({ name, issuers: [{ issuer: name, secret: secretOf(name) }], ...more })

async function tokenOf (app: string, secret = secretOf(app), userId = 'ann'): Promise<string> {
  return await signedToken({ sub: userId, iss: app }, { secret })
}

/** A node in a process of its own, with a file of apps that `put` replaces. */
async function given (t: Test, first: readonly object[], env: Record<string, string> = {}) {
  const directory = await mkdtemp(join(tmpdir(), 'ledgerline-apps-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  const path = join(directory, 'apps.json')
  const putText = async (text: string) => {
    await writeFile(`${path}.new`, text)
    await rename(`${path}.new`, path)
  }
  await putText(JSON.stringify(first))
  const { lines, kill, ...running } = await startProcess(t, join(directory, 'data'), {
    LEDGERLINE_JWT_SECRET: jwtSecret,
    LEDGERLINE_API_KEYS: 'the-key-of-a-test-node',
    LEDGERLINE_APPS: path,
    ...env,
  })
  const node = new TestNode({ ...running, stop: async () => { await kill('SIGTERM') } }, lines as never)
  const ask = async (key: string, address: string, method = 'GET', body?: object) => {
    const headers = { authorization: `Bearer ${key}`, ...body === undefined ? {} : { 'content-type': 'application/json' } }
    const response = await fetch(node.http + address, { method, headers, ...body && { body: JSON.stringify(body) } })
    return { status: response.status, text: await response.text() }
  }
  const put = async (apps: readonly object[]) => await putText(JSON.stringify(apps))
  const changes = () => lines.filter(({ msg }) => msg === 'the apps have changed')
  const metrics = async () => (await node.request('GET', '/metrics')).text
  return { node, lines, put, putText, ask, changes, metrics }
}

async function refused (t: Test, node: TestNode, dialect: Dialect, token: string, what: string): Promise<void> {
  const client = await speaker(t, node, dialect)
  client.send(await connectFrame(node, 'ann', { token }))
  t.equal((await endsWith(t, client, 'bad-token')).op, 'error', `${dialect}: ${what}`)
}

t.test('An app that is added', async t => {
  const key = drawn({ name: 'of the bank', scopes })
  const keys = await givenKeyFile(t, [key.stored])
  const { node, put, ask, changes } = await given(t, [appOf('shop')])
  for (const dialect of dialects) await refused(t, node, dialect, await tokenOf('bank'), 'before it is there')
  t.equal((await ask(key.key, '/v1/users/ann/presence')).status, 401)
  t.equal((await ask('the-key-of-a-test-node', '/v1/users/ann/presence?app=bank')).status, 404)
  const { client: shopper } = await connected(t, node, 'TCP', 'ann', { token: await tokenOf('shop') })

  await put([appOf('shop'), appOf('bank', { apiKeysFile: keys.path })])
  await until('its key is good', async () => (await ask(key.key, '/v1/users/ann/presence')).status === 200)
  for (const dialect of dialects) {
    const { client, welcome } = await connected(t, node, dialect, 'ann', { token: await tokenOf('bank'), deviceId: dialect })
    t.equal(welcome.resumed, false)
    await alive(t, client)
    await refused(t, node, dialect, await tokenOf('bank', secretOf('shop')), 'in its name by the key of another one')
    await refused(t, node, dialect, await tokenOf('shop', secretOf('bank')), 'in the name of another one by its key')
  }
  const pushed = await ask(key.key, '/v1/downlinks', 'POST', { to: { userIds: ['ann'] }, payload: 'for ann of the bank' })
  t.equal(pushed.status, 202)
  t.equal((await ask(key.key, '/v1/users/ann/presence?app=shop')).status, 403, 'its key is good for no other app')
  t.equal((await ask('the-key-of-a-test-node', '/v1/users/ann/presence?app=bank')).status, 200)
  await alive(t, shopper)
  t.strictSame(changes().map(({ added, changed, removed }) => ({ added, changed, removed })),
    [{ added: ['bank'], changed: [], removed: [] }])
})

t.test('An app that is taken out', async t => {
  const key = drawn({ name: 'of the bank', scopes })
  const keys = await givenKeyFile(t, [key.stored])
  const bank = appOf('bank', { apiKeysFile: keys.path })
  const { node, put, ask, metrics } = await given(t, [appOf('shop'), bank])
  const inside = await Promise.all(dialects.map(async dialect =>
    await connected(t, node, dialect, 'ann', { token: await tokenOf('bank'), deviceId: dialect })))
  const { client: shopper } = await connected(t, node, 'TCP', 'ann', { token: await tokenOf('shop') })
  const { client: ours } = await connected(t, node, 'TCP', 'ann')
  const left = new AbortController()
  t.teardown(() => left.abort())
  const following = await fetch(`${node.http}/v1/uplinks?follow=true`, {
    headers: { authorization: `Bearer ${key.key}` }, signal: left.signal,
  })
  t.equal(following.status, 200)
  const cut = following.text().then(() => false, () => true)

  await put([appOf('shop')])
  for (const { client } of inside) {
    const { op, message } = await endsWith(t, client, 'bad-token') as { op: string, message?: string }
    t.strictSame([op, message], ['error', 'this application is not served here any more'])
  }
  t.ok(await cut, 'what its key followed has ended')
  t.match(await ask(key.key, '/v1/users/ann/presence'), { status: 401 })
  t.equal((await ask('the-key-of-a-test-node', '/v1/users/ann/presence?app=bank')).status, 404)
  for (const dialect of dialects) await refused(t, node, dialect, await tokenOf('bank'), 'afterwards')
  for (const client of [shopper, ours]) await alive(t, client)
  t.notMatch(await metrics(), 'app="bank"')

  await t.test('is as it was when it comes back', async t => {
    await put([appOf('shop'), bank])
    await until('its key is good', async () => (await ask(key.key, '/v1/users/ann/presence')).status === 200)
    const row = await until('the end of a connection is history', async () =>
      (await ask(key.key, '/v1/connections')).text.split('\n').find(line => line !== ''))
    t.match(JSON.parse(row), { app: 'bank', code: 'bad-token', reason: 'this application is not served here any more' })
    const { welcome } = await connected(t, node, 'TCP', 'ann', { token: await tokenOf('bank'), deviceId: 'TCP' })
    t.equal(welcome.resumed, true)
    t.match(await metrics(), 'ledgerline_app_connections{app="bank"} 1\n')
  })
})

t.test('An app that gets another secret', async t => {
  const { node, put, changes } = await given(t, [appOf('shop'), appOf('bank')])
  const inside = await Promise.all(dialects.map(async dialect =>
    await connected(t, node, dialect, 'ann', { token: await tokenOf('bank'), deviceId: dialect })))
  const { client: shopper } = await connected(t, node, 'TCP', 'ann', { token: await tokenOf('shop') })
  const other = 'another secret of the bank, and of nobody else'
  await put([appOf('shop'), { name: 'bank', issuers: [{ issuer: 'bank', secret: other }] }])
  await until('it is taken', () => changes().length > 0)
  for (const dialect of dialects) {
    await refused(t, node, dialect, await tokenOf('bank'), 'the old key')
    await refused(t, node, dialect, await tokenOf('bank', secretOf('shop')), 'the key of another app')
    const { client } = await connected(t, node, dialect, 'ann', { token: await tokenOf('bank', other), deviceId: `new ${dialect}` })
    await alive(t, client)
    client.send({ op: 'token', token: await tokenOf('bank') })
    t.equal((await endsWith(t, client, 'bad-token')).op, 'error', `${dialect}: the old key on an open connection`)
  }
  for (const { client } of inside) {
    t.equal((await endsWith(t, client, 'token-expired')).op, 'error', 'who came by the old key is asked for a new token')
  }
  await alive(t, shopper)
})

t.test('An app that gets one more issuer ends nobody', async t => {
  const { node, put, changes } = await given(t, [appOf('bank')])
  const { client } = await connected(t, node, 'TCP', 'ann', { token: await tokenOf('bank') })
  const more = { issuer: 'bank-2', secret: secretOf('bank-2') }
  await put([{ name: 'bank', issuers: [{ issuer: 'bank', secret: secretOf('bank') }, more] }])
  await until('it is taken', () => changes().length > 0)
  const { client: second } = await connected(t, node, 'TCP', 'bob', { token: await tokenOf('bank-2', secretOf('bank-2'), 'bob') })
  await new Promise(resolve => setTimeout(resolve, 6_000))
  for (const each of [client, second]) await alive(t, each)
})

t.test('Quotas that change hold for who is there', async t => {
  const key = drawn({ name: 'of the bank', scopes })
  const keys = await givenKeyFile(t, [key.stored])
  const bank = (quotas: object) => appOf('bank', { apiKeysFile: keys.path, quotas })
  const { node, put, ask, changes } = await given(t, [bank({ connections: 1, requestsPerSecond: 1 })])
  const { client } = await connected(t, node, 'TCP', 'ann', { token: await tokenOf('bank') })
  const another = async (deviceId: string) => {
    const client = await speaker(t, node, 'TCP')
    client.send(await connectFrame(node, 'ann', { token: await tokenOf('bank'), deviceId }))
    return { client, first: await client.next() }
  }
  t.match((await another('second')).first, { op: 'error', code: 'rate-limited' })
  const statuses = async () => (await Promise.all(Array.from({ length: 4 }, async () =>
    await ask(key.key, '/v1/users/ann/presence')))).map(({ status }) => status)
  t.ok((await statuses()).includes(429))

  await put([bank({ connections: 2 })])
  await until('it is taken', () => changes().length === 1)
  const second = await another('second')
  t.equal(second.first.op, 'connected')
  t.strictSame(await statuses(), [200, 200, 200, 200])

  await put([bank({ connections: 1, requestsPerSecond: 1 })])
  await until('it is taken', () => changes().length === 2)
  for (const each of [client, second.client]) await alive(t, each)
  t.match((await another('third')).first, { op: 'error', code: 'rate-limited' }, 'who is in stays, and nobody else comes in')
  t.ok((await statuses()).includes(429))
})

t.test('A file that can not be used', async t => {
  const key = drawn({ name: 'of the bank', scopes })
  const keys = await givenKeyFile(t, [key.stored])
  const webhook = { name: 'crm', url: 'http://127.0.0.1:9/', secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', streams: ['uplinks'], app: 'bank' }
  const bank = appOf('bank', { apiKeysFile: keys.path })
  const webhooks = { LEDGERLINE_WEBHOOKS: JSON.stringify([webhook]) }
  const { node, lines, put, putText, ask, changes, metrics } = await given(t, [bank], webhooks)
  const { client } = await connected(t, node, 'TCP', 'ann', { token: await tokenOf('bank') })
  const reason = async () => {
    const { json } = await node.request('GET', '/v1/health')
    return (json as { troubles: Array<{ condition: string, reason: string }> }).troubles.find(({ condition }) => condition === 'apps')?.reason
  }
  const broken: Array<[what: string, put: () => Promise<void>, why: RegExp]> = [
    ['no JSON, with a secret in it', async () => { await putText(`[{"name":"bank","issuers":[{"secret":"${secretOf('bank')}`) },
      /LEDGERLINE_APPS: got something else than JSON/],
    ['no app', async () => { await put([]) }, /must NOT have fewer than 1 items/],
    ['a secret of two apps', async () => { await put([bank, { name: 'shop', issuers: [{ issuer: 'shop', secret: secretOf('bank') }] }]) },
      /shop has a secret that bank has, too/],
    ['an issuer of the default app\'s', async () => { await put([bank, { name: 'shop', issuers: [{ issuer: 'shop', secret: jwtSecret }] }]) },
      /shop has a secret that the default app has, too/],
    ['a file of keys that is not there', async () => { await put([bank, appOf('shop', { apiKeysFile: '/not/there' })]) },
      /apiKeysFile of shop: got "\/not\/there", want a file that can be read \(ENOENT\)/],
    ['an app less that a webhook names', async () => { await put([appOf('shop')]) }, /LEDGERLINE_WEBHOOKS.*app: got "bank", want an app of LEDGERLINE_APPS/],
  ]
  for (const [what, putIt, why] of broken) {
    await putIt()
    t.match(await until(what, async () => {
      const now = await reason()
      return now !== undefined && why.test(now) && now
    }), /^those read last stay in use: /, what)
    await alive(t, client)
    t.equal((await ask(key.key, '/v1/users/ann/presence')).status, 200)
  }
  t.match(await metrics(), /ledgerline_condition_seconds\{condition="apps"\} (?!0\n)/)
  t.equal(lines.filter(({ msg, condition }) => msg === 'trouble has begun' && condition === 'apps').length, 1, 'one line')
  t.notOk(JSON.stringify(lines).includes(secretOf('bank')), 'without a secret')
  t.equal((await node.request('GET', '/readyz')).status, 200, 'the node goes on')

  await put([bank, appOf('shop')])
  await until('it is well', async () => await reason() === undefined)
  await connected(t, node, 'TCP', 'ann', { token: await tokenOf('shop') })
  t.match(changes(), [{ added: ['shop'], changed: [], removed: [] }])
})
