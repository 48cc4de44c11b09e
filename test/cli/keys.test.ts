import { chmodSync, existsSync, lstatSync, readFileSync, readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { digestOf } from '../../gateway/keys/key-file.js'
import { startTestNode, until } from '../gateway/node.js'
import { run } from './given.js'

/** A directory of the test's own, and `ledgerline keys` on a file in it. */
function givenKeys (t: Test) {
  const cwd = t.testdir()
  const path = join(cwd, 'keys.json')
  const keys = (...args: string[]) => run(['keys', ...args], { cwd, env: { LEDGERLINE_API_KEYS_FILE: path } })
  const stored = () => JSON.parse(readFileSync(path, 'utf8')).keys as Array<Record<string, any>>
  const create = async (...more: string[]) => (await keys('create', '--name', 'orders', '--scopes', 'push', ...more)).stdout.trim()
  return { cwd, path, keys, stored, create }
}

t.test('keys create', async t => {
  t.test('prints the key alone, once, and stores its digest for its owner only', async t => {
    const { cwd, path, keys, stored } = givenKeys(t)
    const { code, stdout, stderr } = await keys('create', '--name', 'orders', '--scopes', 'read,push')
    t.equal(code, 0)
    t.match(stdout, /^ll_[0-9a-f]{10}_[\w-]{43}\n$/)
    const key = stdout.trim()
    t.match(stored(), [{ id: key.split('_')[1], name: 'orders', scopes: ['push', 'read'], sha256: digestOf(key).toString('hex') }])
    t.match(stderr, /^ledgerline: key [0-9a-f]{10} for orders: push, read\. .*keep it now\.\n$/)
    t.equal(statSync(path).mode & 0o777, 0o600)
    t.strictSame(readdirSync(cwd), ['keys.json'], 'nothing else is left')
    t.notOk(stderr.includes(key.slice(14)))
    t.notOk(readFileSync(path, 'utf8').includes(key.slice(14)))
  })

  t.test('takes quotas, an expiry, and a file by name', async t => {
    const { cwd, path, stored } = givenKeys(t)
    const { code, stdout } = await run([
      'keys', 'create', '--file', 'keys.json', '--name', 'a', '--scopes', 'operate', '--expires', '2d',
      '--requests-per-second', '5', '--recipients-per-second', '700', '--json',
    ], { cwd })
    t.equal(code, 0)
    const printed = JSON.parse(stdout)
    t.match(printed, { key: /^ll_/, name: 'a', scopes: ['operate'], state: 'good', requestsPerSecond: 5 })
    t.notOk('sha256' in printed)
    const [key] = stored()
    t.match(key, { requestsPerSecond: 5, recipientsPerSecond: 700 })
    t.equal(Date.parse(key!['expiresAt']) - Date.parse(key!['createdAt']) - 2 * 86_400_000 < 60_000, true)
    t.ok(existsSync(path))
  })

  t.test('of an app go into the file that the list of apps names', async t => {
    const { cwd, path, stored } = givenKeys(t)
    const apps = [
      { name: 'shop', issuers: [{ issuer: 'shop', secret: 'a secret of the shop, and of nobody else' }], apiKeysFile: 'keys.json' },
      { name: 'bank', issuers: [{ issuer: 'bank', secret: 'a secret of the bank, and of nobody else' }] },
    ]
    const env = { LEDGERLINE_APPS: JSON.stringify(apps) }
    const create = (...more: string[]) => run(['keys', 'create', '--name', 'a', '--scopes', 'push', ...more], { cwd, env })
    t.equal((await create('--app', 'shop')).code, 0)
    t.match(stored(), [{ name: 'a', scopes: ['push'] }])
    for (const [app, message] of [['bank', /has no apiKeysFile of it/], ['none', /has no such app/], ['Shop', /want 1 to 32 of a-z/]] as const) {
      const { code, stderr } = await create('--app', app)
      t.equal(code, 2, app)
      t.match(stderr, message)
    }
    t.equal((await create('--app', 'shop', '--file', path)).code, 2, 'one file')
    t.equal(stored().length, 1)
  })

  t.test('keeps what is there, its mode, and the file that a link names', async t => {
    const { cwd, path, create, stored } = givenKeys(t)
    const real = join(cwd, 'real.json')
    writeFileSync(real, '{"keys":[]}')
    chmodSync(real, 0o640)
    symlinkSync(real, path)
    await create()
    await create()
    t.equal(stored().length, 2)
    t.equal(statSync(real).mode & 0o777, 0o640)
    t.ok(lstatSync(path).isSymbolicLink())
  })

  t.test('loses none when several are made at a time', async t => {
    const { create, stored } = givenKeys(t)
    const keys = await Promise.all(Array.from({ length: 4 }, () => create()))
    t.strictSame(stored().map(({ id }) => id).sort(), keys.map(key => key.split('_')[1]).sort())
  })

  for (const [args, message] of [
    [['create', '--scopes', 'push'], /required option '--name <name>'/],
    [['create', '--name', 'a'], /required option '--scopes <list>'/],
    [['create', '--name', 'a', '--scopes', 'root'], /Want some of push, read, operate, admin/],
    [['create', '--name', 'a', '--scopes', ','], /Want some of push/],
    [['create', '--name', 'a\u0007', '--scopes', 'push'], /Want 1 to 128 bytes of text/],
    [['create', '--name', 'a', '--scopes', 'push', '--expires', '2020-01-01T00:00:00Z'], /Want a duration such as 90d, or a time to come/],
    [['create', '--name', 'a', '--scopes', 'push', '--expires', 'soon'], /Want a duration/],
    [['create', '--name', 'a', '--scopes', 'push', '--requests-per-second', '0'], /Want a number from 1/],
    [['make'], /unknown command 'make'/],
    [[], /Usage: ledgerline keys/],
  ] as Array<[string[], RegExp]>) {
    t.test(`exits with 2 after ${JSON.stringify(args)}, and makes no file`, async t => {
      const { cwd, keys } = givenKeys(t)
      const { code, stdout, stderr } = await keys(...args)
      t.equal(code, 2)
      t.match(stderr, message)
      t.equal(stdout, '')
      t.strictSame(readdirSync(cwd), [])
    })
  }

  t.test('touches no file that is wrong, and says what it wants to know', async t => {
    const { path, keys } = givenKeys(t)
    writeFileSync(path, '{"keys":[{}]}')
    t.match(await keys('create', '--name', 'a', '--scopes', 'push'), { code: 2, stdout: '', stderr: /keys.json: keys\/0: want "id"/ })
    t.equal(readFileSync(path, 'utf8'), '{"keys":[{}]}')
    t.notOk(existsSync(`${path}.new`))
    const none = await run(['keys', 'list'], { cwd: t.testdir() })
    t.match(none, { code: 2, stderr: /which file\? give --file or LEDGERLINE_API_KEYS_FILE/ })
    const elsewhere = await run(['keys', 'create', '--file', 'no/such/dir', '--name', 'a', '--scopes', 'push'], { cwd: t.testdir() })
    t.match(elsewhere, { code: 1, stdout: '', stderr: /can not be written \(ENOENT\)/ })
  })
})

t.test('keys list', async t => {
  t.test('shows what there is to know, and nothing to use a key by', async t => {
    const { keys, create, stored } = givenKeys(t)
    const key = await create('--requests-per-second', '7')
    await create()
    const { code, stdout, lines } = await keys('list')
    t.equal(code, 0)
    t.match(lines, [/^id +name +scopes +state/, new RegExp(`^${key.split('_')[1]} +orders +push +good +7 +-`), /orders/])
    const json = await keys('list', '--json')
    t.match(JSON.parse(json.stdout), [{ name: 'orders', state: 'good', requestsPerSecond: 7 }, {}])
    for (const { sha256 } of stored()) t.notOk(`${stdout}${json.stdout}`.includes(sha256))
    t.notOk(`${stdout}${json.stdout}`.includes(key.slice(14)))
  })

  t.test('says that there are none, and that there is no file', async t => {
    const { path, keys } = givenKeys(t)
    t.match(await keys('list'), { code: 1, stderr: /keys.json can not be read \(ENOENT\)/ })
    writeFileSync(path, '{"keys":[]}')
    t.match(await keys('list'), { code: 0, stdout: 'there are no keys\n' })
  })
})

t.test('keys revoke', async t => {
  t.test('marks one by its id or by itself, and again tells since when', async t => {
    const { keys, create, stored } = givenKeys(t)
    const [first, second] = [await create(), await create()]
    const { code, stdout } = await keys('revoke', first!.split('_')[1]!)
    t.equal(code, 0)
    const [{ revokedAt }] = stored() as [{ revokedAt: string }]
    t.match(stdout, `is revoked since ${revokedAt}`)
    t.match(await keys('revoke', first!), { code: 0, stdout: new RegExp(`is revoked since ${revokedAt}`) })
    t.equal(stored()[1]!['revokedAt'], undefined)
    await keys('revoke', second!)
    t.match((await keys('list')).lines.slice(1), [/revoked/, /revoked/])
  })

  t.test('knows no other id, and makes no file', async t => {
    const { cwd, keys, create } = givenKeys(t)
    t.match(await keys('revoke', 'abcd'), { code: 1, stderr: /can not be read/ })
    t.strictSame(readdirSync(cwd), [])
    await create()
    t.match(await keys('revoke', 'abcd'), { code: 1, stdout: '', stderr: /no key of .* has the id abcd/ })
    t.strictSame(readdirSync(cwd), ['keys.json'])
  })
})

t.test('A running gateway takes a key that is made, and refuses it when it is revoked', async t => {
  const { path, keys, create } = givenKeys(t)
  const first = await create()
  const node = await startTestNode(t, { LEDGERLINE_API_KEYS_FILE: path })
  const statusWith = async (key: string) => (await fetch(`${node.http}/v1/downlinks`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ to: { userIds: ['ann'] }, payload: 'hi' }),
  })).status
  t.equal(await statusWith(first), 202)
  const second = await create()
  await until('the second one is taken', async () => await statusWith(second) === 202)
  t.equal(await statusWith(first), 202, 'both are good')
  await keys('revoke', first)
  await until('the first one is refused', async () => await statusWith(first) === 401)
  t.equal(await statusWith(second), 202)
})
