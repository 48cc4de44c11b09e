import t from 'tap'
import { readConfig } from '../../gateway/read-config.js'
import { originPattern, originRule } from '../../gateway/origins.js'

const given = (origin: string | undefined, host = 'gateway.example.com', scheme?: 'http' | 'https') => ({ origin, host, scheme })

t.test('Without a list', async t => {
  const isAllowed = originRule(undefined)

  t.test('a request without an origin passes', async t => { t.ok(isAllowed(given(undefined))) })

  for (const origin of [
    'http://localhost', 'http://localhost:5173', 'https://localhost', 'http://app.localhost:3000', 'http://127.0.0.1:8080',
    'http://127.8.9.1', 'http://[::1]:3000', 'capacitor://localhost',
  ]) {
    t.test(`a page of ${origin} passes`, async t => { t.ok(isAllowed(given(origin))) })
  }

  for (const origin of [
    'http://example.com', 'https://localhost.example.com', 'http://127.0.0.1.example.com', 'http://evil.com', 'null', '', ' ',
    'http://localhost, http://evil.com', 'http://evil.com http://localhost', 'http://localhost/', 'http://evil.com/@localhost',
    'http://evil.com?.localhost', 'http://evil.com#.localhost', 'http://evil.com\\.localhost', 'http://a@localhost', 'localhost',
    'http://', 'http://[::2]', 'http://128.0.0.1', 'http://%6cocalhost.', 'file://', '*',
  ]) {
    t.test(`one of ${JSON.stringify(origin)} does not`, async t => { t.notOk(isAllowed(given(origin))) })
  }

  const own: Array<[string, string, 'http' | 'https' | undefined, boolean]> = [
    ['http://gateway.example.com', 'gateway.example.com', undefined, true],
    ['https://gateway.example.com', 'gateway.example.com', undefined, true],
    ['https://gateway.example.com', 'Gateway.Example.com:443', 'https', true],
    ['https://gateway.example.com', 'gateway.example.com:443', undefined, true],
    ['http://gateway.example.com:8080', 'gateway.example.com:8080', undefined, true],
    ['https://gateway.example.com:8443', 'gateway.example.com:8443', 'https', true],
    ['http://[2001:db8::1]:8080', '[2001:db8::1]:8080', undefined, true],
    ['http://gateway.example.com', 'gateway.example.com', 'https', false],
    ['http://gateway.example.com', 'gateway.example.com', 'http', true],
    ['https://gateway.example.com', 'gateway.example.com', 'http', false],
    ['http://gateway.example.com', 'gateway.example.com:8080', undefined, false],
    ['http://gateway.example.com:8080', 'gateway.example.com', undefined, false],
    ['http://other.example.com', 'gateway.example.com', undefined, false],
    ['http://gateway.example.com', '', undefined, false],
    ['http://gateway.example.com', 'a@gateway.example.com', undefined, false],
    ['http://gateway.example.com', 'gateway.example.com/', undefined, false],
  ]
  for (const [origin, host, scheme, passes] of own) {
    t.test(`${origin} is ${passes ? '' : 'not '}that of ${host}${scheme ? ` over ${scheme}` : ''}`, async t => {
      t.equal(isAllowed(given(origin, host, scheme)), passes)
    })
  }

  t.test('the public URL counts as the own one, whatever a proxy makes of the host', async t => {
    const isAllowed = originRule(undefined, 'wss://gateway.example.com/v1/connect')
    t.ok(isAllowed(given('https://gateway.example.com', '10.0.0.7:8080')))
    t.notOk(isAllowed(given('http://gateway.example.com', '10.0.0.7:8080')))
    t.notOk(isAllowed(given('https://gateway.example.com:8443', '10.0.0.7:8080')))
  })
})

t.test('With a list', async t => {
  const patterns = ['https://app.example.com', 'https://*.example.org', 'http://*.example.net:8080', 'capacitor://app']
  const isAllowed = originRule(patterns)
  const rows: Array<[string | undefined, boolean]> = [
    [undefined, true],
    ['https://app.example.com', true],
    ['http://app.example.com', false],
    ['https://app.example.com:8443', false],
    ['https://www.app.example.com', false],
    ['https://app.example.com.evil.com', false],
    ['https://a.example.org', true],
    ['https://a.b.example.org', true],
    ['https://example.org', false],
    ['https://.example.org', false],
    ['https://evilexample.org', false],
    ['http://a.example.org', false],
    ['https://a.example.org:8443', false],
    ['https://evil.com/.example.org', false],
    ['https://evil.com@a.example.org', false],
    ['http://a.example.net:8080', true],
    ['http://a.example.net', false],
    ['capacitor://app', true],
    ['null', false],
    ['http://localhost:5173', false],
    ['https://gateway.example.com', true],
  ]
  for (const [origin, passes] of rows) {
    t.test(`${origin} ${passes ? 'passes' : 'does not pass'}`, async t => { t.equal(isAllowed(given(origin)), passes) })
  }

  t.test('of *, every page passes, but nothing that is no origin', async t => {
    const isAllowed = originRule(['*'])
    for (const origin of ['http://evil.com', 'null', 'https://a.example.org:1', undefined]) t.ok(isAllowed(given(origin)))
    for (const origin of ['', 'a, b', 'http://a.com, http://b.com', 'http://a.com/']) t.notOk(isAllowed(given(origin)), origin)
  })
})

t.test('A pattern', async t => {
  t.test('is taken as browsers write it', async t => {
    t.strictSame(['*', 'HTTPS://App.Example.com:443', 'http://a.com:80', 'https://bücher.example', 'https://*.A.example:8443',
      'http://[2001:DB8::1]:8080', 'chrome-extension://abcdef'].map(originPattern), ['*', 'https://app.example.com',
      'http://a.com', 'https://xn--bcher-kva.example', 'https://*.a.example:8443', 'http://[2001:db8::1]:8080',
      'chrome-extension://abcdef'])
  })

  for (const wrong of [
    'app.example.com', 'https://app.example.com/', 'https://app.example.com/x', 'https://a.com?b', 'wss://app.example.com', 'null',
    'https://*', 'https://*.com', 'https://*.10.0.0.1', 'https://*.[::1]', 'https://a.*.com', 'https://*a.example.com', '**',
    'https://a:99999', 'https://user@a.com', 'https://a b.com',
  ]) {
    t.test(`is not ${wrong}`, async t => {
      t.equal(originPattern(wrong), undefined)
      t.throws(() => readConfig({ LEDGERLINE_ALLOWED_ORIGINS: `https://a.com, ${wrong}` }),
        { message: /^LEDGERLINE_ALLOWED_ORIGINS \(--allowed-origins\): got ".*", want .*https:\/\/\*\.example\.com/ })
    })
  }

  t.test('is one of a list', async t => {
    t.strictSame(readConfig({ LEDGERLINE_ALLOWED_ORIGINS: ' https://a.com , HTTP://b.com:80' }).allowedOrigins,
      ['https://a.com', 'http://b.com'])
    t.equal(readConfig({}).allowedOrigins, undefined)
  })
})
