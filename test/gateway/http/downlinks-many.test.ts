import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import t, { type Test } from 'tap'
import type { HttpDeps } from '../../../gateway/http/server.js'
import { ApiKeys } from '../../../gateway/keys/api-keys.js'
import { GatewayError } from '../../../schemas/errors.js'
import { until } from '../../faults/node-process.js'
import { drawn } from '../keys/given.js'
import { givenApp, key } from './given.js'
import { beginLines, sendLines } from './lines-request.js'

const url = '/v1/downlinks'
const headers = { ...key, 'content-type': 'application/x-ndjson' }
const apiKey = key.authorization.slice('Bearer '.length)

const user = (userId: string) => JSON.stringify({ userId })

/** What is answered to these lines, and what was pushed. */
async function answerTo (t: Test, lines: readonly (string | object)[], overrides: Partial<HttpDeps> = {}) {
  const { app, asked } = givenApp(t, overrides)
  const payload = lines.map(line => `${typeof line === 'string' ? line : JSON.stringify(line)}\n`).join('')
  const response = await app.inject({ method: 'POST', url, headers, payload })
  const told = response.statusCode === 202 ? response.body.split('\n').filter(line => line !== '').map(line => JSON.parse(line)) : []
  const answered = told.filter(({ progress }) => progress === undefined) // of those that come by the clock
  return { response, answered, asked }
}

/** The same app on a port. */
async function listening (t: Test, overrides: Partial<HttpDeps> = {}) {
  const given = givenApp(t, overrides)
  await given.app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = given.app.server.address() as AddressInfo
  return { ...given, url: `http://127.0.0.1:${port}${url}` }
}

