import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { accessTable } from '../../gateway/http/access.js'
import { scopes } from '../../gateway/keys/scopes.js'
import type { Environment } from '../../gateway/setting.js'
import { ackedUpTo, alive, connected, connectFrame, type Dialect, endsWith, speaker, uplinks } from './edge/dialects.js'
import { drawn } from './keys/given.js'
import { jwtSecret, signedToken, startTestNode, type TestNode, until } from './node.js'

/* Three apps of one node have a user of the same name, with the same device and session. None hears of another one. */

const secrets: Record<string, string> = {
  '': jwtSecret, shop: 'the secret of the shop, and of nobody else', bank: 'the secret of the bank, and of nobody else',
}
const apps = ['', 'shop', 'bank'] as const
type App = typeof apps[number]

const tokenOf = async (app: App, userId: string, claims: object = {}) =>
  await signedToken({ sub: userId, ...app === '' ? {} : { iss: app }, ...claims }, { secret: secrets[app]! })

interface Answer {
  readonly status: number
  readonly text: string
  readonly json: any
  readonly retryAfter: string | null
}

async function givenNode (t: Test, more: { shop?: object, environment?: Environment } = {}) {
  const directory = await mkdtemp(join(tmpdir(), 'ledgerline-apps-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  const keys: Record<string, string> = { '': 'the-key-of-a-test-node' }
  const files: Record<string, string> = {}
  const few = drawn({ name: 'of the default app', scopes: ['push', 'read', 'operate'] })
  for (const app of ['shop', 'bank', 'ours']) {
    const key = app === 'ours' ? few : drawn({ name: app, scopes })
    keys[app] = key.key
    files[app] = join(directory, `${app}.json`)
    await writeFile(files[app], JSON.stringify({ keys: [key.stored] }))
  }
  const node = await startTestNode(t, {
    LEDGERLINE_API_KEYS_FILE: files['ours'],
    LEDGERLINE_APPS: JSON.stringify([
      { name: 'shop', issuers: [{ issuer: 'shop', secret: secrets['shop'] }], apiKeysFile: files['shop'], ...more.shop },
      { name: 'bank', issuers: [{ issuer: 'bank', secret: secrets['bank'] }], apiKeysFile: files['bank'] },
    ]),
    ...more.environment,
  })
  /** @param app whose key is shown; `ours` is one of the default app that is not good for everything */
  async function ask (app: App | 'ours', method: string, path: string, body?: unknown): Promise<Answer> {
    const headers: Record<string, string> = { authorization: `Bearer ${keys[app]}` }
    if (body !== undefined) headers['content-type'] = 'application/json'
    const sent = body === undefined ? {} : { body: JSON.stringify(body) }
    const response = await fetch(node.http + path, { method, headers, ...sent })
    const text = await response.text()
    const isJson = response.headers.get('content-type')?.startsWith('application/json;') ?? false
    return { status: response.status, text, json: isJson ? JSON.parse(text) : undefined, retryAfter: response.headers.get('retry-after') }
  }
  /** An answer that goes on, up to its headers; it is left with the test. */
  const opened = async (app: App, path: string) => {
    const left = new AbortController()
    t.teardown(() => left.abort())
    return await fetch(node.http + path, { headers: { authorization: `Bearer ${keys[app]}` }, signal: left.signal })
  }
  const lines = async (app: App | 'ours', path: string) =>
    (await ask(app, 'GET', path)).text.split('\n').filter(line => line !== '').map(line => JSON.parse(line))
  return { node, keys, ask, opened, lines }
}

async function connectedAs (t: Test, node: TestNode, dialect: Dialect, app: App, userId = 'ann', more: object = {}) {
  return await connected(t, node, dialect, userId, { token: await tokenOf(app, userId), ...more })
}

for (const dialect of ['TCP', 'WebSocket Avro', 'WebSocket JSON'] as const) {
  t.test(`Users of the same name in several apps never meet, over ${dialect}`, async t => {
    const { node, ask, lines } = await givenNode(t)
    const clients = new Map<App, Awaited<ReturnType<typeof connected>>>()
    for (const app of apps) clients.set(app, await connectedAs(t, node, dialect, app))
    const of = (app: App) => clients.get(app)!

    await t.test('in sessions: none takes the place of another one, and no device hears of apps', async t => {
      for (const app of apps) {
        t.match(of(app).welcome, { userId: 'ann', resumed: false, uplinkSeq: 0, downlinkSeq: 0 })
        await alive(t, of(app).client)
      }
    })

    await t.test('in uplinks: each counts its own, and its readers see no others', async t => {
      for (const app of apps) of(app).client.sendAll(uplinks(1, 1, `of ${app}`))
      for (const app of apps) t.strictSame(await ackedUpTo(of(app).client, 1), [1])
      for (const app of apps) {
        const [line, ...more] = await until('it is published', async () => {
          const found = await lines(app, '/v1/uplinks')
          return found.length > 0 && found
        })
        t.strictSame(more, [])
        t.match(line, { userId: 'ann', userSeq: 1, payload: `of ${app} 1`, connectionId: of(app).welcome.connectionId })
        t.equal(line.app, app === '' ? undefined : app)
      }
      t.match(await lines('', '/v1/uplinks?app=bank'), [{ app: 'bank', payload: 'of bank 1' }], 'who may see all names one')
    })

    await t.test('in downlinks: the same message id is each one\'s own', async t => {
      for (const app of apps) {
        const body = { to: { userIds: ['ann'] }, messageId: 'm1', payload: `for ${app}` }
        t.match((await ask(app, 'POST', '/v1/downlinks', body)).json, { users: [{ userId: 'ann', status: 'queued' }] })
      }
      for (const app of apps) {
        t.match(await of(app).client.next(), { op: 'downlink', seq: 1, messageId: 'm1' })
        await alive(t, of(app).client)
        const { json } = await ask(app, 'GET', '/v1/users/ann/trace?messageId=m1')
        t.equal(json.userId, 'ann')
        t.equal(json.app, app === '' ? undefined : app)
        const connectionIds = new Set(json.steps.map(({ connectionId }: any) => connectionId))
        connectionIds.delete('')
        t.strictSame([...connectionIds], [of(app).welcome.connectionId])
      }
    })

    await t.test('in presence, states and signals', async t => {
      for (const app of apps) {
        const { json } = await until('it is known', async () => {
          const answer = await ask(app, 'GET', '/v1/users/ann/presence')
          return answer.json.online && answer
        })
        t.equal(json.app, app === '' ? undefined : app)
        t.match(json, { userId: 'ann', sessions: [{ connectionId: of(app).welcome.connectionId }] })
        t.equal(json.sessions.length, 1)
        const many = (await ask(app, 'POST', '/v1/presence', { userIds: ['ann', 'bob'] })).json.users
        t.strictSame(many.map(({ userId, sessions }: any) => [userId, sessions.length]), [['ann', 1], ['bob', 0]])
        const { json: state } = await ask(app, 'GET', '/v1/users/ann/state')
        t.match(state, { userId: 'ann', connections: [{ connectionId: of(app).welcome.connectionId }] })
        t.equal(state.connections.length, 1)
        t.equal(state.app, app === '' ? undefined : app)
      }
      for (const app of apps) {
        const signal = { to: { userIds: ['ann'] }, payload: `psst ${app}`, delivery: 'signal' }
        await until('it is routed', async () => (await ask(app, 'POST', '/v1/downlinks', signal)).json.users[0].status === 'sent')
        t.match(await of(app).client.next(), { op: 'signal' })
        for (const other of apps) await alive(t, of(other).client)
      }
    })

    await t.test('in kicks: the connection of another app is none', async t => {
      const { connectionId } = of('bank').welcome
      for (const path of [`/v1/connections/${connectionId}`, `/v1/connections/${connectionId}?userId=ann`]) {
        for (const app of ['', 'shop'] as const) t.equal((await ask(app, 'DELETE', path)).status, 404, `${app} ${path}`)
      }
      t.equal((await ask('shop', 'GET', `/v1/users/ann/trace?connectionId=${connectionId}`)).json.verdict.code, 'no-connection')
      for (const app of apps) await alive(t, of(app).client)
      const kicked = (await ask('shop', 'DELETE', '/v1/users/ann/connections')).json
      t.strictSame(kicked, { connections: [{ userId: 'ann', connectionId: of('shop').welcome.connectionId }] })
      await endsWith(t, of('shop').client, 'kicked')
      for (const app of ['', 'bank'] as const) await alive(t, of(app).client)
    })

    await t.test('in bans', async t => {
      t.equal((await ask('shop', 'POST', '/v1/bans', { userId: 'ann', banId: 'b1' })).status, 202)
      for (const app of ['', 'bank'] as const) {
        t.strictSame((await ask(app, 'GET', '/v1/users/ann/bans')).json, { userId: 'ann', bans: [] })
        t.equal((await ask(app, 'DELETE', '/v1/bans/b1?userId=ann')).status, 404)
        await alive(t, of(app).client)
      }
      const banned = await speaker(t, node, dialect)
      banned.send(await connectFrame(node, 'ann', { token: await tokenOf('shop', 'ann') }))
      await endsWith(t, banned, 'banned')
      t.equal((await ask('shop', 'DELETE', '/v1/bans/b1?userId=ann')).status, 202)
    })

    await t.test('in redeliveries and history', async t => {
      const again = { deviceId: 'phone', fromSeq: 1, toSeq: 1 }
      t.match((await ask('shop', 'POST', '/v1/users/ann/redeliveries', again)).json, { redelivered: [{ messageId: 'm1' }] })
      await alive(t, of('bank').client)
      const row = await until('its end is known', async () => (await lines('shop', '/v1/connections'))[0])
      t.match(row, { app: 'shop', userId: 'ann', code: 'kicked', connectionId: of('shop').welcome.connectionId })
      t.strictSame(await lines('bank', '/v1/connections'), [])
      t.strictSame(await lines('bank', '/v1/connections?userId=ann'), [])
      t.strictSame(await lines('', '/v1/connections'), [])
    })

    await t.test('in metrics: an app is a label, and apps see none', async t => {
      const text = await until('the one that was kicked has left', async () => {
        const { text } = await ask('', 'GET', '/metrics')
        return text.includes('ledgerline_app_connections{app="shop"} 0\n') && text
      })
      for (const [app, connections] of [['', 1], ['shop', 0], ['bank', 1]] as const) {
        t.match(text, `ledgerline_app_connections{app="${app}"} ${connections}\n`)
        t.match(text, `ledgerline_app_uplinks_total{app="${app}"} 1\n`)
      }
      t.notMatch(text, '\u001f')
      t.equal((await ask('shop', 'GET', '/metrics')).status, 403)
    })

    t.strictSame(node.logged.filter(({ level }) => level >= 50), [])
  })
}

t.test('The token of another app', async t => {
  const { node } = await givenNode(t)
  const wrong: Array<[what: string, token: string]> = []
  for (const app of apps) {
    for (const other of apps) {
      if (app === other) continue
      const claims = { sub: 'ann', ...app === '' ? {} : { iss: app } }
      wrong.push([`in the name of ${app || 'the default app'} by the key of ${other || 'the default app'}`,
        await signedToken(claims, { secret: secrets[other]! })])
    }
  }
  wrong.push(['of an app in capitals', await signedToken({ sub: 'ann', iss: 'SHOP' }, { secret: secrets['shop']! })])
  wrong.push(['of two apps', await signedToken({ sub: 'ann', iss: ['shop', 'bank'] }, { secret: secrets['shop']! })])
  wrong.push(['for a user with the separator', await tokenOf('', 'shop\u001fann')])
  wrong.push(['for a user with the separator, in an app', await tokenOf('bank', '\u001fann')])

  for (const dialect of ['TCP', 'WebSocket Avro', 'WebSocket JSON'] as const) {
    await t.test(`is refused over ${dialect}, at connect and later`, async t => {
      for (const [what, token] of wrong) {
        const client = await speaker(t, node, dialect)
        client.send(await connectFrame(node, 'ann', { token }))
        t.equal((await endsWith(t, client, 'bad-token')).op, 'error', what)
      }
      for (const app of apps) {
        for (const other of apps) {
          if (app === other) continue
          const { client } = await connectedAs(t, node, dialect, app)
          client.send({ op: 'token', token: await tokenOf(other, 'ann') })
          t.equal((await endsWith(t, client, 'bad-token')).op, 'error', `${other} on a connection of ${app}`)
        }
        const { client } = await connectedAs(t, node, dialect, app)
        client.send({ op: 'token', token: await tokenOf(app, 'ann') })
        t.equal((await client.next()).op, 'tokenAccepted', 'its own is good')
      }
    })
  }
})

t.test('The API key of another app', async t => {
  const { ask, keys, node } = await givenNode(t)
  const routes = Object.entries(accessTable).filter(([, access]) => access !== 'public').map(([name]) => {
    const [method, path] = name.split(' ') as [string, string]
    return { name, method, path: path.replace(/:\w+/g, 'x'), body: method === 'POST' ? {} : undefined }
  })
  const ofUsers = routes.filter(({ name }) => name.includes(':userId') || name.includes(':roomId') || name.includes('/v1/broadcasts') || name.includes('/v1/groups') ||
    ['POST /v1/downlinks', 'DELETE /v1/downlinks/:messageId', 'POST /v1/presence', 'POST /v1/bans', 'DELETE /v1/bans/:banId', 'GET /v1/uplinks', 'GET /v1/connections', 'GET /v1/streams/:stream',
      'DELETE /v1/connections/:connectionId'].includes(name))

  await t.test('is refused on every route that may name an app, and on those of all of them', async t => {
    for (const { name, method, path, body } of routes.filter(({ path }) => !path.startsWith('/v1/keys'))) {
      const isOfUsers = ofUsers.some(route => route.name === name)
      const asked = isOfUsers ? `${path}?app=bank` : path
      const { status, json } = await ask('shop', method, asked, body)
      t.strictSame([status, json?.code], [403, 'forbidden'], `${name} with the key of the shop`)
      if (!isOfUsers) continue
      for (const app of ['bank', 'shop', 'none', '', 'shop&app=bank']) {
        const { status } = await ask('ours', method, `${path}?app=${app}`, body)
        t.ok(app === '' || app.includes('&') ? status === 400 : status === 403, `${name} for ${app}: ${status}`)
      }
      t.equal((await ask('', method, `${path}?app=none`, body)).status, 404, `${name} for an app that is not there`)
    }
  })

  await t.test('sees, makes and revokes keys of its own app alone', async t => {
    const idOf = (app: string) => keys[app]!.split('_')[1]!
    const listed = async (app: App) => (await ask(app, 'GET', '/v1/keys')).json.keys.map(({ id }: { id: string }) => id)
    t.strictSame(await listed('shop'), [idOf('shop')])
    for (const other of ['bank', 'ours']) {
      t.strictSame((await ask('shop', 'DELETE', `/v1/keys/${idOf(other)}`)).json.code, 'not-found', other)
    }
    const made = (await ask('shop', 'POST', '/v1/keys', { name: 'another', scopes: ['read'] })).json
    t.strictSame(await listed('shop'), [idOf('shop'), made.id])
    t.strictSame(await listed('bank'), [idOf('bank')])
    const authorization = `Bearer ${made.key}`
    t.equal((await fetch(`${node.http}/v1/users/ann/presence`, { headers: { authorization } })).status, 200)
    t.equal((await fetch(`${node.http}/v1/users/ann/presence?app=bank`, { headers: { authorization } })).status, 403)
    t.equal((await ask('ours', 'GET', '/v1/keys')).status, 403, 'without the scope admin')
  })

  await t.test('of the default app sees what tells of all apps with the scope admin alone', async t => {
    for (const path of ['/v1/log', '/v1/log/ledger', '/v1/log/ledger/0?from=0', '/v1/nodes/n1/drain', '/v1/streams/nodes']) {
      t.equal((await ask('ours', 'GET', path)).status, 403, path)
      t.not((await ask('', 'GET', path)).status, 403, path)
    }
  })

  await t.test('opens no path by a user id with the separator', async t => {
    for (const app of ['ours', '', 'shop'] as const) {
      for (const path of ['/v1/users/bank%1Fann/presence', '/v1/users/bank%1Fann/state', '/v1/connections?userId=bank%1Fann']) {
        t.equal((await ask(app, 'GET', path)).status, 400, `${app} ${path}`)
      }
      const body = { to: { userIds: ['bank\u001fann'] }, payload: 'x' }
      t.equal((await ask(app, 'POST', '/v1/downlinks', body)).status, 400)
    }
  })

  await t.test('that stands in two files is good for neither', async t => {
    const twice = drawn({ name: 'twice', scopes })
    const file = JSON.stringify({ keys: [twice.stored] })
    const directory = t.testdir({ 'a.json': file, 'b.json': file })
    const other = await startTestNode(t, {
      LEDGERLINE_APPS: JSON.stringify(['a', 'b'].map(name => ({
        name,
        issuers: [{ issuer: name, secret: `the secret of ${name}, and of nobody else` }],
        apiKeysFile: `${directory}/${name}.json`,
      }))),
    })
    const headers = { authorization: `Bearer ${twice.key}` }
    t.equal((await fetch(`${other.http}/v1/users/ann/presence`, { headers })).status, 401)
  })
  t.notOk(JSON.stringify(node.logged).includes(keys['shop']!.slice(14)))
})

t.test('An app is held to its quotas, and the others are not', async t => {
  await t.test('of connections, with a wait', async t => {
    const { node, ask } = await givenNode(t, { shop: { quotas: { connections: 2 } } })
    for (const dialect of ['TCP', 'WebSocket Avro', 'WebSocket JSON'] as const) {
      const first = await connectedAs(t, node, dialect, 'shop', 'ann')
      const second = await connectedAs(t, node, dialect, 'shop', 'bob')
      const third = await speaker(t, node, dialect)
      third.send(await connectFrame(node, 'cid', { token: await tokenOf('shop', 'cid') }))
      const refusal = await endsWith(t, third, 'rate-limited')
      t.ok((refusal as { retryAfterMs?: number }).retryAfterMs! >= 1_000, 'it may come back')
      const others = [await connectedAs(t, node, dialect, 'bank'), await connectedAs(t, node, dialect, '')]
      for (const { client } of others) await alive(t, client)
      second.client.send({ op: 'disconnect' })
      await second.client.closed()
      await until('there is room', async () => (await ask('', 'GET', '/metrics')).text.includes('ledgerline_app_connections{app="shop"} 1\n'))
      const late = await connectedAs(t, node, dialect, 'shop', 'cid')
      await alive(t, late.client)
      for (const { client } of [first, late, ...others]) client.destroy()
      await until('all have left', async () => {
        const { text } = await ask('', 'GET', '/metrics')
        return apps.every(app => text.includes(`ledgerline_app_connections{app="${app}"} 0\n`))
      })
    }
  })

  await t.test('of requests', async t => {
    const { ask } = await givenNode(t, { shop: { quotas: { requestsPerSecond: 1 } } })
    const path = '/v1/users/ann/presence'
    const over = await until('it has asked too often', async () => {
      const answers = await Promise.all(Array.from({ length: 20 }, () => ask('shop', 'GET', path)))
      return answers.find(({ status }) => status === 429)
    })
    t.match(over.json, { code: 'throttled', message: /all API keys of the app shop together may have 1 requests a second/ })
    t.equal(over.retryAfter, '1')
    for (const app of ['bank', ''] as const) t.equal((await ask(app, 'GET', path)).status, 200)
    t.equal((await ask('', 'GET', `${path}?app=shop`)).status, 200, 'it is of its own keys')
  })

  await t.test('of recipients', async t => {
    const { ask } = await givenNode(t, { shop: { quotas: { recipientsPerSecond: 1 } } })
    const userIds = Array.from({ length: 1_000 }, (_, i) => `u${i}`)
    const push = async (app: App) => await ask(app, 'POST', '/v1/downlinks', { to: { userIds }, payload: 'x', delivery: 'signal' })
    t.equal((await push('shop')).status, 202, 'nothing is too large for ever')
    const over = await push('shop')
    t.strictSame([over.status, over.json.code], [429, 'throttled'])
    t.match(over.json.message, /all API keys of the app shop together may have 1 recipients a second/)
    t.ok(Number(over.retryAfter) > 500, 'and the rest is owed')
    for (const app of ['bank', 'bank', ''] as const) t.equal((await push(app)).status, 202)
  })

  await t.test('of bytes of an outbox', async t => {
    const { ask } = await givenNode(t, { shop: { quotas: { outboxBytes: 1_048_576 } } })
    for (const app of ['shop', 'bank'] as const) {
      for (let i = 0; i < 20; i++) {
        const body = { to: { userIds: ['ann'] }, messageId: `m${i}`, payload: 'x'.repeat(60_000) }
        t.equal((await ask(app, 'POST', '/v1/downlinks', body)).status, 202)
      }
      const { waiting } = (await ask(app, 'GET', '/v1/users/ann/state')).json
      if (app === 'bank') t.equal(waiting.length, 20)
      else t.ok(waiting.length < 18, `${waiting.length} wait`)
    }
  })

  await t.test('of readers, who keep none of another app out', async t => {
    const { opened } = await givenNode(t)
    const of = (app: App, group: string) => opened(app, `/v1/streams/uplinks?group=${group}`)
    for (let i = 0; i < 64; i++) t.equal((await of('shop', `g${i}`)).status, 200)
    t.equal((await of('shop', 'late')).status, 503)
    for (const app of ['bank', ''] as const) {
      t.equal((await of(app, 'first')).status, 200, 'the first one of the app')
      t.equal((await of(app, 'second')).status, 503)
    }
  })

  await t.test('and has its own login policy', async t => {
    const { node } = await givenNode(t, { shop: { loginPolicy: 'user' } })
    for (const app of ['shop', 'bank'] as const) {
      const { client: phone } = await connectedAs(t, node, 'TCP', app)
      const { client: tablet } = await connectedAs(t, node, 'TCP', app, 'ann', { deviceId: 'tablet' })
      if (app === 'shop') await endsWith(t, phone, 'kicked')
      else await alive(t, phone)
      await alive(t, tablet)
    }
  })
})
