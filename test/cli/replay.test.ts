import { fileURLToPath } from 'node:url'
import t from 'tap'
import { closed, opened, reported, requested, uplink } from '../actors/user/history.js'
import { StoredLog } from '../evidence/stored-log.js'
import { run } from './given.js'

const dist = fileURLToPath(new URL('../..', import.meta.url))

t.test('replay, on the directory of a stopped gateway,', async t => {
  const stored = await StoredLog.open(t)
  await stored.at(1_000, 'ann', opened('c1'))
  await stored.at(2_000, 'ann', requested('m1'), uplink('c1', 1))
  await stored.at(3_000, 'ann', reported('c1', 1), closed('c1', { ackedSeq: 1 }), opened('c2', { deviceId: 'pc', sessionId: 's2' }))
  await stored.close()
  const place = { cwd: stored.directory, env: { LEDGERLINE_DATA: stored.directory } }
  const ledgerline = async (...args: string[]) => await run(args, place)
  const json = async (...args: string[]) => JSON.parse((await ledgerline(...args, '--json')).stdout)

  t.test('ends with 1 where something differs', async t => {
    const { code, stdout } = await ledgerline('replay')
    t.equal(code, 1)
    t.match(stdout, /\n1 are missing, 0 different, 0 without an entry\n {2}missing {2}ann #1 {2}\d@2\.0/)
  })
  t.test('ends with 0 where nothing does', async t => {
    const { code, stdout } = await ledgerline('replay', '--fold', dist)
    t.strictSame({ code, stdout }, { code: 0, stdout: '6 entries of 1 users: both folds answer the same\n' })
    t.match(await json('replay', '--user', 'bob'), { entries: 0, missing: 0 })
  })
  t.test('tries another policy', async t => {
    const { code, stdout } = await ledgerline('replay', '--policy', 'loginPolicy=user', 'frameRate=1')
    t.equal(code, 0)
    t.match(stdout, /\n {2}connections kicked by login policy: 0, recorded 0\n/)
    t.match(await json('replay', '--policy', 'ttlMs=5'), { entries: 6, downlinksExpired: { policy: 0 } })
  })
  for (const args of [['--policy', 'ttlMs=x'], ['--fold', 'nowhere'], ['--fold', dist, '--policy', 'ttlMs=1'], ['--since', 'x']]) {
    t.test(`refuses ${args.slice(0, 1)} ${args.slice(-1)}`, async t => {
      const { code, stderr } = await ledgerline('replay', ...args)
      t.equal(code, 2)
      t.match(stderr, /^ledgerline: .*want/)
    })
  }
})
