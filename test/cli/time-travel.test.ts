import t from 'tap'
import type { RedeliveryCommand } from '../../gateway/redelivery.js'
import { joined, posted } from '../actors/rooms/given-room.js'
import { closed, opened, reported, requested, uplink } from '../actors/user/history.js'
import { StoredLog } from '../evidence/stored-log.js'
import { givenApp } from '../gateway/http/given.js'
import { run } from './given.js'

t.test('On the directory of a stopped gateway', async t => {
  const stored = await StoredLog.open(t)
  await stored.at(1_000, 'ann', opened('c1'))
  const sent = await stored.at(2_000, 'ann', requested('m1'), uplink('c1', 1))
  await stored.at(3_000, 'ann', reported('c1', 1), closed('c1', { ackedSeq: 1 }), opened('c2', { deviceId: 'pc', sessionId: 's2' }))
  await stored.room(2_000, 'chat:7', joined('n1', 1), posted('m1'))
  await stored.close()
  const place = { cwd: stored.directory, env: { LEDGERLINE_DATA: stored.directory } }
  const ledgerline = async (...args: string[]) => await run(args, place)
  const json = async (...args: string[]) => JSON.parse((await ledgerline(...args, '--json')).stdout)

  t.test('state', async t => {
    t.test('shows what was known then', async t => {
      const { code, stdout } = await ledgerline('state', 'ann', '--at', sent)
      t.equal(code, 0)
      t.match(stdout, new RegExp(`^ann at ${sent}, as of ${sent}, 1970-01-01 00:00:02.000 UTC\\n`))
      t.match(stdout, /\nuplinks accepted: 1\n/)
      t.match(stdout, /\nphone \(ios\), session s1\n {2}on connection c1, node n1, since 1970-01-01 00:00:01.000 UTC\n/)
      t.match(stdout, /\n {2}uplinks up to 1; downlinks up to 1, acked up to 0, missed 0\n {2}outbox: 1\n {4}#1 {2}m1, 2 bytes/)
      t.match(await json('state', 'ann', '--at', '1970-01-01T00:00:01Z'), { userId: 'ann', userSeq: 0 })
    })
    t.test('shows what changed between two moments', async t => {
      const { code, stdout } = await ledgerline('state', 'ann', '--diff', '1970-01-01T00:00:01Z', '1970-01-02')
      t.equal(code, 0)
      t.match(stdout, /\n~ sessions\.phone\.connectionId {2}"c1" -> ""\n/)
      t.match(stdout, /\n\+ sessions\.pc {2}\{/)
      t.match(stdout, /\n- connections\.c1 {2}\{/)
      t.match(await json('state', 'ann', '--diff', '1s', '1ms'), { from: {}, to: {}, changes: [] })
    })
    for (const args of [['--at', 'yesterday'], ['--at', '7@1'], ['--diff', '1h'], ['--diff', '2h', '1h', '--at', '1h']]) {
      t.test(`refuses ${args.join(' ')}`, async t => {
        const { code, stderr } = await ledgerline('state', 'ann', ...args)
        t.equal(code, 2)
        t.match(stderr, /^ledgerline: .*got .*want/)
      })
    }
  })

  t.test('state and trace of a room', async t => {
    const { code, stdout } = await ledgerline('state', '--room', 'chat:7')
    t.equal(code, 0)
    t.match(stdout, /^chat:7 now, as of \d@\d+\.0, .*\nposts: 1, of which 1 are kept for who joins\n/)
    t.match(stdout, /\nnodes that have members:\n {2}n1 \(epoch 1, interest 1\) since .*; has not told what it gave them/)
    t.match(stdout, /\nkept:\n {2}#1 {2}m1 by business, 2 bytes/)
    t.match(await json('state', '--room', 'chat:7', '--diff', '1970-01-01T00:00:01Z', '1970-01-02'), {
      roomId: 'chat:7', changes: [{ type: 'changed', path: ['roomSeq'] }],
    })
    t.match(await ledgerline('trace', '--room', 'chat:7', '--message', 'm1'), {
      code: 0, stdout: /rooms \d@\d+\.0 .*is post 1 of the room; n1 has members\n[^]*\(unpublished\)\n$/,
    })
    t.match(await ledgerline('trace', '--room', 'chat:7', '--message', 'm9'), { code: 1, stdout: /\(never-posted\)/ })
    t.match(await ledgerline('trace', 'ann', '--room', 'chat:7'), { code: 0, stdout: /\(never-granted\)/ })
    t.match(await ledgerline('state', '--room', 'nowhere'), { code: 1, stderr: /no entry of the stream rooms is of a room nowhere/ })
    const listed = await ledgerline('trace', '--room', 'chat:7')
    t.equal(listed.code, 0)
    t.match(listed.stdout, /^\S+ \S+ UTC {2}\d@\d+\.0 +post 1 of business, 2 bytes\n {4}node \S+ trace --room chat:7 --message m1\n$/)
    t.match(await json('trace', '--room', 'chat:7'), { roomId: 'chat:7', items: [{ messageId: 'm1', roomSeq: 1 }], more: 0 })
    t.match(await ledgerline('trace', '--room', 'nowhere'), {
      code: 1, stdout: 'No entry of the stream rooms is of a room nowhere.\n',
    })
    for (const args of [
      ['state'], ['state', 'ann', '--room', 'r'], ['trace', '--room', 'r', '--since', '1h'], ['trace', '--message', 'm1'],
    ]) {
      t.equal((await ledgerline(...args)).code, 2, args.join(' '))
    }
  })

  t.test('state', async t => {
    t.test('takes now for a moment, and refuses one that has not been', async t => {
      t.equal((await ledgerline('state', 'ann', '--at', 'now')).code, 0)
      for (const args of [['state', 'ann', '--at'], ['presence', '--at'], ['trace', 'ann', '--message', 'm1', '--until']]) {
        t.match(await ledgerline(...args, '2999-01-01'), {
          code: 2, stdout: '', stderr: /got "2999-01-01", which is in the future/,
        })
      }
    })
    t.test('fails for a user whom the ledger does not know', async t => {
      for (const args of [[], ['--at', '1970-01-01T00:00:02Z'], ['--diff', '2h', '1h']]) {
        t.match(await ledgerline('state', 'nobody', ...args), {
          code: 1, stderr: 'ledgerline: no entry of the ledger is of a user nobody\n',
        })
      }
      t.equal((await ledgerline('state', 'ann', '--at', '1970-01-01T00:00:00.500Z')).code, 0, 'but not before its first entry')
    })
  })

  t.test('trace', async t => {
    t.test('fails for what the ledger does not know', async t => {
      t.match(await ledgerline('trace', 'ann', '--message', 'none'), { code: 1, stdout: /No request with the id none/ })
      t.match(await ledgerline('trace', 'ann', '--connection', 'none'), { code: 1, stdout: /No connection none/ })
      t.match(await ledgerline('trace', 'ann', '--uplink', 'none:1'), { code: 1, stdout: /No connection of session none/ })
      t.match(await ledgerline('trace', 'nobody', '--message', 'm1'), { code: 1, stdout: /of a user nobody/ })
      t.equal((await ledgerline('trace', 'ann', '--message', 'm1')).code, 0)
    })
    t.test('without an id lists what there is, newest first, with the commands that trace it', async t => {
      const { code, stdout } = await ledgerline('trace', 'ann')
      t.equal(code, 0)
      const lines = stdout.trimEnd().split('\n')
      const whats = [
        'connection c2 of pc \\(ios\\), open', 'uplink 1 of session s1', 'downlink m1',
        'connection c1 of phone \\(ios\\), disconnected',
      ]
      const wanted = whats.map(what => new RegExp(`^1970-01-01 .* UTC {2}\\d@\\d+\\.\\d +${what}$`))
      t.match(lines.filter((_, i) => i % 2 === 0), wanted)
      for (const line of lines.filter((_, i) => i % 2 === 1)) {
        const [, args] = /^ {4}node \S+ (trace ann .*)$/.exec(line)!
        t.equal((await ledgerline(...args!.split(' '))).code, 0, args!)
      }
      t.match(await json('trace', 'ann', '--limit', '1'), { items: [{ type: 'connection', connectionId: 'c2' }], more: 3 })
      t.match(await ledgerline('trace', 'nobody'), { code: 1, stdout: 'No entry of the ledger is of a user nobody.\n' })
    })
  })

  t.test('presence', async t => {
    t.test('counts who was online then', async t => {
      const { code, stdout } = await ledgerline('presence', '--at', '1970-01-01T00:00:02Z')
      t.equal(code, 0)
      t.match(stdout, /^at 1970-01-01 00:00:02.000 UTC: 1 users online, 1 connections\n/)
      t.match(stdout, /\nby node:\n +1 {2}n1\n/)
      t.match(await json('presence'), { users: 1, byPlatform: { ios: 1 }, nodes: [] })
    })
    t.test('shows one user\'s sessions', async t => {
      t.match((await ledgerline('presence', '--user', 'ann')).stdout, /: online\n {2}pc \(ios\) on connection c2, node n1, tcp/)
      t.match((await ledgerline('presence', '--user', 'bob')).stdout, /: offline, never seen\n/)
    })
    t.test('refuses a position', async t => {
      t.match(await ledgerline('presence', '--at', '1@3'), { code: 2, stderr: /got "1@3", want a time/ })
    })
  })
})

t.test('redeliver', async t => {
  const asked: RedeliveryCommand[] = []
  const { app } = givenApp(t, {
    redeliver: async command => {
      asked.push(command)
      return { requestId: 'r1', redelivered: [{ messageId: 'm2', seq: 2, position: '3@1.0' }], notFound: [3, 4] }
    },
  })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const place = { cwd: t.testdir(), env: { LEDGERLINE_URL: url, LEDGERLINE_API_KEYS: 'key-one-of-the-tests' } }
  const args = ['redeliver', 'ann', '--device', 'phone', '--from', '2', '--to', '4']

  t.test('hands on what it is told, and says what became of it', async t => {
    const { code, stdout } = await run([...args, '--ttl', '1h', '--request-id', 'r1'], place)
    t.equal(code, 0)
    t.equal(stdout, '#2  m2  queued again at 3@1.0\nno downlink is known under 3, 4\nrequest r1\n')
    t.match(asked, [{ userId: 'ann', deviceId: 'phone', fromSeq: 2, toSeq: 4, ttlMs: 3_600_000, requestId: 'r1' }])
    t.match(JSON.parse((await run([...args, '--json'], place)).stdout), { requestId: 'r1', notFound: [3, 4] })
  })
  t.test('takes what the gateway calls a bad request for wrong usage', async t => {
    const { code, stderr } = await run(['redeliver', 'ann', '--device', 'phone', '--from', '2', '--to', '1'], place)
    t.equal(code, 2)
    t.match(stderr, /the gateway refuses: .*want 1 to 1000 downlinks \(bad-request\)/)
  })
  t.test('refuses what is no seq, and lacking options', async t => {
    t.match(await run(['redeliver', 'ann', '--device', 'phone', '--from', '0', '--to', '1'], place), { code: 2 })
    t.match(await run(['redeliver', 'ann', '--from', '1', '--to', '1'], place), { code: 2 })
    t.match(await run(['redeliver', '', ...args.slice(2)], place), { code: 2, stderr: /User id: want 1 to 256 bytes/ })
  })
})
