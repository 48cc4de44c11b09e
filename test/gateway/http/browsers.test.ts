import { request } from 'node:https'
import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import type { IncomingMessage } from 'node:http'
import type { Test } from 'tap'
import { GatewayError } from '../../../schemas/errors.js'
import { makeCertificates, opensslMissing } from '../../cluster/certificates.js'
import { refusedUpgrade } from '../edge/raw-websocket.js'
import { startTestNode, until } from '../node.js'
import { givenApp, key } from './given.js'

const app = 'https://app.example.com'
const evil = 'https://evil.example'

const safe = { 'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer', 'cache-control': 'no-store' }

/** Every header that has to do with CORS. */
function corsOf (headers: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => /^access-control-|^vary$/.test(name)))
}

const readable = { vary: 'origin', 'access-control-allow-origin': app, 'access-control-expose-headers': 'retry-after' }

t.test('An answer of ip-config', async t => {
  t.test('can be read by a page of an allowed origin, and by no other', async t => {
    const { app: server } = givenApp(t)
    const ask = async (origin?: string) => {
      const response = await server.inject({ url: '/v1/ip-config', headers: origin === undefined ? {} : { origin } })
      t.equal(response.statusCode, 200)
      return corsOf(response.headers)
    }
    t.strictSame(await ask(app), readable)
    for (const origin of [evil, 'null', 'a, b', `${app}, ${app}`, '*']) t.strictSame(await ask(origin), { vary: 'origin' }, origin)
    t.strictSame(await ask(), { vary: 'origin' }, 'a cache must not give it to others')
  })

  t.test('can be read where it is an error, and says when to come back', async t => {
    const headers = { origin: app }
    const { app: broken } = givenApp(t, { ipConfig: async () => { throw new GatewayError('not-ready', 'no list') } })
    const away = await broken.inject({ url: '/v1/ip-config', headers })
    t.match([away.statusCode, corsOf(away.headers), away.headers['retry-after']], [503, readable, '1'])
    const wrong = await broken.inject({ url: '/v1/ip-config?transport=udp', headers })
    t.match([wrong.statusCode, corsOf(wrong.headers)], [400, readable])
    const { app: elsewhere } = givenApp(t, { roles: ['push'] })
    const lacking = await elsewhere.inject({ url: '/v1/ip-config', headers })
    t.match([lacking.statusCode, corsOf(lacking.headers)], [404, readable])
  })

  t.test('never speaks of credentials', async t => {
    const { app: server } = givenApp(t, { isAllowedOrigin: () => true })
    for (const method of ['GET', 'OPTIONS'] as const) {
      const { headers } = await server.inject({ method, url: '/v1/ip-config', headers: { origin: evil, cookie: 'a=b' } })
      t.equal(headers['access-control-allow-origin'], evil)
      t.equal(headers['access-control-allow-credentials'], undefined)
    }
  })
})

t.test('A preflight', async t => {
  const asks = { 'access-control-request-method': 'GET', 'access-control-request-headers': 'traceparent' }

  for (const url of ['/v1/ip-config', '/v1/ip-config?transport=ws&region=north', '/v1/ip-config?x=y', '/v1/connect']) {
    t.test(`of ${url} is answered to an allowed origin, and to no other`, async t => {
      const { app: server } = givenApp(t)
      const good = await server.inject({ method: 'OPTIONS', url, headers: { origin: app, ...asks } })
      t.equal(good.statusCode, 204)
      t.equal(good.body, '')
      t.strictSame(corsOf(good.headers), {
        ...readable,
        'access-control-allow-methods': 'GET',
        'access-control-allow-headers': '*',
        'access-control-max-age': '600',
      })
      const bad = await server.inject({ method: 'OPTIONS', url, headers: { origin: evil, ...asks } })
      t.match([bad.statusCode, bad.json(), corsOf(bad.headers)], [403, { statusCode: 403, code: 'bad-origin' }, { vary: 'origin' }])
    })
  }

  t.test('of any other route gets nothing that a browser would take', async t => {
    const { app: server } = givenApp(t, { roles: ['push', 'ip-config', 'projections'] })
    for (const [url, status] of [
      ['/v1/downlinks', 405], ['/v1/nodes', 405], ['/healthz', 405], ['/openapi.json', 405], ['/v1/users/ann/presence', 405],
      ['/nothing', 404], ['*', 404],
    ] as const) {
      const { statusCode, headers } = await server.inject({ method: 'OPTIONS', url, headers: { origin: app, ...asks, ...key } })
      t.equal(statusCode, status, url)
      t.strictSame(corsOf(headers), {}, url)
    }
  })

  t.test('stands in no documentation', async t => {
    const { app: server } = givenApp(t)
    const { paths } = (await server.inject('/openapi.json')).json()
    t.strictSame(Object.keys(paths['/v1/ip-config']), ['get'])
  })
})

