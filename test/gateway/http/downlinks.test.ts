import t from 'tap'
import { GatewayError } from '../../../schemas/errors.js'
import { givenApp, key } from './given.js'

const url = '/v1/downlinks'
const least = { to: { userIds: ['ann'] }, payload: 'hi' }
const request = (payload: unknown) => ({ method: 'POST' as const, url, headers: key, payload: payload as object })

t.test('A downlink request', async t => {
  t.test('has the defaults of protocol.md 5', async t => {
    const { app, asked } = givenApp(t)
    const response = await app.inject(request(least))
    t.equal(response.statusCode, 202)
    const [command] = asked.commands
    t.match(command?.messageId, /^[0-9a-f-]{36}$/)
    t.strictSame(command, {
      messageId: command?.messageId,
      userIds: ['ann'],
      service: '',
      payload: Buffer.from('hi'),
      ttlMs: 604_800_000,
      delivery: 'durable',
      platforms: [],
      exceptDevices: [],
      devices: [],
      app: '',
      receipts: true,
      offlineAfterMs: -1,
      replaces: '',
    })
  })

  t.test('is handed on as it is', async t => {
    const { app, asked } = givenApp(t)
    const body = {
      to: { userIds: ['b', 'a'] },
      messageId: 'm1',
      service: 'chat',
      payload: { base64: 'AP8=' },
      ttlMs: 1,
      delivery: 'durable',
      platforms: ['ios'],
      exceptDevices: ['tablet'],
      devices: ['phone', 'tablet'],
      receipts: false,
      offlineAfterMs: 5_000,
      replaces: 'm0',
    }
    t.equal((await app.inject(request(body))).statusCode, 202)
    const { to, ...rest } = body
    t.strictSame(asked.commands, [{ ...rest, app: '', userIds: ['b', 'a'], payload: Buffer.from([0, 255]) }])
  })

  t.test('is answered for each user', async t => {
    const { app } = givenApp(t)
    const response = await app.inject(request({ ...least, messageId: 'm1', to: { userIds: ['ann', 'banned'] } }))
    t.strictSame(response.json(), {
      messageId: 'm1',
      users: [
        { userId: 'ann', status: 'queued', position: '3@1021.4' },
        { userId: 'banned', status: 'rejected', code: 'banned' },
      ],
    })
  })

  t.test('may name a thousand users', async t => {
    const { app } = givenApp(t)
    const userIds = Array.from({ length: 1000 }, (_, i) => `${i}`.padEnd(256, 'u'))
    t.equal((await app.inject(request({ ...least, to: { userIds } }))).statusCode, 202)
  })

  t.test('is refused with ledger-unavailable when nothing could be stored', async t => {
    const { app } = givenApp(t, { push: async () => { throw new GatewayError('ledger-unavailable') } })
    t.match((await app.inject(request(least))).json(), { statusCode: 503, code: 'ledger-unavailable' })
  })

  const shapes: Record<string, unknown> = {
    'no body': undefined,
    'an array': [least],
    'a string': JSON.stringify('hi'),
    null: 'null',
    'no recipient': { payload: 'hi' },
    'no payload': { to: least.to },
    'an unknown field': { ...least, ttl: 5 },
    'an unknown field in to': { ...least, to: { userIds: ['ann'], groupIds: ['all'] } },
    'no users': { ...least, to: { userIds: [] } },
    'a user twice': { ...least, to: { userIds: ['ann', 'ann'] } },
    'an empty user id': { ...least, to: { userIds: [''] } },
    'a user id of 257 characters': { ...least, to: { userIds: ['a'.repeat(257)] } },
    'a user id that is half a character': { ...least, to: { userIds: ['\ud800'] } },
    'a user id that is a number': { ...least, to: { userIds: [7] } },
    'a thousand and one users': { ...least, to: { userIds: Array.from({ length: 1001 }, (_, i) => `${i}`) } },
    'an empty messageId': { ...least, messageId: '' },
    'a messageId of 257 characters': { ...least, messageId: 'm'.repeat(257) },
    'a messageId that is a number': { ...least, messageId: 7 },
    'a service that is null': { ...least, service: null },
    'a service of 257 characters': { ...least, service: 's'.repeat(257) },
    'a payload that is a number': { ...least, payload: 7 },
    'a payload that is half a character': { ...least, payload: 'hi \udc00' },
    'a payload of another encoding': { ...least, payload: { hex: '00' } },
    'a payload of broken base64': { ...least, payload: { base64: 'AP8' } },
    'a payload of base64 with blanks': { ...least, payload: { base64: 'AP 8=' } },
    'ttlMs 0': { ...least, ttlMs: 0 },
    'ttlMs above 30 days': { ...least, ttlMs: 30 * 86_400_000 + 1 },
    'ttlMs that is a fraction': { ...least, ttlMs: 1.5 },
    'ttlMs that is a string': { ...least, ttlMs: '1000' },
    'an unknown delivery': { ...least, delivery: 'maybe' },
    'platforms that are a string': { ...least, platforms: 'ios' },
    'too many platforms': { ...least, platforms: Array.from({ length: 101 }, (_, i) => `${i}`) },
    'an offlineAfterMs of more than a day': { ...least, offlineAfterMs: 86_400_001 },
    'an empty device': { ...least, exceptDevices: [''] },
    'an empty device among those it is for': { ...least, devices: [''] },
  }
  for (const [name, body] of Object.entries(shapes)) {
    t.test(`with ${name} is refused with bad-request`, async t => {
      const { app, asked } = givenApp(t)
      const headers = { ...key, 'content-type': 'application/json' }
      const payload = typeof body === 'string' ? body : JSON.stringify(body)
      const response = await app.inject({ method: 'POST', url, headers, ...payload === undefined ? {} : { payload } })
      t.match(response.json(), { statusCode: 400, code: 'bad-request', error: 'Bad Request', message: String })
      t.equal(response.statusCode, 400)
      t.strictSame(asked.commands, [])
    })
  }

  for (const payload of ['', '{', '{"to":', '[1,]', '{"__proto__":{"a":1}}', '\ufeff\u0000']) {
    t.test(`of ${JSON.stringify(payload)} is refused with bad-request`, async t => {
      const { app } = givenApp(t)
      const headers = { ...key, 'content-type': 'application/json' }
      const response = await app.inject({ method: 'POST', url, headers, payload })
      t.match(response.json(), { statusCode: 400, code: 'bad-request' })
    })
  }

  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'nonsense']) {
    t.test(`of type ${type} is refused as an unsupported media type`, async t => {
      const { app } = givenApp(t)
      const headers = { ...key, 'content-type': type }
      const response = await app.inject({ method: 'POST', url, headers, payload: JSON.stringify(least) })
      t.match(response.json(), { statusCode: 415, error: 'Unsupported Media Type', message: String })
    })
  }

  t.test('above 1 MiB is refused with payload-too-large', async t => {
    const { app } = givenApp(t)
    const response = await app.inject(request({ ...least, payload: 'a'.repeat(1_048_576) }))
    t.match(response.json(), { statusCode: 413, code: 'payload-too-large' })
  })

  t.test('is refused with payload-too-large when its frame would not fit', async t => {
    const { app } = givenApp(t)
    const overhead = 1 + 20 + 15 + 'm1'.length
    const exact = { ...least, messageId: 'm1', payload: 'a'.repeat(1024 - overhead) }
    t.equal((await app.inject(request(exact))).statusCode, 202)
    const more = await app.inject(request({ ...exact, payload: `${exact.payload}a` }))
    t.match(more.json(), { statusCode: 413, code: 'payload-too-large', message: /1025 bytes, and 1024/ })
    const wider = await app.inject(request({ ...exact, payload: exact.payload.replace('a', 'ü') }))
    t.equal(wider.statusCode, 413)
  })
})
