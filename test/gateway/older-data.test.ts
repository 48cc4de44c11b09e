import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { createClient, inFile } from '../../client/node.js'
import type { ClientEvents } from '../../client/node.js'
import { run } from '../cli/given.js'
import { auditOfDirectory } from '../faults/audit.js'
import { apiKey, readUplinks, request, startProcess, tokenFor, until } from '../faults/node-process.js'

const fixtures = fileURLToPath(new URL('../../../test/gateway/older-data/', import.meta.url))

/** A node on a copy of what an older version left behind. */
async function startOlder (t: Test, older: string, partitions: number) {
  const folder = t.testdir()
  const directory = `${folder}/data`
  mkdirSync(directory)
  writeFileSync(`${directory}/data.mdb`, gunzipSync(readFileSync(`${older}data.mdb.gz`)))
  copyFileSync(`${older}ledgerline.json`, `${directory}/ledgerline.json`)
  const env = { LEDGERLINE_RETENTION_MS: '0', LEDGERLINE_PARTITIONS: `${partitions}` }
  let node = await startProcess(t, directory, env)

  /** A device of a user, with the file that its client of the older version kept. */
  async function comeBack (userId: string, deviceId = 'phone') {
    const file = `${folder}/${userId}-${deviceId}`
    copyFileSync(`${older}${userId}-${deviceId}.journal`, file)
    const client = createClient({
      ipConfig: `${node.http}/v1/ip-config`,
      getToken: () => tokenFor(userId, { rooms: { '*': 'rw' } }),
      deviceId,
      platform: deviceId,
      storage: inFile(file),
    })
    t.teardown(() => client.close())
    const received: string[] = []
    const bytes: number[] = []
    let missed = 0
    client.on('downlink', ({ messageId, payload }) => {
      received.push(messageId)
      bytes.push(payload.length)
    })
    client.on('missed', ({ count }) => { missed += count })
    const connected = client.once('connected')
    client.connect()
    return { client, connected: await connected as ClientEvents['connected'], received, bytes, missed: () => missed }
  }

  return {
    directory,
    comeBack,
    get node () { return node },
    ledgerline: async (...args: string[]) => await run([...args, '--url', node.http, '--api-key', apiKey], { cwd: folder }),
    async restart () {
      t.match(await node.kill('SIGTERM'), { code: 0 })
      node = await startProcess(t, directory, env)
    },
  }
}

type Older = Awaited<ReturnType<typeof startOlder>>

/** That `state`, `replay` and `rebuild snapshots` find ann's uplinks, and no difference. */
async function isExplained (t: Test, { ledgerline }: Older, accepted: number): Promise<void> {
  const state = await ledgerline('state', 'ann')
  t.match(state, { code: 0, stdout: new RegExp(`^uplinks accepted: ${accepted}$`, 'm') }, state.stderr)
  const replay = await ledgerline('replay')
  t.match(replay, { code: 0, stdout: /nothing differs/ }, replay.stderr)
  const rebuild = await ledgerline('rebuild', 'snapshots')
  t.match(rebuild, { code: 0, stdout: /0 missing, 0 extra, 0 differing/ }, rebuild.stderr)
}

/* What an older version left behind is from a day long gone: a downlink that waited may have expired meanwhile. */
t.test('What an older version left behind', { timeout: 230_000 }, async t => {
  const world = await startOlder(t, fixtures, 2)
  const { directory, comeBack, ledgerline } = world

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
    t.equal((await readUplinks(world.node)).length, 31)
  })

  t.test('knows a repeat of what was requested then', async t => {
    const to = { userIds: ['ann'] }
    const { body } = await request(world.node, '/v1/downlinks', { to, messageId: 'first-m1', payload: 'again' })
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
    t.match(await world.node.kill('SIGTERM'), { code: 0 })
    await auditOfDirectory(t, directory)
  })
})

