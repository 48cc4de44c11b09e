import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { embeddedSnapshots } from '../../../actors/snapshots-embedded.js'
import { partsOf } from '../../../actors/user/parts.js'
import { createClient } from '../../../client/node.js'
import { snapshotPartKey } from '../../../ledger/embedded/snapshot-keys.js'
import { openStore } from '../../../ledger/embedded/store.js'
import { prefixOf } from '../../../projections/tables/embedded-keys.js'
import type { TableName } from '../../../projections/tables/tables.js'
import { partitionOf } from '../../../schemas/partitioning.js'
import { startTestNode, type TestNode, until } from '../node.js'
import { givenApp, key } from './given.js'

const partitions = 4
const tables = ['presence', 'routing', 'nodes', 'connections', 'snapshots'] as const

async function connected (t: Test, node: TestNode, userId: string) {
  const client = createClient({
    endpoints: [`tcp://127.0.0.1:${node.tcpPort}`],
    transport: 'tcp',
    getToken: () => node.token(userId, { device: 'phone' }),
    deviceId: 'phone',
    platform: 'ios',
    client: 'test/1',
  })
  t.teardown(() => client.close())
  const ready = new Promise(resolve => client.on('connected', resolve))
  client.connect()
  await ready
  return client
}

/** The last line of what is told of a rebuild. */
async function rebuilt (node: TestNode, table: string) {
  const { status, text } = await node.request('POST', '/v1/rebuilds', { table })
  return { status, lines: text.split('\n').filter(line => line !== '').map(line => JSON.parse(line)) }
}

