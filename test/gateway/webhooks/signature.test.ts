import t from 'tap'
import { Webhook as Verifier } from 'standardwebhooks'
import { retryAfterMs } from '../../../gateway/webhooks/retry-after.js'
import { batchId, recordId, signed } from '../../../gateway/webhooks/signature.js'

const [one, two] = ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD']
const keys = [one, two].map(text => Buffer.from(text.slice(6), 'base64'))

t.test('A signature', async t => {
  t.test('is the one of the specification\'s own example', async t => {
    const headers = signed('msg_p5jXN8AQM9LWM0D4loKWxJek', '{"test": 2432232314}', keys.slice(0, 1), 1614265330_999)
    t.strictSame(headers, {
      'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      'webhook-timestamp': '1614265330',
      'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    })
  })

  t.test('of several secrets is good for whoever has one of them', async t => {
    const body = '{"userId":"žofie"}'
    const headers = { ...signed('msg_1', body, keys, Date.now()) }
    for (const secret of [one, two]) t.strictSame(new Verifier(secret).verify(body, headers), { userId: 'žofie' })
    const other = new Verifier('whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA')
    t.throws(() => other.verify(body, headers), { message: 'No matching signature found' })
    t.throws(() => new Verifier(one).verify(`${body} `, headers), { message: 'No matching signature found' })
  })
})

t.test('An id in a request', async t => {
  t.test('is the same for each copy of a record, another one for each record, and may stand in a header', async t => {
    t.equal(recordId('uplinks', 'ann/1'), recordId('uplinks', 'ann/1'))
    t.not(recordId('uplinks', 'ann/1'), recordId('uplinks', 'ann/2'))
    t.not(recordId('uplinks', 'ann/1'), recordId('posts', 'ann/1'))
    for (const id of [recordId('uplinks', 'shop\u001fžofie.\n/1'), batchId(['a', 'b'])]) t.match(id, /^(msg|batch)_[\w-]{27}$/)
    t.not(batchId(['a', 'b']), batchId(['b', 'a']))
  })
})

t.test('The header retry-after', async t => {
  const nowMs = Date.UTC(2026, 0, 1)
  for (const [header, ms] of [
    [undefined, undefined], ['soon', undefined], ['0', 0], ['7', 7_000], [' 7 ', 7_000], ['999999', 3_600_000],
    ['Thu, 01 Jan 2026 00:00:09 GMT', 9_000], ['Thu, 01 Jan 2025 00:00:09 GMT', 0],
    ['Fri, 01 Jan 2027 00:00:09 GMT', 3_600_000],
  ] as const) t.equal(retryAfterMs(header, nowMs), ms, `${header}`)
})