t.test('An answer of any other route is for no page to read', async t => {
  const { app: server } = givenApp(t, { roles: ['push', 'ip-config', 'projections'], isAllowedOrigin: () => true })
  for (const url of ['/v1/nodes', '/healthz', '/readyz', '/openapi.json', '/metrics', '/v1/users/ann/presence', '/nothing']) {
    for (const headers of [{ origin: app }, { origin: app, ...key }]) {
      t.strictSame(corsOf((await server.inject({ url, headers })).headers), {}, url)
    }
  }
})

t.test('Every answer says how browsers are to take it', async t => {
  t.test('whatever it answers', async t => {
    const { app: server } = givenApp(t, { roles: ['push', 'ip-config', 'projections'] })
    for (const [method, url] of [
      ['GET', '/v1/ip-config'], ['GET', '/healthz'], ['GET', '/openapi.json'], ['GET', '/metrics'], ['GET', '/v1/nodes'],
      ['GET', '/v1/uplinks'], ['GET', '/v1/users/ann/presence'], ['GET', '/v1/users/ann/trace?messageId=m'],
      ['GET', '/v1/log/ledger/0'], ['GET', '/v1/connections'], ['POST', '/v1/downlinks'], ['GET', '/nothing'],
      ['GET', '/v1/users/%zz/presence'], ['PUT', '/healthz'], ['OPTIONS', '/v1/ip-config'], ['HEAD', '/healthz'],
    ] as const) {
      const { headers, statusCode } = await server.inject({ method, url, headers: key })
      t.match(headers, safe, `${method} ${url}: ${statusCode}`)
      t.equal(headers['strict-transport-security'], undefined, url)
    }
    t.match((await server.inject('/v1/nodes')).headers, safe, 'without an API key')
  })

  t.test('also where the request can not be read', async t => {
    const { app: server } = givenApp(t)
    await server.listen({ port: 0, host: '127.0.0.1' })
    const { port } = server.server.address() as { port: number }
    for (const text of ['what is this\r\n\r\n', 'CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n', 'GET /healthz HTTP/1.0\r\n\r\n']) {
      const socket = connect(port, '127.0.0.1')
      t.teardown(() => socket.destroy())
      let received = ''
      socket.setEncoding('utf8').on('data', chunk => { received += chunk })
      socket.write(text)
      await once(socket, 'close')
      for (const [name, value] of Object.entries(safe)) {
        t.match(received.toLowerCase(), `\r\n${name}: ${value}\r\n`, text)
      }
    }
  })

  t.test('and of a node with TLS that there is no other way, but not where it is this machine\'s', { skip: opensslMissing() ?? false }, async t => {
    const { server } = await makeCertificates(t)
    const node = await startTestNode(t, { LEDGERLINE_TLS_CERT: server.cert, LEDGERLINE_TLS_KEY: server.key })
    const answerTo = async (host: string) => await new Promise<IncomingMessage>((resolve, reject) => {
      const options = { ca: node.ca!, servername: 'localhost', agent: false as const, headers: { host } }
      request(`${node.http}/healthz`, options, response => {
        response.resume()
        resolve(response)
      }).on('error', reject).end()
    })
    t.equal((await answerTo('gateway.example.com')).headers['strict-transport-security'], 'max-age=15552000')
    t.equal((await answerTo('localhost:8080')).headers['strict-transport-security'], undefined)
  })
})

