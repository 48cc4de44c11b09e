import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pino from 'pino'
import t, { type Test } from 'tap'
import { readConfig } from '../../gateway/read-config.js'
import { startNode } from '../../gateway/main.js'
import { ensureSecrets } from '../../gateway/secrets.js'
import { connected, connectFrame, type Dialect, speaker } from './edge/dialects.js'
import { jwtSecret, signedToken, TestNode, until } from './node.js'

/** Stands in every token and key that is tried here, and must come out nowhere. */
const marker = 'HUSHxMARKERxHUSHx'
const key = 'the-key-of-a-test-node'
const nowS = Math.trunc(Date.now() / 1_000)

const part = (value: unknown) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

/** A node that logs all that there is to be logged, and where it keeps what it stores. */
async function given (t: Test) {
  const dataDir = await mkdtemp(join(tmpdir(), 'ledgerline-hush-'))
  t.teardown(() => rm(dataDir, { recursive: true, force: true }))
  const config = readConfig({
    LEDGERLINE_HTTP_PORT: '0',
    LEDGERLINE_TCP_PORT: '0',
    LEDGERLINE_API_KEYS: `${key},${marker}-an-api-key-that-is-good`,
    LEDGERLINE_JWT_SECRET: jwtSecret,
    LEDGERLINE_JWT_AUDIENCE: 'chat',
    LEDGERLINE_ACCEPT_RATE: '0',
    LEDGERLINE_NODE_ID: 'n1',
    LEDGERLINE_DATA: dataDir,
  })
  const logged: string[] = []
  const log = pino({ level: 'trace' }, { write (line: string) { logged.push(line) } })
  const running = await startNode(await ensureSecrets(config), log)
  t.teardown(() => running.stop())
  return { node: new TestNode(running, []), logged, dataDir }
}

