import t from 'tap'
import { GatewayError, errors, errorsMarkdown, isErrorCode, type ErrorCode } from '../../schemas/errors.js'

const closeCodes: Partial<Record<ErrorCode, number>> = {
  'heartbeat-timeout': 4000,
  'slow-consumer': 4001,
  migrating: 4002,
  redirected: 4003,
  'handshake-timeout': 4004,
  'rate-limited': 4005,
  internal: 4006,
  'token-expired': 4007,
  'token-early': 4008,
  'key-set-unavailable': 4009,
  'ledger-unavailable': 4010,
  'auth-unavailable': 4011,
  'bad-frame': 4500,
  'bad-token': 4501,
  protocol: 4502,
  kicked: 4503,
  banned: 4504,
  superseded: 4505,
}

t.test('the table', async t => {
  t.test('has the close codes of protocol.md 4 and no others', async t => {
    const closing = Object.entries(errors).filter(([, { close }]) => close !== null)
    t.strictSame(Object.fromEntries(closing.map(([code, { close }]) => [code, close])), closeCodes)
  })
  t.test('lets clients come back after 4000 to 4499 alone', async t => {
    for (const { close, retry } of Object.values(errors)) if (close !== null) t.equal(retry, close < 4500)
  })
  t.test('says what each code means in one sentence', async t => {
    for (const { meaning } of Object.values(errors)) t.match(meaning, /^[A-Z][^.]*\.$/)
  })
})

t.test('GatewayError', async t => {
  t.test('carries its code, its cause, and what the table says of it', async t => {
    const cause = new Error('disk full')
    const err = new GatewayError('internal', 'snapshot lost', { cause })
    t.match(err, { name: 'GatewayError', code: 'internal', message: 'snapshot lost', closeCode: 4006, statusCode: 500 })
    t.equal(err.cause, cause)
  })
  t.test('says what its code means when it is given no message', async t => {
    t.equal(new GatewayError('ttl').message, errors.ttl.meaning)
    t.equal(new GatewayError('ttl').statusCode, null)
  })
})

t.test('isErrorCode knows our codes from others and from what every object has', async t => {
  t.ok(isErrorCode('gap'))
  t.notOk(isErrorCode('new-in-version-2'))
  t.notOk(isErrorCode('constructor'))
})

t.test('errorsMarkdown has a row for each code', async t => {
  const lines = errorsMarkdown().split('\n')
  t.equal(lines[0], '| Code | Close | HTTP | Retry | Meaning |')
  t.ok(lines.includes('| `banned` | 4504 |  | no | An operator or a business service banned this user, device or token. |'))
  t.equal(lines.length, Object.keys(errors).length + 3)
})