t.test('What the version before states in parts left behind', { timeout: 230_000 }, async t => {
  const world = await startOlder(t, `${fixtures}whole-states/`, 4)
  const { directory, comeBack } = world

  t.test('is marked as nothing for that version', async t => {
    t.match(JSON.parse(readFileSync(`${directory}/ledgerline.json`, 'utf8')), { format: 3 })
  })

  t.test('goes on: sessions, numbers, what waits, and what is lost', async t => {
    const ann = await comeBack('ann')
    t.match(ann.connected, { resumed: true, uplinkSeq: 9, missed: 0 })
    t.match(await ann.client.send('and on'), { seq: 10, userSeq: 18 })
    t.strictSame(ann.received, [], 'what was processed does not come again')

    const bob = await comeBack('bob')
    t.match(bob.connected, { resumed: true, uplinkSeq: 5 })
    await until(() => bob.received.length + bob.missed() >= 4)
    if (bob.missed() === 0) {
      t.strictSame(bob.received, ['waits-1', 'waits-2', 'waits-3', 'waits-4'])
      t.equal(bob.bytes[1], 60_000)
    }
    const fay = await comeBack('fay', 'd0')
    await until(() => fay.missed() > 0)
    t.equal(fay.missed(), 1, 'with its device')
  })

  t.test('and on from what is saved in parts now', async t => {
    await world.restart()
    const tablet = await comeBack('bob', 'tablet')
    await until(() => tablet.received.length + tablet.missed() >= 3)
    if (tablet.missed() === 0) {
      t.strictSame(tablet.received, ['waits-1', 'waits-2', 'waits-4'], 'the phone alone has acked them')
      t.equal(tablet.bytes[1], 60_000)
    }
    const to = { userIds: ['dan', 'ann'] }
    const { body } = await request(world.node, '/v1/downlinks', { to, messageId: 'request-69', payload: 'payload 69' })
    t.match(body, { users: [{ userId: 'dan', status: 'duplicate' }, { userId: 'ann', status: 'queued' }] })
  })

  t.test('can be asked about', async t => { await isExplained(t, world, 18) })

  t.test('has no end that is not told', async t => {
    t.match(await world.node.kill('SIGTERM'), { code: 0 })
    await auditOfDirectory(t, directory)
  })
})

/* Of the version before parts stood by their time in the local store, and of one after it; both have rooms and bans. */
for (const older of ['parts-by-name', 'parts-by-time']) {
  t.test(`What is left in ${older}`, { timeout: 230_000 }, async t => {
    const world = await startOlder(t, `${fixtures}${older}/`, 4)
    const { directory, comeBack } = world

    t.test('goes on: sessions, numbers, what waits', async t => {
      t.match(JSON.parse(readFileSync(`${directory}/ledgerline.json`, 'utf8')), { format: 3 })
      const ann = await comeBack('ann')
      t.match(ann.connected, { resumed: true, uplinkSeq: 10, missed: 0 })
      t.match(await ann.client.send('and on'), { seq: 11, userSeq: 15 })
      t.strictSame(ann.received, [], 'what was processed does not come again')
      const bob = await comeBack('bob')
      t.match(bob.connected, { resumed: true, uplinkSeq: 3 })
      await until(() => bob.received.length + bob.missed() >= 4)
      if (bob.missed() === 0) {
        t.strictSame(bob.received, ['waits-1', 'waits-2', 'waits-3', 'waits-4'])
        t.equal(bob.bytes[1], 60_000)
      }
    })

    t.test('goes on: rooms, memberships, bans', async t => {
      t.match((await request(world.node, '/v1/rooms/lobby')).body, { roomSeq: 5, closed: false })
      const post = { messageId: 'from-business', payload: 'post 4' }
      t.match((await request(world.node, '/v1/rooms/lobby/posts', post)).body, { status: /duplicate|queued/ })
      t.match((await request(world.node, '/v1/users/bob/rooms/team', {}, 'PUT')).body, { position: null }, 'a member he is')
      t.match((await request(world.node, '/v1/users/eve/bans')).body, { bans: [{ reason: 'for good', untilMs: null }] })
    })

    t.test('and on from what is saved now', async t => {
      await world.restart()
      const tablet = await comeBack('bob', 'tablet')
      await until(() => tablet.received.length + tablet.missed() >= 3)
      if (tablet.missed() === 0) t.strictSame(tablet.received, ['waits-1', 'waits-2', 'waits-4'])
      const laptop = await comeBack('ann', 'laptop')
      t.match(laptop.connected, { resumed: true, uplinkSeq: 4, missed: 0 })
      t.strictSame(laptop.received, [])
    })

    t.test('can be asked about', async t => { await isExplained(t, world, 15) })

    t.test('has no end that is not told', async t => {
      t.match(await world.node.kill('SIGTERM'), { code: 0 })
      await auditOfDirectory(t, directory)
    })
  })
}