t.test('A rebuild', async t => {
  const directory = await mkdtemp(join(tmpdir(), 'ledgerline-rebuild-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  const env = { LEDGERLINE_DATA: directory, LEDGERLINE_PARTITIONS: `${partitions}` }
  const before = await startTestNode(t, env)
  for (const userId of ['ann', 'bob', 'dan', 'eve']) {
    const client = await connected(t, before, userId)
    await client.send(`hello from ${userId}`)
    await before.push(userId, 'hello')
  }
  await before.stop()

  // A defect writes what it should not, and loses what it should not.
  const store = await openStore({ directory, neighbours: ['jwt-secret', 'api-key'] })
  const put = (table: TableName, key: string, field: string, value: unknown) => {
    const prefix = prefixOf(table, 0, partitionOf('ann', partitions), { key, field })
    return store.env.put(Buffer.concat([Buffer.from(prefix, 'latin1'), Buffer.from(field)]), Buffer.from(JSON.stringify(value)))
  }
  await put('presence', 'ann', 'c-ghost', { deviceId: 'phone', openedAtMs: 1 })
  await put('connections', 'ann', 'c-ghost', { opened: ['phone', 'ios', 'app/1', 's1', 'ws', '', 'n1', 1, 1] })
  // The start closes what the table shows open, and so would put a user's row right.
  await put('routing', 'no user ann', 'c-ghost', { nodeId: 'n1', nodeEpoch: 1, deviceId: 'phone' })
  await put('nodes', 'n-ghost', 'started', { epoch: 1, atMs: 1 })
  const snapshots = embeddedSnapshots(store)
  const [annAt, bobAt] = [partitionOf('ann', partitions), partitionOf('bob', partitions)]
  const ofAnn = await snapshots.saved(annAt, 'ann', partsOf)
  await snapshots.replace(bobAt, await snapshots.savedTo(bobAt), new Map([['bob', ofAnn], ['ghost', ofAnn]]))
  await store.env.put(snapshotPartKey(partitionOf('dan', partitions), 'dan', 'm999'), Buffer.from('that no head names'))
  await store.close()

  const node = await startTestNode(t, env)
  const eve = await connected(t, node, 'eve')
  let sent = 0
  const traffic = new AbortController()
  const sending = (async () => { while (!traffic.signal.aborted) await eve.send(`again ${sent++}`) })()
  for (const table of tables) {
    const { status, lines } = await rebuilt(node, table)
    t.equal(status, 200)
    t.match(lines[0], { type: 'started', table, partitions })
    const { type, compared, differences } = lines.at(-1)
    t.equal(type, 'done', `of ${table} comes to its end while messages go on`)
    if (table === 'snapshots') {
      t.match(compared, { missing: 0, extra: 2, differing: 1 })
      t.strictSame(differences.map(({ kind, key }: Record<string, string>) => `${kind} ${key}`).toSorted(),
        ['differing bob', 'extra dan/m999', 'extra ghost'])
    } else {
      t.match(compared, { missing: 0, extra: 1, differing: 0 }, 'and finds what is wrong')
      t.match(differences, [{ kind: 'extra', key: /ann|n-ghost/ }], 'where it is')
    }
    t.match((await rebuilt(node, table)).lines.at(-1).compared, { missing: 0, extra: 0, differing: 0 }, 'and puts it right')
  }
  traffic.abort()
  await sending
  t.ok(sent > 0)
  const { json } = await node.request('GET', '/v1/users/bob/presence')
  t.match(json, { userId: 'bob', online: false })
  const bob = await connected(t, node, 'bob')
  t.match(await bob.send('me again'), { userSeq: 2 }, 'and users go on with the numbers that they had')
  t.strictSame(node.logged.filter(({ level }) => level >= 50).map(({ msg }) => msg)
    .filter(msg => !/snapshots are lost|checkpoint failed/.test(msg)), [])
})

t.test('Lag', async t => {
  const node = await startTestNode(t, { LEDGERLINE_PARTITIONS: `${partitions}` })
  const ann = await connected(t, node, 'ann')
  await ann.send('hello')
  await until('everybody has all', async () => {
    const { json } = await node.request('GET', '/v1/lag')
    const { followers } = json as { followers: Array<Record<string, any>> }
    t.strictSame(followers.map(({ follower }) => follower),
      [
        'users', 'stream uplinks', 'stream presence', 'stream receipts', 'stream offline', 'rooms', 'stream posts',
        'presence', 'routing', 'connections', 'nodes',
      ])
    const late = followers.filter(({ blocks }) => blocks > 0)
    for (const { partitions } of late) {
      const [first] = partitions.filter(({ blocks }: any) => blocks > 0)
      t.ok(first.entries >= first.blocks && first.ms < 60_000)
    }
    return late.length === 0
  })
  const { json } = await node.request('GET', '/v1/lag')
  const [users] = (json as any).followers
  t.match(users, { stream: 'ledger', blocks: 0, ms: 0, unknown: '' })
  t.strictSame((json as any).troubles, [])
  const [partition] = users.partitions.filter(({ end }: any) => end !== '0')
  t.equal(partition.position, partition.end)
})

t.test('Topics', async t => {
  const retention = { LEDGERLINE_RETENTION_MS: '3600000', LEDGERLINE_RETENTION_BYTES: '100000000' }
  const node = await startTestNode(t, { LEDGERLINE_PARTITIONS: `${partitions}`, ...retention })
  const startMs = Date.now() - 60_000
  const ann = await connected(t, node, 'ann')
  await ann.send('hello')
  const { json } = await node.request('GET', '/v1/topics')
  const { topics } = json as { topics: Array<Record<string, any>> }
  const [ledger] = topics.filter(({ stream }) => stream === 'ledger')
  t.match(ledger, { topic: null, retentionMs: 3_600_000, retentionBytes: 100_000_000 })
  t.equal(ledger!['partitions'].length, partitions)
  const [held] = ledger!['partitions'].filter(({ blocks }: any) => blocks > 0)
  t.match(held, { first: '0', next: `${held.blocks}` })
  t.ok(held.firstAtMs > startMs && held.lastAtMs >= held.firstAtMs)
})

t.test('A table that is not one of ours is refused', async t => {
  const { app } = givenApp(t, { roles: ['projections'] })
  const answer = await app.inject({ method: 'POST', url: '/v1/rebuilds', headers: key, payload: { table: 'users' } })
  t.match(answer.json(), { statusCode: 400, code: 'bad-request' })
})