async function badTokens (): Promise<Record<string, string>> {
  const claims = { sub: 'ann', aud: 'chat', note: marker }
  const good = await signedToken(claims)
  const [header, body, signature] = good.split('.') as [string, string, string]
  const own = (head: object) => `${part({ alg: 'HS256', ...head })}.${body}.${signature}`
  return {
    'a word': marker,
    'a header that is no JSON': `${part(`{"alg":"${marker}`)}.${body}.${signature}`,
    'a body that is no JSON': `${header}.${part(`{"sub":"${marker}`)}.${signature}`,
    'an alg': `${part({ alg: marker })}.${body}.${signature}`,
    'a critical header': own({ crit: [marker], [marker]: 1 }),
    'a critical header that is no name': own({ crit: marker }),
    'a kid': own({ kid: marker }),
    'a typ': own({ typ: marker, b64: marker }),
    'a signature': `${header}.${body}.${marker}`,
    'another secret': await signedToken(claims, { secret: `${marker} and some more to be long enough` }),
    'an audience': await signedToken({ ...claims, aud: marker }),
    'a device': await signedToken({ ...claims, dev: marker }),
    'a time': `${header}.${part({ ...claims, exp: marker })}.${signature}`,
    'one that is over': await signedToken({ ...claims, exp: nowS - 3_600 }),
    'one that is early': await signedToken({ ...claims, nbf: nowS + 3_600 }),
    'one that is too long': marker.repeat(2_000),
    'controls in it': `${marker}\u0000${marker}`,
  }
}

t.test('No token and no key that is tried comes out anywhere', async t => {
  const { node, logged, dataDir } = await given(t)
  /** What the node has said to anybody, by what it was asked. */
  const heard: Array<[what: string, text: string]> = []
  const tokens = await badTokens()
  let opened = 0
  const good = await node.token('ann', { aud: 'chat' })
  const fragments = [
    marker, Buffer.from(marker).toString('base64').slice(0, 20),
    ...Object.values(tokens).flatMap(token => token.split('.')).filter(piece => piece.length > 40).map(piece => piece.slice(-40)),
  ]

  const dialectsHere: Dialect[] = ['TCP', 'WebSocket JSON']
  for (const dialect of dialectsHere) {
    for (const [what, token] of Object.entries(tokens)) {
      const stranger = await speaker(t, node, dialect)
      stranger.send(await connectFrame(node, 'ann', { token }))
      heard.push([`connect with ${what}`, JSON.stringify((await stranger.closed()).left)])
      const { client } = await connected(t, node, dialect, 'ann', { token: good })
      opened++
      client.send({ op: 'token', token })
      heard.push([`token with ${what}`, JSON.stringify((await client.closed()).left)])
    }
  }
  for (const text of [
    `{"op":"token","token":"${marker}"`, `{"op":"token","token":["${marker}"]}`, `{"op":"${marker}"}`, marker,
  ]) {
    const { client } = await connected(t, node, 'WebSocket JSON', 'ann', { token: good })
    opened++
    ;(client as unknown as { client: { send (text: string): void } }).client.send(text)
    heard.push([text, JSON.stringify((await client.closed()).left)])
  }

  const asked: Array<[path: string, headers: Record<string, string>]> = [
    ['/v1/nodes', { authorization: `Bearer ${marker}` }],
    ['/v1/nodes', { authorization: `Bearer ${marker} ${marker}` }],
    ['/v1/nodes', { authorization: `Basic ${part(`user:${marker}`)}` }],
    ['/v1/nodes', { authorization: marker }],
    ['/v1/nodes', { authorization: `Bearer ${marker.repeat(500)}` }],
    ['/v1/nodes', { 'x-api-key': marker }],
    ['/v1/nodes', { authorization: `Bearer ${marker}-an-api-key-that-is-good` }],
    [`/v1/nodes?api_key=${marker}`, { authorization: `Bearer ${key}` }],
    [`/v1/connect?token=${marker}`, {}],
    [`/v1/nothing?token=${marker}`, {}],
  ]
  for (const [path, headers] of asked) {
    const response = await fetch(node.http + path, { headers })
    const said: string[] = []
    response.headers.forEach((value, name) => { said.push(`${name}: ${value}`) })
    heard.push([path, `${said.join('\n')} ${await response.text()}`])
  }
  const raw = connect({ host: '127.0.0.1', port: node.httpPort })
  t.teardown(() => { raw.destroy() })
  let rawText = ''
  raw.setEncoding('latin1').on('error', () => {}).on('data', (text: string) => { rawText += text })
  raw.write(`GET /v1/nodes HTTP/1.1\r\nHost: x\r\nAuthorization Bearer ${marker}\r\n\r\n`)
  await until('it is answered', () => raw.closed)
  heard.push(['a request that is none', rawText])

  const historyOf = async () => (await node.request('GET', '/v1/connections?userId=ann')).text.trim().split('\n')
  await until('all ends are in the history', async () => (await historyOf()).length >= opened)
  for (const path of [
    '/metrics', '/v1/health', '/readyz', '/v1/nodes', '/v1/connections?userId=ann', '/v1/users/ann/state', '/v1/users/ann/bans',
    '/v1/users/ann/presence', '/v1/lag',
  ]) heard.push([path, (await node.request('GET', path)).text])
  for (const line of await historyOf()) {
    const { connectionId } = JSON.parse(line) as { connectionId: string }
    heard.push(['trace', (await node.request('GET', `/v1/users/ann/trace?connectionId=${connectionId}`)).text])
  }
  await node.stop()

  const tellsIt = (text: string) => fragments.some(fragment => text.includes(fragment))
  for (const [what, text] of heard) t.notOk(tellsIt(text), `${what.slice(0, 100)} is answered without it`)
  t.ok(logged.length > 0)
  t.strictSame(logged.filter(tellsIt), [], 'the log is without it')
  for (const file of await readdir(dataDir, { recursive: true, withFileTypes: true })) {
    if (!file.isFile()) continue
    t.notOk(tellsIt(await readFile(join(file.parentPath, file.name), 'latin1')), `${file.name} is without it`)
  }
})
