import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { connect as connectTls } from 'node:tls'
import { WebSocket } from 'ws'
import { makeCertificates, opensslMissing, type TestCertificates } from '../cluster/certificates.js'
import { alive, connectFrame, TcpSpeaker } from './edge/dialects.js'
import { startTestNode, TcpClient, type TestNode, until } from './node.js'

/* The programs of docs/operations.md that can be had, each with the very configuration that stands there. */

const operations = readFileSync(new URL('../../../docs/operations.md', import.meta.url), 'utf8')

const streamModule = '/usr/lib/nginx/modules/ngx_stream_module.so'

interface Front {
  readonly needs: readonly string[]
  readonly packages: string
  /** @param file has the configuration; what else it writes goes to `directory` */
  command (file: string, directory: string): [string, ...string[]]
}

const fronts: Readonly<Record<string, Front>> = {
  nginx: {
    needs: ['/usr/sbin/nginx', streamModule],
    packages: 'nginx libnginx-mod-stream',
    command: (file, directory) => ['/usr/sbin/nginx', '-p', directory, '-c', file, '-e', join(directory, 'error.log'),
      '-g', `daemon off; pid ${directory}/pid;`],
  },
  haproxy: {
    needs: ['/usr/sbin/haproxy'],
    packages: 'haproxy',
    command: file => ['/usr/sbin/haproxy', '-db', '-f', file],
  },
}

/** Ports that nobody has now. */
async function freePorts (count: number): Promise<number[]> {
  const servers = await Promise.all(Array.from({ length: count }, async () => {
    const server = createServer()
    await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
    return server
  }))
  const ports = servers.map(server => (server.address() as { port: number }).port)
  await Promise.all(servers.map(server => new Promise(resolve => { server.close(resolve) })))
  return ports
}

/** The configuration of the docs, with the ports and files of this test in the place of those that stand there. */
function configurationOf (name: string, places: Readonly<Record<string, string>>): string {
  let text = new RegExp(`\`\`\`${name}\n([^]*?)\`\`\``).exec(operations)![1]!
  for (const [there, here] of Object.entries(places)) {
    if (!text.includes(there)) throw new Error(`the configuration of ${name} has no ${there}`)
    text = text.replaceAll(there, here)
  }
  return text
}

