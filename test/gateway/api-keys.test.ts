import { request as requestPlain } from 'node:http'
import { request as requestTls } from 'node:https'
import { writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import t, { type Test } from 'tap'
import type { Environment } from '../../gateway/setting.js'
import { makeCertificates, opensslMissing } from '../cluster/certificates.js'
import type { StoredKey } from '../../gateway/keys/key-file.js'
import { drawn, givenKeyFile } from './keys/given.js'
import { startTestNode, type TestNode, until } from './node.js'

interface Asked { readonly method?: string, readonly path: string, readonly key: string, readonly body?: unknown }
interface Answered {
  readonly status: number
  readonly headers: Record<string, unknown>
  readonly json: any
  readonly text: string
}

function caOf ({ ca }: TestNode) { return ca === undefined ? {} : { ca } }

function ask (node: TestNode, { method = 'GET', path, key, body }: Asked): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const send = node.ca === undefined ? requestPlain : requestTls
    const type = body === undefined ? {} : { 'content-type': 'application/json' }
    const options = { method, headers: { authorization: `Bearer ${key}`, ...type }, ...caOf(node) }
    const request = send(node.http + path, options, response => {
      let text = ''
      response.setEncoding('utf8').on('data', part => { text += part }).on('error', reject).on('end', () => {
        const isJson = String(response.headers['content-type']).startsWith('application/json')
        const json = isJson ? JSON.parse(text) : undefined
        resolve({ status: response.statusCode!, headers: response.headers, json, text })
      })
    })
    request.on('error', reject).end(body === undefined ? undefined : JSON.stringify(body))
  })
}

const push = (node: TestNode, key: string, userIds: string[] = ['ann']) =>
  ask(node, { method: 'POST', path: '/v1/downlinks', key, body: { to: { userIds }, payload: 'hi' } })

const read = (node: TestNode, key: string) => ask(node, { path: '/v1/nodes', key })

const troubles = async (node: TestNode) => (await node.request('GET', '/v1/health')).json as
  { troubles: Array<{ condition: string, reason: string }> }

const keyTrouble = async (node: TestNode) =>
  (await troubles(node)).troubles.find(({ condition }) => condition === 'api-keys')?.reason

/** Opens a stream that goes on; `ended` says whether it has. */
async function follow (t: Test, node: TestNode, key: string) {
  let ended = false
  await new Promise<void>((resolve, reject) => {
    const send = node.ca === undefined ? requestPlain : requestTls
    const options = { headers: { authorization: `Bearer ${key}` }, ...caOf(node) }
    const request = send(`${node.http}/v1/uplinks?follow=true`, options, response => {
      response.resume().on('close', () => { ended = true }).on('error', () => {})
      if (response.statusCode === 200) resolve()
      else reject(new Error(`got ${response.statusCode}`))
    })
    t.teardown(() => { request.destroy() })
    request.on('error', err => {
      ended = true
      reject(err)
    }).end()
  })
  return { ended: () => ended }
}

