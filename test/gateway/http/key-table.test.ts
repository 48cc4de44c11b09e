import { request as requestPlain } from 'node:http'
import { request as requestTls } from 'node:https'
import t, { type Test } from 'tap'
import { scopes } from '../../../gateway/keys/scopes.js'
import { makeCertificates, opensslMissing } from '../../cluster/certificates.js'
import { drawn, givenKeyFile } from '../keys/given.js'
import { signedToken, startTestNode, type TestNode } from '../node.js'

/* Who may ask over HTTP, on every listener: whatever may be shown in place of a good key. */

const good = 'the-key-of-a-test-node'
const reader = drawn({ name: 'reader', scopes: ['read'] })
const revoked = drawn({ name: 'revoked', scopes, revokedAt: '2026-01-02T00:00:00Z' })
const expired = drawn({ name: 'expired', scopes, expiresAt: '2026-01-02T00:00:00Z' })
const twice = drawn({ name: 'in two files', scopes })
const shop = drawn({ name: 'of the shop', scopes })
const bank = drawn({ name: 'of the bank', scopes })
const unknown = drawn({ scopes })

const bearer = (key: string) => ({ authorization: `Bearer ${key}` })
const one = '/v1/users/ann/presence'

interface Asked {
  readonly method?: string
  readonly path?: string
  readonly headers: Record<string, string>
}

async function table (): Promise<Array<[what: string, status: number, code: string, asked: Asked]>> {
  return [
    ['nothing', 401, 'unauthorized', { headers: {} }],
    ['an empty key', 401, 'unauthorized', { headers: bearer('') }],
    ['another scheme', 401, 'unauthorized', { headers: { authorization: `Basic ${Buffer.from(`ann:${good}`).toString('base64')}` } }],
    ['a key without a scheme', 401, 'unauthorized', { headers: { authorization: good } }],
    ['a good key with more behind it', 401, 'unauthorized', { headers: bearer(`${good} x`) }],
    ['another case', 401, 'unauthorized', { headers: bearer(good.toUpperCase()) }],
    ['a part of a good key', 401, 'unauthorized', { headers: bearer(good.slice(0, -1)) }],
    ['a key that nobody has', 401, 'unauthorized', { headers: bearer(unknown.key) }],
    ['the id of a good key with another secret', 401, 'unauthorized',
      { headers: bearer(reader.key.slice(0, -4) + (reader.key.endsWith('AAAA') ? 'BBBB' : 'AAAA')) }],
    ['a key that was revoked', 401, 'unauthorized', { headers: bearer(revoked.key) }],
    ['a key that has expired', 401, 'unauthorized', { headers: bearer(expired.key) }],
    ['a key that stands in the files of two apps', 401, 'unauthorized', { headers: bearer(twice.key) }],
    ['the token of a client', 401, 'unauthorized', { headers: bearer(await signedToken({ sub: 'ann' })) }],
    ['a good key in a cookie', 401, 'unauthorized', { headers: { cookie: `ledgerline=${good}` } }],
    ['a good key in another header', 401, 'unauthorized', { headers: { 'x-api-key': good } }],
    ['a good key in the query', 401, 'unauthorized', { path: `${one}?key=${good}`, headers: {} }],
    ['a key without the scope', 403, 'forbidden', { method: 'DELETE', path: '/v1/users/ann/connections', headers: bearer(reader.key) }],
    ['a key of another app', 403, 'forbidden', { path: `${one}?app=bank`, headers: bearer(shop.key) }],
    ['a key of an app for the default one', 403, 'forbidden', { path: `${one}?app=x`, headers: bearer(shop.key) }],
    ['a key of an app for all of them', 403, 'forbidden', { path: '/v1/log', headers: bearer(bank.key) }],
    ['a key of an app for nodes', 403, 'forbidden', { path: '/v1/nodes', headers: bearer(bank.key) }],
    ['a key of an app for the metrics', 403, 'forbidden', { path: '/metrics', headers: bearer(bank.key) }],
    ['a key without the scope admin for another app', 403, 'forbidden', { path: `${one}?app=bank`, headers: bearer(reader.key) }],
  ]
}

interface Answered { readonly status: number, readonly code: unknown, readonly text: string }

function ask ({ ca }: TestNode, url: string, { method = 'GET', path = one, headers }: Asked): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const send = ca === undefined ? requestPlain : requestTls
    send(url + path, { method, headers, ...ca !== undefined && { ca } }, response => {
      let text = ''
      response.setEncoding('utf8').on('data', part => { text += part }).on('error', reject).on('end', () => {
        const isJson = String(response.headers['content-type']).startsWith('application/json')
        resolve({ status: response.statusCode!, code: isJson ? JSON.parse(text).code : undefined, text })
      })
    }).on('error', reject).end()
  })
}

async function given (t: Test, isTls: boolean, env: Record<string, string>): Promise<TestNode> {
  const file = async (...keys: Array<ReturnType<typeof drawn>>) =>
    (await givenKeyFile(t, keys.map(({ stored }) => stored))).path
  const appOf = async (name: string, ...keys: Array<ReturnType<typeof drawn>>) => ({
    name,
    issuers: [{ issuer: name, secret: `the secret of ${name}, and of nobody else` }],
    apiKeysFile: await file(...keys, twice),
  })
  let certificate: Record<string, string> = {}
  if (isTls) {
    const { server: { cert, key } } = await makeCertificates(t)
    certificate = { LEDGERLINE_TLS_CERT: cert, LEDGERLINE_TLS_KEY: key }
  }
  return await startTestNode(t, {
    ...env,
    ...certificate,
    LEDGERLINE_API_KEYS_FILE: await file(reader, revoked, expired),
    LEDGERLINE_APPS: JSON.stringify([await appOf('shop', shop), await appOf('bank', bank)]),
  })
}

for (const isTls of [false, true]) {
  const skip = isTls && (opensslMissing() ?? false)
  t.test(isTls ? 'With TLS' : 'Without TLS', { skip }, async t => {
    const rows = await table()

    t.test('one port for all refuses all of them', async t => {
      const node = await given(t, isTls, {})
      for (const [what, status, code, asked] of rows) {
        const answer = await ask(node, node.http, asked)
        t.strictSame([answer.status, answer.code], [status, code], what)
        t.notOk(answer.text.includes(good), 'and repeats no key')
      }
      const ofBank = `${one}?app=bank`
      const taken = [[good, one], [good, ofBank], [reader.key, one], [shop.key, one], [bank.key, one]] as const
      for (const [key, path] of taken) {
        t.equal((await ask(node, node.http, { path, headers: bearer(key) })).status, 200, 'a good one is taken')
      }
    })

    t.test('and so does a port for the API; those beside it have nothing of it', async t => {
      const node = await given(t, isTls, { LEDGERLINE_API_PORT: '0', LEDGERLINE_METRICS_PORT: '0' })
      for (const [what, status, code, asked] of rows) {
        const answer = await ask(node, node.api, asked)
        t.strictSame([answer.status, answer.code], [status, code], what)
        for (const [port, url] of [['clients', node.http], ['metrics', node.metrics]] as const) {
          if (port === 'metrics' && asked.path === '/metrics') continue // there it is for everybody
          const elsewhere = await ask(node, url, asked)
          t.strictSame([elsewhere.status, elsewhere.code], [404, 'not-found'], `${what}, at the port for ${port}`)
        }
      }
      t.equal((await ask(node, node.api, { headers: bearer(good) })).status, 200)
      for (const url of [node.http, node.metrics]) {
        t.equal((await ask(node, url, { headers: bearer(good) })).status, 404, 'nor with a good one')
      }
    })
  })
}
