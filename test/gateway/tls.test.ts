import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect as connectPlain } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { request } from 'node:https'
import { type Issued, makeCertificates, opensslMissing, type TestCertificates } from '../cluster/certificates.js'
import { ackedUpTo, alive, connected, dialects, endsWith, speaker, uplinks } from './edge/dialects.js'
import { startTestNode, type TestNode, until } from './node.js'

const skip = opensslMissing() ?? false

/** The files of a node, which a test may put others in the place of. */
async function givenFiles (t: Test, certificates: TestCertificates) {
  const directory = await mkdtemp(join(tmpdir(), 'ledgerline-tls-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  const files = { cert: join(directory, 'tls.crt'), key: join(directory, 'tls.key') }
  await copyFile(certificates.ca, join(directory, 'ca.crt'))
  const put = async ({ cert, key }: Issued) => {
    await copyFile(cert, files.cert)
    await copyFile(key, files.key)
  }
  await put(certificates.server)
  return { ...files, put }
}

interface Opened extends TLSSocket {
  /** What the last ticket of the server says. */
  session?: Buffer
}

async function openTls (t: Test, node: TestNode, port: number, options: ConnectionOptions = {}): Promise<Opened> {
  const socket: Opened = connect({ host: '127.0.0.1', port, servername: 'localhost', ca: node.ca!, ...options })
  t.teardown(() => { socket.destroy() })
  socket.on('session', session => { socket.session = session }).resume()
  await new Promise<void>((resolve, reject) => { socket.once('secureConnect', resolve).once('error', reject) })
  return socket
}

/** Status of a request with an API key. */
function statusOf (node: TestNode, path: string, options: ConnectionOptions, key = 'the-key-of-a-test-node'): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${key}` }
    request(node.http + path, { headers, ca: node.ca!, agent: false, ...options }, response => {
      response.resume()
      resolve(response.statusCode!)
    }).on('error', reject).end()
  })
}

async function failed (node: TestNode, listener: string): Promise<number> {
  const { text } = await node.request('GET', '/metrics')
  return Number(new RegExp(`tls_handshakes_failed_total{listener="${listener}"} (\\d+)`).exec(text)?.[1] ?? 0)
}

t.test('TLS', { skip }, async t => {
  const certificates = await makeCertificates(t)

  t.test('on both listeners, for every dialect', async t => {
    const { cert, key } = await givenFiles(t, certificates)
    const node = await startTestNode(t, { LEDGERLINE_TLS_CERT: cert, LEDGERLINE_TLS_KEY: key })
    t.match(node.http, /^https:/)
    for (const dialect of dialects) {
      const user = dialect.replaceAll(' ', '')
      const { client } = await connected(t, node, dialect, user)
      client.sendAll(uplinks(1, 300))
      t.equal((await ackedUpTo(client, 300)).length, 300)
      await node.push(user, 'x'.repeat(40_000))
      t.equal((await client.next()).op, 'downlink')
      await alive(t, client)
    }
    const { json } = await node.request('GET', '/v1/ip-config')
    t.match((json as { endpoints: string[] }).endpoints, [/^(wss|tls):/])
  })

  t.test('1.2 and 1.3, and nothing older; sessions are resumed by tickets', async t => {
    const { cert, key } = await givenFiles(t, certificates)
    const node = await startTestNode(t, { LEDGERLINE_TLS_CERT: cert, LEDGERLINE_TLS_KEY: key })
    for (const port of [node.tcpPort, node.httpPort]) {
      for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
        const socket = await openTls(t, node, port, { minVersion: version, maxVersion: version })
        t.equal(socket.getProtocol(), version)
        const session = await until('a ticket comes', () => socket.session)
        const again = await openTls(t, node, port, { session, minVersion: version, maxVersion: version })
        t.equal(again.isSessionReused(), true, `${version} on ${port === node.tcpPort ? 'tcp' : 'http'}`)
      }
      await t.rejects(openTls(t, node, port, {
        minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0',
      }))
    }
  })

  t.test('a client that speaks something else is ended, counted, and nobody else notices', async t => {
    const { cert, key } = await givenFiles(t, certificates)
    const node = await startTestNode(t, { LEDGERLINE_TLS_CERT: cert, LEDGERLINE_TLS_KEY: key })
    const { client } = await connected(t, node, 'TCP', 'neighbour')
    for (const [listener, port] of [['tcp', node.tcpPort], ['http', node.httpPort]] as const) {
      const before = await failed(node, listener)
      const plain = connectPlain({ host: '127.0.0.1', port })
      t.teardown(() => { plain.destroy() })
      plain.on('error', () => {}).resume().write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
      await until('it is ended', () => plain.closed)
      await until('it is counted', async () => await failed(node, listener) > before)
      await t.rejects(openTls(t, node, port, { ca: await readFile(certificates.otherCa) }), 'nobody it trusts')
    }
    await alive(t, client)
  })

  t.test('a socket that never begins its handshake has the time of any other', async t => {
    const { cert, key } = await givenFiles(t, certificates)
    const node = await startTestNode(t, { LEDGERLINE_TLS_CERT: cert, LEDGERLINE_TLS_KEY: key })
    const silent = [node.tcpPort, node.httpPort].map(port => {
      const socket = connectPlain({ host: '127.0.0.1', port }).on('error', () => {}).resume()
      t.teardown(() => { socket.destroy() })
      return socket
    })
    const since = Date.now()
    await until('both are ended', () => silent.every(({ closed }) => closed))
    t.ok(Date.now() - since >= 9_000, 'not before')
  })

  t.test('a certificate that is renewed is taken, and nobody is disconnected', async t => {
    const files = await givenFiles(t, certificates)
    const node = await startTestNode(t, { LEDGERLINE_TLS_CERT: files.cert, LEDGERLINE_TLS_KEY: files.key })
    const before = await Promise.all(dialects.map(dialect => connected(t, node, dialect, `before ${dialect}`)))
    const first = (await openTls(t, node, node.tcpPort)).getPeerCertificate().serialNumber
    const holder = await openTls(t, node, node.httpPort)
    const ticket = await until('a ticket comes', () => holder.session)

    await writeFile(files.cert, 'half of a renewal')
    process.emit('SIGHUP')
    const troubles = async () => (await node.request('GET', '/v1/health')).json as { troubles: Array<{ condition: string, reason: string }> }
    t.match(await troubles(), { troubles: [{ condition: 'certificate', reason: /stays in use.*LEDGERLINE_TLS_CERT/ }] })
    t.equal((await openTls(t, node, node.tcpPort)).getPeerCertificate().serialNumber, first, 'the one read last goes on')

    const next = await certificates.issue('next', 'localhost', 'DNS:localhost,IP:127.0.0.1')
    await files.put(next)
    process.emit('SIGHUP')
    for (const port of [node.tcpPort, node.httpPort]) {
      t.not((await openTls(t, node, port)).getPeerCertificate().serialNumber, first, 'new connections get the new one')
    }
    t.equal((await openTls(t, node, node.httpPort, { session: ticket })).isSessionReused(), true, 'tickets outlive it')
    t.not((await troubles()).troubles.some(({ reason }) => reason.includes('stays in use')), 'the condition is over')
    for (const { client } of before) await alive(t, client)
  })

  t.test('where client certificates are wanted, a key alone is not enough, and clients need none', async t => {
    const { cert, key } = await givenFiles(t, certificates)
    const node = await startTestNode(t, {
      LEDGERLINE_TLS_CERT: cert, LEDGERLINE_TLS_KEY: key, LEDGERLINE_TLS_CLIENT_CA: certificates.ca,
    })
    const client = { cert: await readFile(certificates.client.cert), key: await readFile(certificates.client.key) }
    t.equal(await statusOf(node, '/v1/nodes', {}), 401)
    t.equal(await statusOf(node, '/v1/nodes', client), 200)
    t.equal(await statusOf(node, '/v1/nodes', client, 'another key'), 401, 'and a certificate alone neither')
    t.equal(await statusOf(node, '/healthz', {}), 200)
    for (const dialect of dialects) await alive(t, (await connected(t, node, dialect, `u ${dialect}`)).client)
  })

  t.test('a refusal at the door is read', async t => {
    const { cert, key } = await givenFiles(t, certificates)
    const node = await startTestNode(t, {
      LEDGERLINE_TLS_CERT: cert, LEDGERLINE_TLS_KEY: key, LEDGERLINE_ACCEPT_RATE: '1',
    })
    const first = await connected(t, node, 'TCP', 'first').catch(() => undefined)
    t.ok(first)
    const last = await endsWith(t, await speaker(t, node, 'TCP'), 'rate-limited')
    t.ok(last.retryAfterMs > 0)
  })

  t.test('what can not be a certificate is refused at start, in words', async t => {
    for (const [environment, message] of [
      [{ LEDGERLINE_TLS_CERT: '/nowhere' }, /LEDGERLINE_TLS_CERT.*ENOENT/],
      [{ LEDGERLINE_TLS_CERT: certificates.server.cert }, /LEDGERLINE_TLS_KEY.*belongs to LEDGERLINE_TLS_CERT/],
      [{ LEDGERLINE_TLS_CERT: certificates.server.cert, LEDGERLINE_TLS_KEY: certificates.client.key }, /LEDGERLINE_TLS_KEY.*the key of/],
      [{ LEDGERLINE_TLS_CERT: certificates.server.cert, LEDGERLINE_TLS_KEY: certificates.encryptedKey }, /LEDGERLINE_TLS_KEY_PASSWORD/],
      [{ LEDGERLINE_TLS_CLIENT_CA: certificates.ca }, /LEDGERLINE_TLS_CERT/],
    ] as const) await t.rejects(startTestNode(t, environment), { name: 'ConfigError', message })
  })
})