/** Starts the program in front of `node`; resolves to its ports once it listens on both. */
async function start (t: Test, name: string, node: TestNode, { server }: TestCertificates): Promise<[number, number]> {
  const directory = await mkdtemp(join(tmpdir(), 'ledgerline-front-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  const [http, tcp] = await freePorts(2) as [number, number]
  const [cert, key, all] = ['tls.crt', 'tls.key', 'all.pem'].map(file => join(directory, file)) as [string, string, string]
  await copyFile(server.cert, cert)
  await copyFile(server.key, key)
  await writeFile(all, Buffer.concat([await readFile(cert), await readFile(key)]))
  const files: Record<string, string> = name === 'haproxy'
    ? { '/etc/ledgerline/all.pem': all, ':8443': `127.0.0.1:${http}`, ':9443': `127.0.0.1:${tcp}` }
    : {
        '/etc/ledgerline/tls.crt': cert,
        '/etc/ledgerline/tls.key': key,
        'listen 8443': `listen 127.0.0.1:${http}`,
        'listen 9443': `listen 127.0.0.1:${tcp}`,
      }
  const file = join(directory, 'front.conf')
  await writeFile(file, configurationOf(name, {
    '127.0.0.1:8080': `127.0.0.1:${node.httpPort}`, '127.0.0.1:9100': `127.0.0.1:${node.tcpPort}`, ...files,
  }))
  const [program, ...parameters] = fronts[name]!.command(file, directory)
  let said = ''
  const running = spawn(program, parameters, { stdio: ['ignore', 'pipe', 'pipe'] })
  for (const stream of [running.stdout, running.stderr]) stream.on('data', part => { said += String(part) })
  t.teardown(async () => {
    running.kill('SIGTERM')
    await until(`${name} ends`, () => running.exitCode !== null || running.signalCode !== null)
  })
  for (const port of [http, tcp]) {
    await until(`${name} listens`, async () => {
      if (running.exitCode !== null) throw new Error(`${name} ended: ${said}`)
      return await new Promise<boolean>(resolve => {
        const socket = connect({ host: '127.0.0.1', port })
        socket.once('connect', () => { resolve(true) }).once('error', () => { resolve(false) })
        socket.once('connect', () => { socket.destroy() })
      })
    })
  }
  return [http, tcp]
}

async function sessionOf (node: TestNode, userId: string): Promise<{ address: string, transport: string }> {
  return await until(`${userId} is present`, async () => {
    const { json } = await node.request('GET', `/v1/users/${userId}/presence`)
    return (json as { sessions: Array<{ address: string, transport: string }> }).sessions[0]
  })
}

for (const [name, { needs, packages }] of Object.entries(fronts)) {
  const isMissing = needs.some(path => !existsSync(path))
  // Its directories for temporary files belong to root.
  const mayNot = name === 'nginx' && process.getuid?.() !== 0 && 'nginx of Debian wants root'
  const skip = opensslMissing() ?? (isMissing ? `needs ${name}: apt-get install ${packages}` : mayNot)
  t.test(`${name}, as docs/operations.md has it,`, { skip }, async t => {
    const certificates = await makeCertificates(t)
    const node = await startTestNode(t, { LEDGERLINE_TRUSTED_PROXIES: '127.0.0.1' })
    const ca = await readFile(certificates.ca, 'utf8')
    const [http, tcp] = await start(t, name, node, certificates)
    // Loopback has many addresses, of which the node trusts one: the client comes from another.
    const localAddress = '127.0.0.9'
    const tls = { ca, servername: 'localhost', host: '127.0.0.1', localAddress }

    t.test('lets a client through over TCP, and says whose it is', async t => {
      const raw = connect({ host: '127.0.0.1', port: tcp, localAddress })
      const client = new TcpSpeaker(await TcpClient.over(t, connectTls({ socket: raw, ca, servername: 'localhost' })))
      client.send(await connectFrame(node, 'tcp'))
      t.equal((await client.next()).op, 'connected')
      await alive(t, client)
      t.match(await sessionOf(node, 'tcp'), { transport: 'tcp', address: /^127\.0\.0\.9:\d+$/ })
    })

    t.test('lets a client through over WebSocket, who can not say that he is somebody else', async t => {
      const ws = new WebSocket(`wss://127.0.0.1:${http}/v1/connect`, {
        ...tls, headers: { 'x-forwarded-for': '203.0.113.9', forwarded: 'for=203.0.113.9' },
      })
      t.teardown(() => { ws.terminate() })
      await new Promise<void>((resolve, reject) => { ws.once('open', resolve).once('error', reject) })
      const answer = new Promise<string>((resolve, reject) => {
        ws.once('message', data => { resolve(String(data)) }).once('close', reject)
      })
      ws.send(JSON.stringify(await connectFrame(node, 'ws')))
      t.match(JSON.parse(await answer), { op: 'connected' })
      t.match(await sessionOf(node, 'ws'), { transport: 'ws', address: '127.0.0.9' })
    })

    t.test('tells that it came over TLS: pages of the same host without it are foreign', async t => {
      const statusOf = async (origin: string) => await new Promise<number>((resolve, reject) => {
        const headers = { host: 'gateway.test', origin, 'x-forwarded-proto': 'http' }
        const ws = new WebSocket(`wss://127.0.0.1:${http}/v1/connect`, { ...tls, headers })
        ws.once('unexpected-response', (_request, response) => { resolve(response.statusCode!) }).once('error', reject)
        ws.once('open', () => { ws.terminate(); resolve(101) })
      })
      t.strictSame([await statusOf('https://gateway.test'), await statusOf('http://gateway.test')], [101, 403])
    })
  })
}