t.test('A downlink request in lines', async t => {
  t.test('pushes the message of its first line to the users of the others, and answers each', async t => {
    const message = {
      messageId: 'm1', service: 'chat', payload: { base64: 'AP8=' }, ttlMs: 1, platforms: ['ios'], exceptDevices: ['tv'], devices: ['phone'],
    }
    const { response, answered, asked } = await answerTo(t, [message, user('ann'), '', user('banned'), '  ', user('cy')])
    t.equal(response.statusCode, 202)
    t.equal(response.headers['content-type'], 'application/x-ndjson')
    t.strictSame(asked.commands, [{
      ...message, delivery: 'durable', app: '', receipts: true, offlineAfterMs: -1, replaces: '', userIds: ['ann', 'banned', 'cy'], payload: Buffer.from([0, 255]),
    }])
    t.strictSame(answered, [
      { messageId: 'm1' },
      { line: 2, userId: 'ann', status: 'queued', position: '3@1021.4' },
      { line: 4, userId: 'banned', status: 'rejected', code: 'banned' },
      { line: 6, userId: 'cy', status: 'queued', position: '3@1021.4' },
      { totals: { lines: 3, queued: 2, rejected: 1 } },
    ])
  })

  t.test('draws an id where it has none, and tells it before anything else', async t => {
    const { answered, asked } = await answerTo(t, [{ payload: 'hi' }, user('ann')])
    t.match(answered[0], { messageId: /^[0-9a-f-]{36}$/ })
    t.equal(asked.commands[0]!.messageId, answered[0].messageId)
  })

  t.test('answers a line that names no user in its place, and the others get theirs', async t => {
    const wrong: Record<string, string | RegExp> = {
      '{': 'line 3: want JSON',
      '"ann"': 'line 3 must be object',
      '{"userId":7}': 'line 3/userId must be string',
      '{"userId":""}': /^line 3\/userId: got "", want 1 to 256 bytes/,
      '{"userId":"a","devices":["phone"]}': /^line 3: there is no field "devices"/,
      '{"userId":"a","__proto__":{"b":1}}': /^line 3: there is no field "__proto__"/,
      '{}': 'line 3: want "userId"',
      [`{"userId":"${'a'.repeat(5_000)}"}`]: 'line 3: want at most 4096 bytes',
    }
    for (const [line, message] of Object.entries(wrong)) {
      const { answered, asked } = await answerTo(t, [{ payload: 'hi' }, user('ann'), line, user('bob')])
      t.strictSame(asked.commands[0]!.userIds, ['ann', 'bob'], line.slice(0, 40))
      t.match(answered.slice(1), [
        { line: 2, status: 'queued' },
        { line: 3, status: 'rejected', code: 'bad-request', message },
        { line: 4, status: 'queued' },
        { totals: { lines: 3, queued: 2, rejected: 1 } },
      ])
    }
  })

  t.test('takes a user who is named twice once', async t => {
    const { answered, asked } = await answerTo(t, [{ payload: 'hi' }, user('ann'), user('ann')])
    t.strictSame(asked.commands[0]!.userIds, ['ann'])
    t.match(answered.slice(1), [{ line: 2, status: 'queued' }, { line: 3, status: 'queued' }, { totals: { queued: 2 } }])
  })

  t.test('tells with `"answers": "failed"` those alone that got nothing of it', async t => {
    const statuses = ['queued', 'duplicate', 'conflict', 'rejected'] as const
    const { answered } = await answerTo(t, [{ payload: 'hi', messageId: 'm1', answers: 'failed' }, ...statuses.map(user), '{'], {
      push: async ({ messageId, userIds }) =>
        ({ messageId, users: userIds.map((userId, i) => ({ userId, status: statuses[i]! })) }),
    })
    t.match(answered, [
      { messageId: 'm1' },
      { userId: 'conflict', status: 'conflict' },
      { userId: 'rejected', status: 'rejected' },
      { line: 6, status: 'rejected', code: 'bad-request' },
      { totals: { lines: 5, queued: 1, duplicate: 1, conflict: 1, rejected: 2 } },
    ])
    t.equal(answered.length, 5)
  })

  t.test('goes to a thousand users at once at most, and goes on where some of them could not be stored', async t => {
    const sizes: number[] = []
    const { answered } = await answerTo(t, [{ payload: 'hi' }, ...Array.from({ length: 2_500 }, (_, i) => user(`${i}`))], {
      push: async ({ messageId, userIds }) => {
        sizes.push(userIds.length)
        if (sizes.length === 2) throw new GatewayError('ledger-unavailable')
        return { messageId, users: userIds.map(userId => ({ userId, status: 'queued' })) }
      },
    })
    t.ok(sizes.every(size => size <= 1_000), `${sizes}`)
    const { totals } = answered.at(-1)
    t.strictSame(totals, { lines: 2_500, queued: 2_500 - sizes[1]!, rejected: sizes[1]! })
    t.equal(answered.filter(({ code }) => code === 'ledger-unavailable').length, sizes[1])
  })

  t.test('is refused as a whole where its first line is no message', async t => {
    const wrong: ReadonlyArray<readonly [string, number, RegExp]> = [
      ['', 400, /want a line with the message/],
      ['{', 400, /line 1: want JSON/],
      ['{"messageId":"m1"}', 400, /line 1: want "payload"/],
      ['{"payload":"hi","to":{"userIds":["ann"]}}', 400, /line 1: there is no field "to"/],
      ['{"payload":{"base64":"AP8"}}', 400, /base64/],
      ['{"payload":"hi","answers":"none"}', 400, /want "all" or "failed"/],
      [`{"payload":"${'a'.repeat(1_100)}"}`, 413, /bytes, and 1024/],
      [`{"payload":"${'a'.repeat(1_100_000)}"}`, 400, /line 1: want at most 1048576 bytes/],
    ]
    for (const [first, status, message] of wrong) {
      const { response, asked } = await answerTo(t, first === '' ? [] : [first, user('ann')])
      t.match(response.json(), { statusCode: status, message }, first.slice(0, 60))
      t.strictSame(asked.commands, [])
    }
    const { app } = givenApp(t)
    const empty = await app.inject({ method: 'POST', url, headers })
    t.match(empty.json(), { statusCode: 400, code: 'bad-request' })
  })

  t.test('is taken at this path alone', async t => {
    const { app } = givenApp(t)
    const response = await app.inject({ method: 'POST', url: '/v1/presence', headers, payload: user('ann') })
    t.match(response.json(), { statusCode: 415 })
    const other = await app.inject({ method: 'POST', url, headers: { ...key, 'content-type': 'text/plain' }, payload: 'x' })
    t.match(other.json(), { statusCode: 415, message: 'got content-type: text/plain, want application/json or application/x-ndjson' })
  })

  t.test('wants a key as any other', async t => {
    const { app } = givenApp(t)
    const response = await app.inject({ method: 'POST', url, headers: { 'content-type': 'application/x-ndjson' }, payload: Readable.from(['{']) })
    t.equal(response.statusCode, 401)
  })
})

