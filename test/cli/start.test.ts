import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import t from 'tap'
import type { Test } from 'tap'
import { findPort } from '../cluster/server-process.js'
import { run, start } from './given.js'

const otherSecret = 'a secret that no other node has: 32 bytes'

/** A whole gateway on free ports, in a process of its own. */
async function givenNode (t: Test) {
  const cwd = t.testdir()
  const child = start(['start', '--http-port', '0', '--tcp-port', '0', '--node-id', 'n1'], { cwd })
  t.teardown(() => child.kill('SIGKILL'))
  const logs: any[] = []
  const lines = createInterface({ input: child.stdout })
  lines.on('line', line => logs.push(JSON.parse(line)))
  child.stderr.pipe(process.stderr)
  while (!logs.some(({ msg }) => msg === 'ready')) await once(lines, 'line')
  const ready = logs.find(({ msg }) => msg === 'ready')
  return { child, cwd, lines, logs, ready, place: { cwd, env: { LEDGERLINE_URL: ready.http as string } } }
}

async function exitCode (child: ChildProcess) {
  if (!ended(child)) await once(child, 'exit')
  return child.exitCode
}

function ended ({ exitCode, signalCode }: ChildProcess): boolean { return exitCode !== null || signalCode !== null }

t.test('A node', async t => {
  t.test('says once that it is ready, and where', async t => {
    const { child, logs, ready } = await givenNode(t)
    t.match(ready, { http: /^http:\/\/127\.0\.0\.1:\d+$/, tcp: /^tcp:\/\/127\.0\.0\.1:\d+$/, nodeId: 'n1', pid: child.pid })
    t.equal(logs.filter(({ msg }) => msg === 'ready').length, 1)
  })

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    t.test(`stops and exits with 0 after ${signal}`, async t => {
      const { child } = await givenNode(t)
      child.kill(signal)
      t.equal(await exitCode(child), 0)
    })
  }

  t.test('goes on after SIGHUP where it watches no file', async t => {
    const { child, lines, logs, place } = await givenNode(t)
    child.kill('SIGHUP')
    while (!logs.some(({ signal }) => signal === 'SIGHUP') && !ended(child)) await Promise.race([once(lines, 'line'), once(child, 'exit')])
    t.match(logs.at(-1), { level: 30, signal: 'SIGHUP', msg: 'files that are watched are read again' })
    t.equal((await fetch(`${place.env.LEDGERLINE_URL}/healthz`)).status, 200)
    child.kill('SIGTERM')
    t.equal(await exitCode(child), 0)
  })

  t.test('exits with 1 and one line when its port is taken', async t => {
    const { ready } = await givenNode(t)
    for (const taken of ['http', 'tcp', 'api']) {
      const cwd = t.testdir()
      const ports = ['--http-port', '0', '--tcp-port', '0', `--${taken}-port`, new URL(ready[taken] ?? ready['http']).port]
      const { code, stderr, lines } = await run(['start', ...ports], { cwd })
      t.equal(code, 1)
      t.match(stderr, new RegExp(`^ledgerline: [A-Z_]+ \\(--${taken}-port\\): port \\d+ of 127.0.0.1 is in use.*\n$`))
      t.match(lines.map(line => JSON.parse(line)), [{ level: 60, msg: 'start failed', reason: /in use/ }], 'once')
      t.notMatch(lines.join(), /stack/)
      t.strictSame(readdirSync(cwd), [], 'writes nothing')
    }
  })

  t.test('exits with 2 and one line when two of its ports are the same', async t => {
    const port = `${await findPort()}`
    const cwd = t.testdir()
    const { code, stderr } = await run(['start', '--http-port', port, '--tcp-port', '0', '--api-port', port], { cwd })
    t.equal(code, 2)
    t.match(stderr, /^ledgerline: LEDGERLINE_API_PORT: got \d+ .* than LEDGERLINE_HTTP_PORT, .*\n$/)
    t.strictSame(readdirSync(cwd), [], 'writes nothing')
  })

  t.test('exits with 2 and one line on a Node that is too old, before it imports what that one lacks', async t => {
    const older = 'Object.defineProperty(process, "versions", { value: { ...process.versions, node: "20.10.0" } })'
    const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(older)}` }
    const { code, stdout, stderr } = await run(['start'], { cwd: t.testdir(), env })
    t.equal(code, 2)
    t.equal(stdout, '')
    t.match(stderr, /^ledgerline: this is Node\.js 20\.10\.0, want \d+\.\d+ or newer\n$/)
    const first = readFileSync(new URL('../../cli/ledgerline.js', import.meta.url), 'utf8')
    t.strictSame(first.match(/^import .*$/gm), ['import { readFileSync } from \'node:fs\';'])
  })

  t.test('exits with 2 when its address is none of this machine', async t => {
    const cwd = t.testdir()
    const { code, stderr } = await run(['start', '--host', '192.0.2.7'], { cwd })
    t.equal(code, 2)
    t.match(stderr, /^ledgerline: LEDGERLINE_HOST \(--host\): 192\.0\.2\.7 is no address of this machine .*\n$/)
    const ports = ['--http-port', '0', '--tcp-port', '0', '--api-port', '0']
    const api = await run(['start', ...ports, '--api-host', '192.0.2.7'], { cwd })
    t.equal(api.code, 2)
    t.match(api.stderr, /^ledgerline: LEDGERLINE_API_HOST \(--api-host\): 192\.0\.2\.7 is no address of this machine .*\n$/)
    t.strictSame(readdirSync(cwd), [])
  })

  t.test('exits with 2 when its data directory is another program\'s, and writes nothing into it', async t => {
    const cwd = t.testdir({ data: { 'data.mdb': 'x', 'lock.mdb': '' } })
    const { code, stderr } = await run(['start', '--http-port', '0', '--tcp-port', '0'], { cwd })
    t.equal(code, 2)
    t.match(stderr, /^ledgerline: LEDGERLINE_DATA \(--data\): .*\/data: got a directory with data\.mdb in it .*\n$/)
    t.strictSame(readdirSync(join(cwd, 'data')).sort(), ['data.mdb', 'lock.mdb'])
  })

  t.test('exits with 2 when its data directory has another number of partitions, before any uplink', async t => {
    const cwd = t.testdir()
    const ports = ['--http-port', '0', '--tcp-port', '0']
    const first = start(['start', ...ports, '--partitions', '8'], { cwd })
    t.teardown(() => first.kill('SIGKILL'))
    first.stdout.setEncoding('utf8')
    for await (const chunk of first.stdout) if (chunk.includes('"msg":"ready"')) break
    first.kill('SIGKILL')
    await exitCode(first)
    const { code, stderr, lines } = await run(['start', ...ports, '--partitions', '4'], { cwd })
    t.equal(code, 2)
    t.match(stderr, /^ledgerline: LEDGERLINE_PARTITIONS \(--partitions\): got 4, want 8, as the stream \w+ in this data .*\n$/)
    t.match(lines.map(line => JSON.parse(line)), [{ level: 60, msg: 'start failed', reason: /want 8/ }], 'once')
  })

  t.test('exits with 2 when its data directory cannot be made', async t => {
    const cwd = t.testdir({ file: '' })
    const { code, stderr } = await run(['start', '--http-port', '0', '--tcp-port', '0', '--data', join('file', 'data')], { cwd })
    t.equal(code, 2)
    t.match(stderr, /^ledgerline: LEDGERLINE_DATA \(--data\): got ".*", want a directory that this user may write/)
  })

  t.test('refuses a data directory on a file system that takes none', { skip: process.platform !== 'linux' }, async t => {
    const args = ['start', '--http-port', '0', '--tcp-port', '0', '--data', '/proc/nowhere/data']
    t.match(await run(args, { cwd: t.testdir() }), { code: 2, stderr: /"\/proc\/nowhere\/data", want a directory/ })
  })
})

t.test('A conversation', async t => {
  for (const transport of ['ws', 'tcp']) {
    t.test(`goes both ways over ${transport}`, async t => {
      const { place, ready } = await givenNode(t)
      const client = start(['connect', 'ann', '--transport', transport, '--json'], place)
      t.teardown(() => client.kill('SIGKILL'))
      const events = createInterface({ input: client.stdout })[Symbol.asyncIterator]()
      const next = async () => JSON.parse((await events.next()).value)
      const endpoint = transport === 'tcp' ? ready.tcp : `${ready.http.replace('http', 'ws')}/v1/connect`
      t.match(await next(), { event: 'connected', userId: 'ann', nodeId: 'n1', resumed: false, endpoint })

      client.stdin.write('hello\n')
      t.match(await next(), { event: 'ack', seq: 1, userSeq: 1 })
      t.equal((await run(['push', 'ann', 'welcome', '--message-id', 'm1'], place)).code, 0)
      t.match(await next(), { event: 'downlink', seq: 1, messageId: 'm1', payload: 'welcome' })
      t.equal((await run(['push', 'ann', 'now', '--signal', '--service', 's'], place)).code, 0)
      t.match(await next(), { event: 'signal', service: 's', payload: 'now' })

      client.stdin.end('bye\n')
      t.match(await next(), { event: 'ack', seq: 2, userSeq: 2 })
      t.equal(await exitCode(client), 0)
      const { lines } = await run(['uplinks', '--json'], place)
      t.match(lines.map(line => JSON.parse(line)), [{ userSeq: 1, payload: 'hello' }, { userSeq: 2, payload: 'bye' }])
    })
  }

  t.test('is followed line by line until it is interrupted', async t => {
    const { place } = await givenNode(t)
    const follower = start(['uplinks', '--follow', '--json'], place)
    t.teardown(() => follower.kill('SIGKILL'))
    const lines = createInterface({ input: follower.stdout })[Symbol.asyncIterator]()
    await run(['connect', 'ann'], { ...place, input: 'one\ntwo\n' })
    const next = async () => JSON.parse((await lines.next()).value)
    t.match([await next(), await next()], [{ payload: 'one' }, { payload: 'two' }])
    follower.kill('SIGINT')
    t.equal(await exitCode(follower), 0)
  })

  t.test('goes on after the gateway was killed and started again', async t => {
    const { child, cwd, place, ready } = await givenNode(t)
    const client = start(['connect', 'ann', '--transport', 'tcp', '--json'], place)
    t.teardown(() => client.kill('SIGKILL'))
    const events = createInterface({ input: client.stdout })[Symbol.asyncIterator]()
    const until = async (event: string) => {
      for (let each; ;) if ((each = JSON.parse((await events.next()).value)).event === event) return each
    }
    client.stdin.write('before\n')
    await until('ack')
    child.kill('SIGKILL')
    await until('disconnected')
    client.stdin.write('meanwhile\n')
    const ports = ['--http-port', new URL(ready.http).port, '--tcp-port', new URL(ready.tcp).port]
    const again = start(['start', '--node-id', 'n1', ...ports], { cwd })
    t.teardown(() => again.kill('SIGKILL'))
    t.match(await until('connected'), { resumed: true, uplinkSeq: 1 })
    t.match(await until('ack'), { seq: 2, userSeq: 2 })
    client.stdin.end()
    t.equal(await exitCode(client), 0)
  })

  t.test('is told by the node that begins next in its data directory, under whatever name, that it was killed', async t => {
    const { child, cwd, place } = await givenNode(t)
    const client = start(['connect', 'ann', '--json'], place)
    t.teardown(() => client.kill('SIGKILL'))
    await once(client.stdout, 'data')
    child.kill('SIGKILL')
    await exitCode(child)
    const next = start(['start', '--http-port', '0', '--tcp-port', '0', '--node-id', 'n2'], { cwd })
    t.teardown(() => next.kill('SIGKILL'))
    await once(createInterface({ input: next.stdout }), 'line')
    next.kill('SIGTERM')
    t.equal(await exitCode(next), 0)
    const { code, stdout } = await run(['audit'], { cwd })
    t.equal(code, 0, stdout)
    t.match(stdout, /lost +1$/m)
  })

  t.test('ends with 1 when the client is kicked', async t => {
    const { place } = await givenNode(t)
    const first = start(['connect', 'ann', '--json'], place)
    t.teardown(() => first.kill('SIGKILL'))
    await once(first.stdout, 'data')
    await run(['connect', 'ann'], { ...place, input: '' })
    t.equal(await exitCode(first), 1)
  })

  t.test('is refused with a token of another secret', async t => {
    const { place } = await givenNode(t)
    const { stdout } = await run(['token', 'ann'], { ...place, env: { ...place.env, LEDGERLINE_JWT_SECRET: otherSecret } })
    const { code, stderr } = await run(['connect', 'ann', '--token', stdout.trim()], { ...place, input: 'hello\n' })
    t.equal(code, 1)
    t.match(stderr, /^ledgerline: bad-token: .*\n$/)
  })
})