/** What the upgrade gets from a page of each origin: undefined where it is a WebSocket. */
async function statuses (t: Test, environment: Record<string, string>, origins: string[]) {
  const node = await startTestNode(t, environment)
  const found: Array<number | undefined> = []
  for (const origin of origins) found.push((await refusedUpgrade(node, { origin }))?.status)
  return { node, found }
}

t.test('A WebSocket', async t => {
  t.test('is opened by pages of this machine and of the gateway by default, and refused to others before it is one', async t => {
    const { node, found } = await statuses(t, {}, ['http://localhost:5173', 'http://127.0.0.1:1', evil, 'null', 'http://x.evil'])
    t.strictSame(found, [undefined, undefined, 403, 403, 403])
    t.equal((await refusedUpgrade(node, { origin: 'http://gateway.test', host: 'gateway.test' }))?.status, undefined)
    const refused = await refusedUpgrade(node, { origin: evil })
    t.match(refused, {
      status: 403,
      headers: { ...safe, vary: 'origin', connection: 'close' },
      body: { statusCode: 403, code: 'bad-origin', error: 'Forbidden', message: /evil\.example.*LEDGERLINE_ALLOWED_ORIGINS/ },
    })
    t.equal(refused!.headers['access-control-allow-origin'], undefined)
    t.match((await node.request('GET', '/metrics')).text, /^ledgerline_sockets_refused_total{code="bad-origin"} 4$/m, 'each is counted')
    await until('nobody is there', async () => /^ledgerline_connections 0$/m.test((await node.request('GET', '/metrics')).text))
    t.strictSame(node.logged, [])
  })

  t.test('is opened by those of a list', async t => {
    const { found } = await statuses(t, { LEDGERLINE_ALLOWED_ORIGINS: `${app},https://*.example.org` },
      [app, 'https://a.example.org', 'https://example.org', 'http://localhost:5173', evil])
    t.strictSame(found, [undefined, undefined, 403, 403, 403])
  })

  t.test('is opened by all where they are all allowed', async t => {
    const { found } = await statuses(t, { LEDGERLINE_ALLOWED_ORIGINS: '*' }, [evil, 'null', 'http://localhost'])
    t.strictSame(found, [undefined, undefined, undefined])
  })

  t.test('is opened by the gateway\'s own pages alone that came as its proxy says they did', async t => {
    const { node } = await statuses(t, { LEDGERLINE_TRUSTED_PROXIES: '127.0.0.1' }, [])
    const ask = async (scheme: string, headers: Record<string, string>) =>
      (await refusedUpgrade(node, { host: 'gateway.test', origin: `${scheme}://gateway.test`, ...headers }))?.status
    const https: Array<Record<string, string>> = [{ 'x-forwarded-proto': 'https' }, { 'x-forwarded-for': '192.0.2.1', 'x-forwarded-proto': 'https' },
      { forwarded: 'for=192.0.2.1;proto=https' }]
    for (const headers of https) t.strictSame([await ask('https', headers), await ask('http', headers)], [undefined, 403])
    t.strictSame([await ask('https', {}), await ask('http', {})], [undefined, undefined], 'where it does not say so both are')
  })

  t.test('that is refused for another reason says so to a page that may know', async t => {
    const { node } = await statuses(t, {}, [])
    const origin = 'http://localhost:5173'
    const refused = await refusedUpgrade(node, { origin, 'sec-websocket-protocol': 'mqtt' })
    t.match(refused, { status: 400, headers: { 'access-control-allow-origin': origin } })
  })
})
