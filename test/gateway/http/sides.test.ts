import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, mkdtemp, readFile, rm } from 'node:fs/promises'
import { request as requestTls } from 'node:https'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { accessTable, isOnSide, type Side } from '../../../gateway/http/access.js'
import { makeCertificates, opensslMissing } from '../../cluster/certificates.js'
import { alive, connected, dialects } from '../edge/dialects.js'
import { refusedUpgrade, upgradeRequest } from '../edge/raw-websocket.js'
import { startTestNode, type TestNode, until } from '../node.js'
import { givenApp, key } from './given.js'

const methods = ['GET', 'HEAD', 'POST', 'DELETE', 'PUT', 'OPTIONS'] as const
const everyRole = ['push', 'ip-config', 'projections', 'console', 'webhooks'] as const

const both = ['GET /healthz', 'GET /readyz', 'GET /openapi.json']
const clients = ['GET /v1/connect', 'GET /v1/ip-config', ...both]

const ofPage = { ...key, origin: 'https://app.example.com', upgrade: 'websocket', connection: 'upgrade' }

/** What a route is asked with; a body that none takes. */
function ask (t: Test, side: Side) {
  const { app } = givenApp(t, { side, roles: everyRole })
  return async (method: typeof methods[number], path: string, headers: Record<string, string> = key) => {
    const payload = method === 'POST' || method === 'DELETE' || method === 'PUT' ? { junk: 1 } : undefined
    const url = path.replace(/:\w+/g, 'x')
    const { statusCode, body, headers: answered } = await app.inject({ method, url, headers, payload })
    const { date: _date, ...told } = answered
    return { statusCode, body, told }
  }
}

t.test('Where the API has a port of its own', async t => {
  t.test('each route of the table is on the side that it is for', async t => {
    const onClients = Object.keys(accessTable).filter(name => isOnSide(name, 'clients'))
    const onApi = Object.keys(accessTable).filter(name => isOnSide(name, 'api'))
    t.strictSame(onClients.toSorted(), clients.toSorted(), 'what clients and balancers ask, and nothing that wants a key')
    const others = Object.keys(accessTable).filter(name => !clients.includes(name))
    t.strictSame(onApi.toSorted(), [...others, ...both].toSorted())
  })

  for (const [side, other] of [['clients', 'api'], ['api', 'clients']] as const) {
    t.test(`on the side ${side} those of the side ${other} are as if they were not there`, async t => {
      const asked = ask(t, side)
      const paths = new Set(Object.keys(accessTable).map(name => name.split(' ')[1]!))
      const here = new Set(Object.keys(accessTable).filter(name => isOnSide(name, side)).map(name => name.split(' ')[1]!))
      for (const path of paths) {
        if (here.has(path)) continue
        for (const method of methods) {
          for (const headers of [key, {}, ofPage]) {
            const found = await asked(method, path, headers)
            const nothing = await asked(method, '/nothing-at-all', headers)
            const url = path.replace(/:\w+/g, 'x')
            t.equal(found.statusCode, 404, `${method} ${path}`)
            t.equal(found.body, nothing.body.replaceAll('/nothing-at-all', url), `${method} ${path}`)
            t.strictSame({ ...found.told, 'content-length': '' }, { ...nothing.told, 'content-length': '' }, `${method} ${path}`)
          }
        }
      }
    })

    t.test(`on the side ${side} its own answer`, async t => {
      const asked = ask(t, side)
      for (const name of Object.keys(accessTable).filter(name => isOnSide(name, side))) {
        const [method, path] = name.split(' ') as [typeof methods[number], string]
        if (path === '/v1/connect') continue // this app has no edge
        const { statusCode, body } = await asked(method, path)
        t.notMatch(body, `"there is no ${method} `, name)
        t.not(statusCode, 401, name)
      }
    })

    t.test(`on the side ${side} no route of the other one can be added by mistake`, async t => {
      const { app } = givenApp(t, { side })
      const name = other === 'api' ? '/v1/nodes' : '/v1/connect'
      t.throws(() => app.get(name, async () => 'hello'), { message: new RegExp(`${name} is not for the port`) })
    })
  }

  t.test('the OpenAPI document of each port has the routes that are there', async t => {
    const pathsOf = async (side: Side) => {
      const { body } = await ask(t, side)('GET', '/openapi.json')
      return Object.keys(JSON.parse(body).paths).map(path => path.replace(/\{(\w+)\}/g, ':$1'))
    }
    t.strictSame((await pathsOf('clients')).toSorted(), ['/healthz', '/readyz', '/v1/ip-config'])
    const onApi = Object.keys(accessTable).filter(name => isOnSide(name, 'api') && name !== 'GET /openapi.json')
    t.strictSame((await pathsOf('api')).toSorted(), [...new Set(onApi.map(name => name.split(' ')[1]!))].toSorted())
  })

  t.test('metrics want a key there as anywhere, unless they are open', async t => {
    const statusOf = async (metricsOpen: boolean, headers: Record<string, string>, url = '/metrics') => {
      const { app } = givenApp(t, { side: 'api', metricsOpen })
      return (await app.inject({ url, headers })).statusCode
    }
    t.strictSame([await statusOf(false, {}), await statusOf(false, key)], [401, 200])
    t.strictSame([await statusOf(true, {}), await statusOf(true, key)], [200, 200])
    t.equal(await statusOf(true, {}, '/v1/health'), 401, 'and nothing else is')
  })

  t.test('on a port of their own they want none, and nothing but health is beside them', async t => {
    const asked = ask(t, 'metrics')
    for (const name of Object.keys(accessTable)) {
      const [method, path] = name.split(' ') as [typeof methods[number], string]
      const isThere = ['/metrics', '/healthz', '/readyz'].includes(path)
      for (const headers of [{}, key]) {
        t.equal((await asked(method, path, headers)).statusCode, isThere ? 200 : 404, name)
      }
    }
    t.equal((await asked('GET', '/console', {})).statusCode, 404)
  })
})

