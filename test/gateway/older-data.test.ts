import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import t from 'tap'
import { createClient, inFile } from '../../client/node.js'
import type { ClientEvents } from '../../client/node.js'
import { run } from '../cli/given.js'
import { auditOfDirectory } from '../faults/audit.js'
import { apiKey, readUplinks, request, startProcess, tokenFor, until } from '../faults/node-process.js'

const older = fileURLToPath(new URL('../../../test/gateway/older-data/', import.meta.url))

/* What an older version left behind is from a day long gone: a downlink that waited may have expired meanwhile. */
t.test('What an older version left behind', { timeout: 120_000 }, async t => {
  const folder = t.testdir()
  const directory = `${folder}/data`
  mkdirSync(directory)
  writeFileSync(`${directory}/data.mdb`, gunzipSync(readFileSync(`${older}data.mdb.gz`)))
  copyFileSync(`${older}ledgerline.json`, `${directory}/ledgerline.json`)
  const node = await startProcess(t, directory, { LEDGERLINE_RETENTION_MS: '0' })
  const ledgerline = async (...args: string[]) => await run([...args, '--url', node.http, '--api-key', apiKey], { cwd: folder })

  /** The phone of a user, with the file that its client of the older version kept. */
  async function comeBack (userId: string) {
    const file = `${folder}/${userId}-phone`
    copyFileSync(`${older}${userId}-phone.journal`, file)
    const client = createClient({
      ipConfig: `${node.http}/v1/ip-config`,
      getToken: () => tokenFor(userId),
      deviceId: 'phone',
      platform: 'phone',
      storage: inFile(file),
    })
    t.teardown(() => client.close())
    const received: string[] = []
    let missed = 0
    client.on('downlink', ({ messageId }) => { received.push(messageId) })
    client.on('missed', ({ count }) => { missed += count })
    const connected = client.once('connected')
    client.connect()
    return { client, connected: await connected as ClientEvents['connected'], received, missed: () => missed }
  }

  t.test('goes on: sessions, numbers, and what waits', async t => {
    const ann = await comeBack('ann')
    t.match(ann.connected, { resumed: true, uplinkSeq: 10, downlinkSeq: 4, missed: 0 })
    t.match(await ann.client.send('and on'), { seq: 11, userSeq: 21 })
    const bob = await comeBack('bob')
    t.match(bob.connected, { resumed: true, uplinkSeq: 10 })
    await until(() => bob.received.length + bob.missed() > 0)
    if (bob.received.length > 0) t.strictSame(bob.received, ['second-offline'])
    else t.equal(bob.missed(), 1)
    t.strictSame(ann.received, [], 'what was acked does not come again')
    t.equal((await readUplinks(node)).length, 31)
  })

  t.test('knows a repeat of what was requested then', async t => {
    const { body } = await request(node, '/v1/downlinks', { to: { userIds: ['ann'] }, messageId: 'first-m1', payload: 'again' })
    t.match(body, { users: [{ userId: 'ann', status: 'duplicate' }] })
  })

  t.test('can be asked about', async t => {
    const trace = await ledgerline('trace', 'ann', '--message', 'first-m2')
    t.match(trace, { code: 0, stdout: /acked by phone[^]*^\(acked/m }, trace.stderr)
    const state = await ledgerline('state', 'ann')
    t.match(state, { code: 0, stdout: /^uplinks accepted: 21$/m }, state.stderr)
    const replay = await ledgerline('replay')
    t.match(replay, { code: 0, stdout: /nothing differs/ }, replay.stderr)
  })

  t.test('has no end that is not told', async t => {
    t.match(await node.kill('SIGTERM'), { code: 0 })
    await auditOfDirectory(t, directory)
  })
})