t.test('A downlink request in lines over a socket', async t => {
  t.test('is answered while it comes, and may take longer than another request', async t => {
    const { url } = await listening(t, { socketLimits: { requestMs: 1_500 } })
    const { request, answered, progress, done } = beginLines(url, apiKey)
    request.write('{"payload":"hi"}\n')
    await until(() => answered.length === 1)
    request.write(`${user('ann')}\n`)
    await until(() => answered.length === 2)
    await new Promise(resolve => setTimeout(resolve, 3_500)) // twice the time that a whole body has
    request.end(user('bob'))
    const { status } = await done
    t.equal(status, 202)
    t.match(answered, [{ messageId: String }, { userId: 'ann' }, { userId: 'bob' }, { totals: { lines: 2 } }])
    t.strictSame(progress.at(-1), { lines: 2, queued: 2 }, 'and how far it is, once a second')
  })

  t.test('is not read further than it is dealt with', async t => {
    let release = () => {}
    const held = new Promise<void>(resolve => { release = resolve })
    let pushed = 0
    const { app, url } = await listening(t, {
      push: async ({ messageId, userIds }) => {
        pushed++
        await held
        return { messageId, users: userIds.map(userId => ({ userId, status: 'queued' })) }
      },
    })
    let read = () => 0
    app.server.on('connection', socket => { read = () => socket.bytesRead })
    const { request, done } = beginLines(url, apiKey)
    request.write(`{"payload":"hi"}\n${user('ann')}\n`)
    await until(() => pushed === 1)
    const lines = 1_000
    for (let i = 0; i < lines; i++) request.write(`${'x'.repeat(32 << 10)}\n`)
    request.end()
    await new Promise(resolve => setTimeout(resolve, 300)) // in which it would have come
    t.ok(read() < 4 << 20, `${read()} of ${lines * 32} KiB were read`)
    release()
    const { answered } = await done
    t.match(answered.at(-1), { totals: { lines: lines + 1, queued: 1, rejected: lines } })
  })

  t.test('whose client sends nothing any more is told, and its connection ends', async t => {
    const { url } = await listening(t, { lineMs: 300, socketLimits: { requestMs: 1_000 } })
    const { request, answered, done } = beginLines(url, apiKey)
    let closed = false
    request.on('error', () => {}).once('socket', socket => { socket.once('close', () => { closed = true }) })
    request.write(`{"payload":"hi"}\n${user('ann')}\n`)
    await done
    t.match(answered.at(-1), {
      totals: { lines: 1, queued: 1 }, error: { code: 'bad-request', message: 'body: no line came for 300 ms' },
    })
    await until(() => closed)
  })

  t.test('that is refused is told so, however much of it still comes', async t => {
    const { url } = await listening(t)
    const { status } = await sendLines(url, apiKey, ['{', ...Array.from({ length: 10_000 }, (_, i) => user(`${i}`))])
    t.equal(status, 400)
  })

  t.test('is told where the node stops, with what was stored until then', async t => {
    const { app, url } = await listening(t)
    const { request, answered, done } = beginLines(url, apiKey)
    request.on('error', () => {})
    request.write(`{"payload":"hi"}\n${user('ann')}\n`)
    await until(() => answered.length === 2)
    const closing = app.close()
    await done
    t.match(answered.at(-1), { totals: { lines: 1, queued: 1 }, error: { code: 'not-ready' } })
    request.destroy()
    await closing
  })

  t.test('is one of sixteen at most', async t => {
    const { url } = await listening(t)
    const open = Array.from({ length: 16 }, () => beginLines(url, apiKey))
    for (const { request } of open) request.write('{"payload":"hi"}\n')
    await until(() => open.every(({ answered }) => answered.length === 1))
    const { status } = await sendLines(url, apiKey, ['{"payload":"hi"}', user('ann')])
    t.equal(status, 503)
    for (const { request } of open) request.end()
    await Promise.all(open.map(({ done }) => done))
    t.equal((await sendLines(url, apiKey, ['{"payload":"hi"}', user('ann')])).status, 202)
  })
})

t.test('A downlink request in lines goes at the pace of the quota of its key, and is not refused', async t => {
  const { key: secret, stored } = drawn({ recipientsPerSecond: 40 })
  const apiKeys = new ApiKeys([])
  apiKeys.replace({ keys: [stored] })
  const sizes: number[] = []
  const { app } = givenApp(t, {
    apiKeys,
    push: async ({ messageId, userIds }) => {
      sizes.push(userIds.length)
      return { messageId, users: userIds.map(userId => ({ userId, status: 'queued' })) }
    },
  })
  const payload = ['{"payload":"hi"}', ...Array.from({ length: 65 }, (_, i) => user(`${i}`))].join('\n')
  const response = await app.inject({ method: 'POST', url, headers: { ...headers, authorization: `Bearer ${secret}` }, payload })
  t.match(JSON.parse(response.body.trim().split('\n').at(-1)!), { totals: { queued: 65 } })
  t.ok(sizes.every(size => size <= 10), 'a quarter of a second\'s worth at once, so that others of the app come between')
})