t.test('A node with a port for the API', async t => {
  const node = await startTestNode(t, { LEDGERLINE_API_PORT: '0' })

  t.test('has clients on one port, and business services and operators on the other', async t => {
    t.not(node.api, node.http)
    for (const dialect of dialects) {
      const user = dialect.replaceAll(' ', '')
      const { client } = await connected(t, node, dialect, user)
      await node.push(user, 'hi')
      t.equal((await client.next()).op, 'downlink')
      await alive(t, client)
    }
    for (const url of [node.http, node.api]) t.equal((await fetch(`${url}/readyz`)).status, 200)
    t.equal((await fetch(`${node.http}/v1/ip-config`)).status, 200)
    const asOperator = { authorization: 'Bearer the-key-of-a-test-node' }
    for (const path of ['/metrics', '/v1/nodes', '/v1/log/ledger', '/v1/health']) {
      t.equal((await fetch(node.http + path, { headers: asOperator })).status, 404, path)
      t.equal((await fetch(node.api + path, { headers: asOperator })).status, 200, path)
    }
  })

  t.test('has one of each part behind both: who asks for a ban hears of it', async t => {
    const { client } = await connected(t, node, 'TCP', 'banned')
    t.equal((await node.request('POST', '/v1/bans', { userId: 'banned', banId: 'b1', reason: 'spam' })).status, 202)
    await client.closed()
    t.match((await node.request('GET', '/v1/users/banned/bans')).json, { bans: [{ banId: 'b1' }] })
    t.equal((await node.request('DELETE', '/v1/bans/b1?userId=banned')).status, 202)
  })

  t.test('answers an upgrade on the other one at once, as what is not there', async t => {
    const { port } = new URL(node.api)
    const socket = connect({ host: '127.0.0.1', port: Number(port) })
    t.teardown(() => { socket.destroy() })
    socket.write(upgradeRequest('ledgerline.v1.json'))
    const [answer] = await once(socket.setEncoding('latin1'), 'data')
    t.match(answer, /^HTTP\/1\.1 404 [^]*there is no GET \/v1\/connect/)
    t.equal((await refusedUpgrade(node))?.status, undefined, 'and opens it where it is')
  })
})

