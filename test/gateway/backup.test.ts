import { existsSync, readdirSync, statSync, writeFileSync, mkdirSync, truncateSync } from 'node:fs'
import t from 'tap'
import type { Test } from 'tap'
import { createClient, inFile } from '../../client/node.js'
import { run } from '../cli/given.js'
import { auditOfDirectory } from '../faults/audit.js'
import { apiKey, readUplinks, request, startProcess, tokenFor, until } from '../faults/node-process.js'
import type { NodeProcess } from '../faults/node-process.js'

function clientOf (t: Test, { http }: NodeProcess, userId: string, journal: string) {
  const client = createClient({
    ipConfig: `${http}/v1/ip-config`,
    getToken: () => tokenFor(userId),
    deviceId: 'phone',
    platform: 'phone',
    storage: inFile(journal),
  })
  t.teardown(() => client.close())
  return client
}

t.test('A backup', { timeout: 230_000 }, async t => {
  t.test('under traffic has all that was acknowledged before, and makes a gateway elsewhere', async t => {
    const folder = t.testdir({ data: {} })
    const node = await startProcess(t, `${folder}/data`)
    const ledgerline = async (...args: string[]) => await run(args, { cwd: folder })

    const quiet = clientOf(t, node, 'ann', `${folder}/ann`)
    quiet.connect()
    for (let i = 0; i < 5; i++) await quiet.send(`${i}`)
    await quiet.close()
    const busy = clientOf(t, node, 'bob', `${folder}/bob`)
    busy.connect()
    let acked = 0
    const over = new AbortController()
    const traffic = (async () => {
      while (!over.signal.aborted) {
        await Promise.all(Array.from({ length: 8 }, () => busy.send('x'.repeat(2_000))))
        acked += 8
      }
    })()
    await request(node, '/v1/downlinks', { to: { userIds: ['ann'] }, messageId: 'waiting', payload: 'for later' })
    await until(() => acked > 50)
    const ackedBefore = acked
    const backup = await ledgerline('backup', 'copy', '--url', node.http, '--api-key', apiKey, '--json')
    t.match(backup, { code: 0 }, backup.stderr)
    t.match(JSON.parse(backup.stdout), { directory: 'copy', bytes: statSync(`${folder}/copy/data.mdb`).size, secrets: [] })
    const ackedMeanwhile = acked
    await until(() => acked > ackedMeanwhile)
    over.abort()
    await traffic
    await busy.close()
    await node.kill('SIGKILL')
    t.strictSame(readdirSync(folder).filter(name => name.includes('draft')), [])

    t.match(await ledgerline('restore', 'copy', '--data', 'elsewhere/data'), { code: 0 })
    t.strictSame(readdirSync(`${folder}/copy`).sort(), ['data.mdb', 'ledgerline.json'], 'it stays as it is')
    const restored = await startProcess(t, `${folder}/elsewhere/data`)
    const uplinks = (await readUplinks(restored)) as Array<{ userId: string, userSeq: number }>
    const seqs = uplinks.filter(({ userId }) => userId === 'bob').map(({ userSeq }) => userSeq)
    t.strictSame(seqs, seqs.map((_, i) => i + 1))
    t.ok(seqs.length >= ackedBefore, `${seqs.length} of ${ackedBefore} at the least`)

    const back = clientOf(t, restored, 'ann', `${folder}/ann`)
    const received: string[] = []
    back.on('downlink', ({ messageId }) => { received.push(messageId) })
    const connected = back.once('connected')
    back.connect()
    t.match(await connected, { resumed: true, uplinkSeq: 5, missed: 0 })
    t.match(await back.send('and on'), { seq: 6, userSeq: 6 })
    await until(() => received.length > 0)
    t.strictSame(received, ['waiting'])
    await back.close()
    await restored.kill('SIGTERM')
    await auditOfDirectory(t, `${folder}/elsewhere/data`)
  })

  t.test('has the secrets that are in the directory, unless it is told to leave them out', async t => {
    const folder = t.testdir({ data: {} })
    const secrets = { LEDGERLINE_JWT_SECRET: '', LEDGERLINE_API_KEYS: '' }
    const node = await startProcess(t, `${folder}/data`, secrets)
    const place = { cwd: folder, env: { LEDGERLINE_URL: node.http } }
    t.match(await run(['backup', 'with'], place), { code: 0, stdout: /with api-key and jwt-secret: keep it as safe/ })
    t.match(await run(['backup', 'without', '--no-secrets'], place), { code: 0, stdout: /without secrets/ })
    t.strictSame(readdirSync(`${folder}/with`).sort(), ['api-key', 'data.mdb', 'jwt-secret', 'ledgerline.json'])
    t.strictSame(readdirSync(`${folder}/without`).sort(), ['data.mdb', 'ledgerline.json'])
    for (const name of readdirSync(`${folder}/with`)) t.equal(statSync(`${folder}/with/${name}`).mode & 0o077, 0, name)
    await node.kill('SIGTERM')
    t.match(await run(['backup', 'stopped'], { cwd: folder }), { code: 0 }, 'also of a directory that nobody has open')
    t.strictSame(readdirSync(`${folder}/stopped`).sort(), ['api-key', 'data.mdb', 'jwt-secret', 'ledgerline.json'])
  })

  t.test('goes where nothing is, and leaves nothing where it fails', async t => {
    const folder = t.testdir({ data: {}, full: { 'a-file': '' }, file: '' })
    const node = await startProcess(t, `${folder}/data`)
    const place = { cwd: folder, env: { LEDGERLINE_URL: node.http, LEDGERLINE_API_KEYS: apiKey } }
    const before = readdirSync(folder)
    t.match(await run(['backup', 'full'], place), { code: 2, stderr: /^ledgerline: .*full: got a directory with a-file in it/ })
    t.match(await run(['backup', 'file'], place), { code: 2, stderr: /^ledgerline: .*file: .* no directory/ })
    t.match(await run(['backup', 'copy', '--api-key', 'of-somebody-else-here'], place), { code: 1, stderr: /API key/ })
    t.match(await run(['backup', 'copy'], { ...place, env: { LEDGERLINE_URL: 'http://127.0.0.1:1' } }), { code: 1 })
    t.match(await run(['restore', 'full', '--data', 'new'], { cwd: folder }), { code: 2, stderr: /no ledgerline.json in it/ })
    t.strictSame(readdirSync(folder), before)
    mkdirSync(`${folder}/empty`)
    t.match(await run(['backup', 'empty'], place), { code: 0 }, 'an empty directory is nothing')
    truncateSync(`${folder}/empty/data.mdb`, 9_000)
    t.match(await run(['restore', 'empty', '--data', 'new'], { cwd: folder }), { code: 1, stderr: /was cut off/ })
    t.notOk(existsSync(`${folder}/new`))
  })

  t.test('goes nowhere for who has an API key, and no directory on the machine', async t => {
    const folder = t.testdir({ data: {}, target: {} })
    const node = await startProcess(t, `${folder}/data`)
    const ask = async (directory: string, token = 'a token of the tests') =>
      await request(node, '/v1/backups', { directory, token })
    t.match(await ask(`${folder}/target`), { status: 400, body: { message: /finds no backup-token/ } })
    t.match(await ask('target'), { status: 400, body: { message: /want an absolute path/ } })
    writeFileSync(`${folder}/target/backup-token`, 'another token of them')
    t.match(await ask(`${folder}/target`), { status: 400, body: { message: /holds another token/ } })
    t.strictSame(readdirSync(`${folder}/target`), ['backup-token'])
  })
})