for (const isTls of [false, true]) {
  t.test(`Keys of a file${isTls ? ', over TLS' : ''}`, { skip: isTls ? opensslMissing() ?? false : false }, async t => {
    let environment: Environment = {}
    if (isTls) {
      const { ca, server: { cert, key } } = await makeCertificates(t)
      environment = { LEDGERLINE_TLS_CERT: cert, LEDGERLINE_TLS_KEY: key }
      t.equal(dirname(ca), dirname(cert), 'where the clients of a test node look for it')
    }
    const file = await givenKeyFile(t, [])
    const node = await startTestNode(t, { ...environment, LEDGERLINE_API_KEYS_FILE: file.path })
    const given = async (...keys: StoredKey[]) => {
      await file.put(keys)
      process.emit('SIGHUP')
    }

    t.test('are good for their scopes, beside those of the environment', async t => {
      const pusher = drawn({ scopes: ['push'] })
      const reader = drawn({ scopes: ['read'] })
      await given(pusher.stored, reader.stored)
      t.equal((await push(node, pusher.key)).status, 202)
      t.match(await read(node, pusher.key), { status: 403, json: { code: 'forbidden', message: /has not the scope read/ } })
      t.equal((await read(node, reader.key)).status, 200)
      t.match(await push(node, reader.key), { status: 403, json: { code: 'forbidden' } })
      t.equal((await push(node, 'the-key-of-a-test-node')).status, 202)
    })

    t.test('are rotated: two are good at a time, and what the first one followed ends when it is revoked', async t => {
      const first = drawn({ scopes: ['read'] })
      const second = drawn({ scopes: ['read'] })
      await given(first.stored)
      t.match(await read(node, second.key), { status: 401 })
      await file.put([first.stored, second.stored])
      await until('the second one is known', async () => (await read(node, second.key)).status === 200)
      t.equal((await read(node, first.key)).status, 200)
      const before = await follow(t, node, first.key)
      const after = await follow(t, node, second.key)
      await file.put([{ ...first.stored, revokedAt: new Date().toISOString() }, second.stored])
      await until('the first one is refused', async () => (await read(node, first.key)).status === 401)
      t.match(await read(node, first.key), { json: { code: 'unauthorized', message: /was revoked/ } })
      await until('what it followed ends', before.ended)
      t.equal((await read(node, second.key)).status, 200)
      t.equal(after.ended(), false)
    })

    t.test('without the scope push ack, and send no replies', async t => {
      const reader = drawn({ scopes: ['read'] })
      const both = drawn({ scopes: ['read', 'push'] })
      await given(reader.stored, both.stored)
      const ack = (key: string, more: object) =>
        ask(node, { method: 'POST', path: '/v1/groups/bots/acks', key, body: { cursors: ['none'], ...more } })
      const replies = [
        { inReplyTo: 'ann/1', stream: 'uplinks', payload: 'hi' }, { inReplyTo: 'ann/1', stream: 'posts', payload: 'whose' }, {},
      ]
      t.match(await ack(reader.key, {}), { status: 200 })
      t.match(await ack(reader.key, { replies }), { status: 403, json: { code: 'forbidden', message: /scope push/ } })
      t.match(await ack(both.key, { replies }), {
        status: 200,
        json: {
          acks: [{ status: 'rejected', code: 'bad-request' }],
          replies: [
            { messageId: 'group/bots/uplinks/ann/1/reply/0', users: [{ userId: 'ann', status: 'queued' }] },
            { code: 'bad-request', message: /userIds/ },
            { code: 'bad-request', message: /payload/ },
          ],
        },
      })
    })

    t.test('that expire end what they follow', async t => {
      const key = drawn({ scopes: ['read'] })
      await given(key.stored)
      const followed = await follow(t, node, key.key)
      await file.put([{ ...key.stored, expiresAt: new Date(Date.now() + 1_500).toISOString() }])
      await until('the stream ends', followed.ended)
      t.match(await read(node, key.key), { status: 401, json: { message: /has expired/ } })
    })

    t.test('that are gone from the file, or have lost a scope, are good no more', async t => {
      const gone = drawn({ scopes: ['read'] })
      const less = drawn({ scopes: ['read', 'push'] })
      await given(gone.stored, less.stored)
      const followed = [await follow(t, node, gone.key), await follow(t, node, less.key)]
      await file.put([{ ...less.stored, scopes: ['push'] }])
      await until('one is unknown', async () => (await read(node, gone.key)).status === 401)
      t.equal((await read(node, less.key)).status, 403)
      t.equal((await push(node, less.key)).status, 202)
      await until('both streams end', () => followed.every(({ ended }) => ended()))
    })
  })
}

t.test('A file of keys', async t => {
  t.test('that is wrong keeps the last good one, is a condition, and is mended', async t => {
    const first = drawn({ scopes: ['read'] })
    const second = drawn({ scopes: ['read'] })
    const file = await givenKeyFile(t, [first.stored])
    const node = await startTestNode(t, { LEDGERLINE_API_KEYS_FILE: file.path })
    t.equal(await keyTrouble(node), undefined)
    for (const text of ['{"keys":', '{"keys":[{"id":"abcd"}]}', second.key]) {
      await file.putText(text)
      const reason = await until('it is noticed', () => keyTrouble(node))
      t.match(reason, /those read last stay in use: LEDGERLINE_API_KEYS_FILE/)
      t.notMatch(reason, second.key.slice(14))
      t.equal((await read(node, first.key)).status, 200)
      await file.put([first.stored])
      await until('it is mended', async () => await keyTrouble(node) === undefined)
    }
    await file.put([second.stored])
    await until('the next one is taken', async () => (await read(node, second.key)).status === 200)
    t.equal((await read(node, first.key)).status, 401)
  })

  t.test('is read at SIGHUP at once, and where it is written in place', async t => {
    const [first, second] = [drawn({ scopes: ['read'] }), drawn({ scopes: ['read'] })]
    const file = await givenKeyFile(t, [])
    const node = await startTestNode(t, { LEDGERLINE_API_KEYS: '', LEDGERLINE_API_KEYS_FILE: file.path })
    await file.put([first.stored])
    process.emit('SIGHUP')
    t.equal((await read(node, first.key)).status, 200)
    await writeFile(file.path, JSON.stringify({ keys: [second.stored] }))
    await until('it is known', async () => (await read(node, second.key)).status === 200)
  })

  t.test('that is not there, or wrong, is named at start', async t => {
    const file = await givenKeyFile(t, [])
    await t.rejects(startTestNode(t, { LEDGERLINE_API_KEYS_FILE: `${file.path}.none` }),
      { name: 'ConfigError', message: /LEDGERLINE_API_KEYS_FILE.*ENOENT.*ledgerline keys create/ })
    await file.putText('[]')
    await t.rejects(startTestNode(t, { LEDGERLINE_API_KEYS_FILE: file.path }),
      { name: 'ConfigError', message: /LEDGERLINE_API_KEYS_FILE.*the file must be object/ })
  })
})