t.test('A node without an edge answers an upgrade at once', async t => {
  const { app } = givenApp(t)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as { port: number }
  const socket = connect({ host: '127.0.0.1', port })
  t.teardown(() => { socket.destroy() })
  socket.write(upgradeRequest('ledgerline.v1.json'))
  const [answer] = await once(socket.setEncoding('latin1'), 'data')
  t.match(answer, /^HTTP\/1\.1 404 [^]*this node lacks the role edge/)
})

t.test('With TLS', { skip: opensslMissing() ?? false }, async t => {
  const certificates = await makeCertificates(t)
  const directory = await mkdtemp(join(tmpdir(), 'ledgerline-sides-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  const [cert, tlsKey] = [join(directory, 'tls.crt'), join(directory, 'tls.key')]
  await copyFile(certificates.ca, join(directory, 'ca.crt'))
  await copyFile(certificates.server.cert, cert)
  await copyFile(certificates.server.key, tlsKey)
  const node = await startTestNode(t, {
    LEDGERLINE_API_PORT: '0',
    LEDGERLINE_TLS_CERT: cert,
    LEDGERLINE_TLS_KEY: tlsKey,
    LEDGERLINE_TLS_CLIENT_CA: certificates.ca,
  })
  const asked = async (url: string, options: object) => await new Promise<number>((resolve, reject) => {
    const headers = { authorization: 'Bearer the-key-of-a-test-node' }
    requestTls(url, { headers, ca: node.ca!, agent: false, ...options }, response => {
      response.resume()
      resolve(response.statusCode!)
    }).on('error', reject).end()
  })

  t.test('a client certificate is wanted where the API is, and asked of nobody else', async t => {
    const client = { cert: await readFile(certificates.client.cert), key: await readFile(certificates.client.key) }
    t.equal(await asked(`${node.api}/v1/nodes`, {}), 401)
    t.equal(await asked(`${node.api}/v1/nodes`, client), 200)
    t.equal(await asked(`${node.api}/healthz`, {}), 200)
    t.equal(await asked(`${node.http}/v1/nodes`, client), 404)
    t.match(await asksForCertificate(node.api), true)
    t.match(await asksForCertificate(node.http), false)
  })

  t.test('who fails at it is counted by the port', async t => {
    const plain = connect({ host: '127.0.0.1', port: Number(new URL(node.api).port) })
    t.teardown(() => { plain.destroy() })
    plain.on('error', () => {}).resume().write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    await until('it is ended', () => plain.closed)
    await until('it is counted', async () => await failed(node, certificates.client))
  })
})

/** Whether a server names the authorities of the certificates that it wants of clients. */
async function asksForCertificate (url: string): Promise<boolean> {
  const { port } = new URL(url)
  return await new Promise((resolve, reject) => {
    const openssl = execFile('openssl', ['s_client', '-connect', `127.0.0.1:${port}`], (error, stdout) => {
      if (stdout.includes('Acceptable client certificate CA names')) resolve(true)
      else if (stdout.includes('No client certificate CA names sent')) resolve(false)
      else reject(error ?? new Error(stdout))
    })
    openssl.stdin!.end()
  })
}

/** Whether a failed handshake was counted; metrics want a certificate here. */
async function failed (node: TestNode, { cert, key }: { cert: string, key: string }): Promise<boolean> {
  const options = { ca: node.ca!, agent: false as const, cert: await readFile(cert), key: await readFile(key) }
  const headers = { authorization: 'Bearer the-key-of-a-test-node' }
  return await new Promise((resolve, reject) => {
    requestTls(`${node.api}/metrics`, { ...options, headers }, response => {
      let text = ''
      response.setEncoding('utf8').on('data', (part: string) => { text += part }).on('end', () => {
        resolve(/^ledgerline_tls_handshakes_failed_total{listener="api"} 1$/m.test(text))
      })
    }).on('error', reject).end()
  })
}
