import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import { decodeJwt, jwtVerify } from 'jose'
import t from 'tap'
import type { Test } from 'tap'
import type { HttpDeps } from '../../gateway/http/server.js'
import { embeddedLog } from '../../ledger/embedded/log.js'
import { openStore } from '../../ledger/embedded/store.js'
import { streams } from '../../ledger/streams.js'
import { downlinksRejected, ledger } from '../../schemas/streams.js'
import { at, opened, reported, requested, uplink } from '../actors/user/history.js'
import { givenApp, givenUplinks, uplink as givenUplink } from '../gateway/http/given.js'
import { run } from './given.js'

const otherSecret = 'a secret that no other node has: 32 bytes'

/** A gateway's HTTP side, and a data directory with its secrets. */
async function givenGateway (t: Test, deps: Partial<HttpDeps> = {}) {
  const { app, asked } = givenApp(t, deps)
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const cwd = t.testdir({ data: { 'api-key': 'key-one-of-the-tests\n', 'jwt-secret': 'secret\n' } })
  return { asked, place: { cwd, env: { LEDGERLINE_URL: url } }, url }
}

t.test('token', async t => {
  t.test('is signed with the secret of the data directory', async t => {
    const { place } = await givenGateway(t)
    const { code, stdout } = await run(['token', 'ann'], place)
    t.equal(code, 0)
    const { payload } = await jwtVerify(stdout.trim(), Buffer.from('secret'), { algorithms: ['HS256'] })
    t.match(payload, { sub: 'ann' })
    t.notOk('dev' in payload)
    t.ok(Math.abs(payload.exp! - Date.now() / 1000 - 30 * 86_400) < 60)
  })

  t.test('is good for one device and for as long as it is told', async t => {
    const { place } = await givenGateway(t)
    const { stdout } = await run(['token', 'ann', '--device', 'phone', '--ttl', '1h', '--json'], place)
    const answer = JSON.parse(stdout)
    t.match(answer, { userId: 'ann', deviceId: 'phone' })
    t.match(decodeJwt(answer.token), { sub: 'ann', dev: 'phone', exp: answer.expiresAtMs / 1000 })
    t.ok(Math.abs(answer.expiresAtMs - Date.now() - 3_600_000) < 60_000)
  })

  t.test('is good for the rooms that it is told', async t => {
    const { place } = await givenGateway(t)
    const rooms = { 'chat:*': 'rw', 'a=b': 'r' }
    for (const given of ['chat:*=rw,a=b=r', JSON.stringify(rooms)]) {
      const { stdout } = await run(['token', 'ann', '--rooms', given], place)
      t.strictSame(decodeJwt(stdout.trim())['rooms'], rooms)
    }
    const { stdout } = await run(['token', 'ann'], place)
    t.notOk('rooms' in decodeJwt(stdout.trim()))
  })

  t.test('is signed with the secret of the environment first, for its audience', async t => {
    const { place } = await givenGateway(t)
    const env = { ...place.env, LEDGERLINE_JWT_SECRET: otherSecret, LEDGERLINE_JWT_AUDIENCE: 'us' }
    const { stdout } = await run(['token', 'ann'], { ...place, env })
    await jwtVerify(stdout.trim(), Buffer.from(otherSecret), { audience: 'us' })
    const more = { ...env, LEDGERLINE_JWT_AUDIENCE: 'us,them', LEDGERLINE_JWT_ISSUER: 'a,b', LEDGERLINE_JWT_USER_CLAIM: 'uid' }
    const { stdout: second } = await run(['token', 'ann'], { ...place, env: more })
    const { payload } = await jwtVerify(second.trim(), Buffer.from(otherSecret), { audience: 'us', issuer: 'a' })
    t.match(payload, { uid: 'ann', sub: undefined })
  })

  t.test('is none where others hold the keys', async t => {
    for (const variable of ['LEDGERLINE_JWKS_URL', 'LEDGERLINE_JWT_ISSUERS']) {
      const { code, stderr } = await run(['token', 'ann'], { cwd: t.testdir(), env: { [variable]: 'https://a/b' } })
      t.equal(code, 1)
      t.match(stderr, `${variable} is set: tokens come from whoever holds those keys`)
    }
  })

  t.test('says to start the gateway first where there is no secret', async t => {
    const { code, stderr, stdout } = await run(['token', 'ann'], { cwd: t.testdir() })
    t.equal(code, 1)
    t.match(stderr, /^ledgerline: no secret to sign with: start a gateway \(node .* start\).*\n$/)
    t.equal(stdout, '')
  })
})