t.test('A quota', async t => {
  t.test('of requests is for one key, and says when to come back', async t => {
    const slow = drawn({ scopes: ['read'], requestsPerSecond: 1 })
    const free = drawn({ scopes: ['read'] })
    const file = await givenKeyFile(t, [slow.stored, free.stored])
    const node = await startTestNode(t, { LEDGERLINE_API_KEYS_FILE: file.path })
    // So many at once take less than as many seconds, on whatever machine: one of them is too many.
    const answers = await Promise.all(Array.from({ length: 40 }, () => read(node, slow.key)))
    t.ok(answers.some(({ status }) => status === 200))
    const refused = answers.filter(({ status }) => status === 429)
    t.ok(refused.length > 0)
    for (const { json, headers } of refused) {
      t.match(json, { code: 'throttled', message: `the API key ${slow.id} may have 1 requests a second` })
      t.equal(headers['retry-after'], '1')
    }
    t.equal((await read(node, free.key)).status, 200)
    // The wrong scope costs as much as the right one.
    const others = await Promise.all(Array.from({ length: 40 }, () => push(node, slow.key)))
    t.ok(others.some(({ status }) => status === 429))
  })

  t.test('of recipients counts users of pushes, and stays used when the file is read again', async t => {
    const key = drawn({ scopes: ['push', 'read'], recipientsPerSecond: 2 })
    const file = await givenKeyFile(t, [key.stored])
    const node = await startTestNode(t, { LEDGERLINE_API_KEYS_FILE: file.path })
    const many = Array.from({ length: 1_000 }, (_, i) => `user-${i}`)
    t.equal((await push(node, key.key, many)).status, 202, 'more than a second has, once')
    const { status, json, headers } = await push(node, key.key)
    t.match({ status, json }, { status: 429, json: { code: 'throttled', message: /2 recipients a second/ } })
    t.ok(Number(headers['retry-after']) > 60, 'and then the rest is owed')
    t.equal((await read(node, key.key)).status, 200)
    await file.put([{ ...key.stored, name: 'another name' }])
    process.emit('SIGHUP')
    t.equal((await push(node, key.key)).status, 429)
    await file.put([{ ...key.stored, recipientsPerSecond: 1_000 }])
    process.emit('SIGHUP')
    t.equal((await push(node, key.key)).status, 202, 'another quota begins anew')
  })
})

t.test('No secret is in a log, a metric, an error or a trace, and the ids of keys are', async t => {
  const good = drawn({ scopes: ['push', 'read', 'operate', 'admin'] })
  const poor = drawn({ scopes: ['push'] })
  const revoked = drawn({ revokedAt: '2026-01-01T00:00:00Z' })
  const file = await givenKeyFile(t, [good.stored, poor.stored, revoked.stored])
  const node = await startTestNode(t, { LEDGERLINE_API_KEYS_FILE: file.path }, 'trace')
  const texts: string[] = []
  for (const { key } of [good, poor, poor, poor, revoked, drawn()]) {
    texts.push((await push(node, key)).text, (await read(node, key)).text)
  }
  texts.push((await ask(node, { path: '/v1/users/ann/trace', key: good.key })).text)
  const { text: metrics } = await node.request('GET', '/metrics')
  texts.push(metrics, JSON.stringify(await troubles(node)), JSON.stringify(node.logged))
  for (const { key, stored } of [good, poor, revoked]) {
    for (const text of texts) {
      t.notOk(text.includes(key.slice(14)), 'no key')
      t.notOk(text.includes(stored.sha256), 'no digest')
    }
  }
  t.match(metrics, `ledgerline_api_requests_total{key="${good.id}",admission="admitted"} `)
  t.match(metrics, `ledgerline_api_requests_total{key="${poor.id}",admission="forbidden"} `)
  t.match(metrics, 'ledgerline_api_requests_total{key="",admission="unauthorized"} ')
  t.match(JSON.stringify(node.logged), poor.id)
})