t.test('push', async t => {
  t.test('hands on what it is told', async t => {
    const { asked, place } = await givenGateway(t)
    const args = ['push', 'ann', 'hi', '--service', 'chat', '--ttl', '2h', '--message-id', 'm1', '--signal']
    const { code, stdout } = await run(args, place)
    t.equal(code, 0)
    t.match(stdout, /^queued for ann at 3@1021\.4, message m1\n$/)
    t.match(asked.commands, [{
      userIds: ['ann'], payload: Buffer.from('hi'), service: 'chat', ttlMs: 7_200_000, messageId: 'm1', delivery: 'signal',
    }])
  })

  t.test('prints the answer as JSON', async t => {
    const { place } = await givenGateway(t)
    const { lines } = await run(['push', 'ann', 'hi', '--message-id', 'm1', '--json'], place)
    t.strictSame(lines.map(line => JSON.parse(line)),
      [{ messageId: 'm1', users: [{ userId: 'ann', status: 'queued', position: '3@1021.4' }] }])
  })

  t.test('fails when it is rejected', async t => {
    const { place } = await givenGateway(t)
    const { code, stderr } = await run(['push', 'banned', 'hi'], place)
    t.equal(code, 1)
    t.equal(stderr, 'ledgerline: rejected: banned\n')
  })

  t.test('fails with what the gateway says', async t => {
    const { place } = await givenGateway(t)
    const { code, stderr } = await run(['push', 'ann', 'a'.repeat(2000)], place)
    t.equal(code, 1)
    t.match(stderr, /^ledgerline: the gateway refuses: .*1024 are the bound \(payload-too-large\)\n$/)
  })

  t.test('fails without a key, and says where to get one', async t => {
    const { place } = await givenGateway(t)
    const { code, stderr } = await run(['push', 'ann', 'hi', '--data', 'elsewhere'], place)
    t.equal(code, 1)
    t.match(stderr, /wants an API key: give --api-key/)
    t.equal((await run(['push', 'ann', 'hi', '--data', 'elsewhere', '--api-key', 'key-two-of-the-tests'], place)).code, 0)
  })

  t.test('says how to start a gateway where there is none', async t => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    server.close()
    await once(server, 'close')
    for (const args of [['push', 'ann', 'hi'], ['uplinks'], ['connect', 'ann']]) {
      const { code, stderr } = await run([...args, '--url', url], { cwd: t.testdir() })
      t.equal(code, 1)
      t.match(stderr, /^ledgerline: no gateway at http:.*; start one with "node .* start", or name another with --url\n$/)
    }
  })
})

t.test('uplinks', async t => {
  const chat = { service: 'chat', payload: Buffer.from('hi\x1b[2J') }
  const uplinks = () => givenUplinks([[[givenUplink('ann', 1), givenUplink('ann', 2, chat)]]])

  t.test('prints one a line, and no control character', async t => {
    const { place } = await givenGateway(t, { logReader: uplinks().log })
    const { code, lines } = await run(['uplinks'], place)
    t.equal(code, 0)
    t.strictSame(lines, [
      '2023-11-14T22:13:20.000Z ann/phone #1 ann 1',
      '2023-11-14T22:13:20.000Z ann/phone #2 [chat] hi\\u001b[2J',
    ])
  })

  t.test('prints NDJSON, goes on after a cursor, and filters', async t => {
    const { place } = await givenGateway(t, { logReader: uplinks().log })
    const all = (await run(['uplinks', '--json'], place)).lines.map(line => JSON.parse(line))
    t.match(all, [{ userSeq: 1 }, { userSeq: 2 }])
    const after = (await run(['uplinks', '--json', '--after', all[0].cursor], place)).lines
    t.match(after.map(line => JSON.parse(line)), [{ userSeq: 2 }])
    const filtered = (await run(['uplinks', '--json', '--service', 'chat'], place)).lines
    t.match(filtered.map(line => JSON.parse(line)), [{ userSeq: 2 }])
  })

  t.test('fails with what is wrong with a cursor', async t => {
    const { place } = await givenGateway(t)
    const { code, stderr } = await run(['uplinks', '--after', 'nonsense'], place)
    t.equal(code, 2)
    t.match(stderr, /a cursor that this gateway gave out for uplinks \(bad-request\)\n$/)
  })
})

t.test('trace', async t => {
  async function givenLog (t: Test) {
    const cwd = t.testdir()
    const store = await openStore({ directory: join(cwd, 'data') })
    const log = embeddedLog(store, { partitions: 1 })
    const facts = [opened('c1'), requested('m1'), reported('c1', 0, 1), uplink('c1', 1)]
    for (const [i, fact] of facts.entries()) await log.append(ledger, 0, [at(1_000 * i, fact)])
    const close = async () => {
      await log.close()
      await store.close()
    }
    return { cwd, log, close }
  }

  /** The data directory of a node that has stopped. */
  async function givenDirectory (t: Test) {
    const { cwd, close } = await givenLog(t)
    await close()
    return { cwd }
  }

  t.test('prints the steps and the verdict', async t => {
    const { code, stdout, stderr } = await run(['trace', 'ann', '--message', 'm1', '--until', '0@2'], await givenDirectory(t))
    t.equal(code, 0, stderr)
    const [requested, sent, written, empty, verdict, codes] = stdout.split('\n')
    t.match(requested, /^1970-01-01T00:00:01\.000Z +\+0 ms +0@1\.0 +requested/)
    t.match(sent, /\+0 ms +0@1\.0 +sent to phone as its 1 {2}c1@n1 {2}\[requested to sent: 0 ms\]$/)
    t.match(written, /\+1000 ms +0@2\.0 +written to phone as its 1 {2}c1@n1 {2}\[sent to written: 1000 ms\]$/)
    t.equal(empty, '')
    t.match(verdict, /^phone: written to connection c1 on n1 at .* never acked; the connection is open\.$/)
    t.equal(codes, '(not-acked)')
  })

  t.test('prints JSON', async t => {
    const { stdout } = await run(['trace', 'ann', '--uplink', 's1:1', '--json'], await givenDirectory(t))
    t.match(JSON.parse(stdout), { userId: 'ann', steps: [{ event: 'received' }, { event: 'accepted' }], verdict: { code: 'unpublished' } })
  })

  t.test('asks a gateway that runs', async t => {
    const { log: logReader, close } = await givenLog(t)
    t.teardown(close)
    const { app } = givenApp(t, { logReader, streams: [...streams, downlinksRejected] })
    const env = { LEDGERLINE_URL: await app.listen({ port: 0, host: '127.0.0.1' }), LEDGERLINE_API_KEYS: 'key-one-of-the-tests' }
    const { code, stdout, stderr } = await run(['trace', 'ann', '--connection', 'c1'], { cwd: t.testdirName, env })
    t.equal(code, 0, stderr)
    t.match(stdout, /connection c1 on n1 of phone is open\. Over it: 1 uplinks received, .*\n\(open\)\n$/)
    const none = await run(['trace', 'ann', '--message', 'other'], { cwd: t.testdirName, env })
    t.match(none, { code: 1, stdout: /^No request with the id other stands in the ledger/ })
  })

  for (const options of [
    ['--message', 'm', '--uplink', 's:1'], ['--uplink', 's'], ['--uplink', 's:0'], ['--message', 'm', '--connection', 'c'],
  ]) {
    t.test(`with ${options.join(' ')} is wrong usage`, async t => {
      const { place } = await givenGateway(t)
      const wanted = /want one of --message ID, --uplink SESSION:SEQ, --connection ID/
      t.match(await run(['trace', 'ann', ...options], place), { code: 2, stderr: wanted })
    })
  }

  t.test('of a range of another partition is wrong usage', async t => {
    const args = ['trace', 'ann', '--message', 'm', '--since', '7@1']
    t.match(await run(args, await givenDirectory(t)), { code: 2, stderr: /since: got a position of partition 7, want one of 0/ })
  })
})
