import { join } from 'node:path'
import t from 'tap'
import { BusyClient } from './busy-client.js'
import { type NodeProcess, readUplinks, request, startProcess, until } from './node-process.js'
import { cannotMount, fillUp, mounted } from './small-disk.js'

const retention = { LEDGERLINE_RETENTION_MS: '15000' }

t.test('A disk that somebody else has filled', { skip: cannotMount }, async t => {
  const directory = mounted(t, 'size=48m')
  const node = await startProcess(t, directory, retention)
  const [ann, bob] = ['ann', 'bob'].map(userId =>
    new BusyClient({ userId, deviceId: 'tcp', transport: 'tcp', outstanding: 4 })) as [BusyClient, BusyClient]
  t.teardown(() => { for (const client of [ann, bob]) client.stop() })
  bob.busy = false
  for (const client of [ann, bob]) await client.open(node)
  const { acked } = ann
  for (let i = 0; i < 200; i++) await push(node, i, 60_000)
  await until(() => bob.seen.length === 200)
  await until(() => acked.size > 100)
  // What no saved state has taken in yet stays, whatever its age: all of bob's has been, and ann goes on.
  await until(async () => {
    const { body: { followers } } = await request(node, '/v1/lag')
    const { partitions } = followers.find(({ follower }: any) => follower === 'users')
    return partitions.filter(({ blocks }: any) => blocks > 0).length <= 1
  })
  fillUp(join(directory, 'lost+found'))
  for (let i = 200; ann.refusals.length < 2; i += 16) {
    await Promise.all(Array.from({ length: 16 }, (_, j) => push(node, i + j, j === 0 ? 100 : 60_000)))
  }
  await until(async () => (await request(node, '/readyz')).status === 503)
  await t.test('has a node on it that goes on once retention has deleted what is old', async t => {
    const before = acked.size
    await until(() => acked.size > before + 200)
    ann.busy = false
    await until(() => ann.unacked === 0)
    await until(async () => (await request(node, '/readyz')).status === 200)
    t.equal(ann.connections, 1)
    t.strictSame(ann.complaints, [])
  })
  await t.test('has lost nothing that is younger, and doubled nothing', async t => {
    const youngest = async () => (await readUplinks(node)).slice(-100)
    await until(async () => (await youngest()).at(-1)?.userSeq === acked.size)
    const uplinks = await youngest()
    t.strictSame(uplinks.map(({ userSeq }) => userSeq), Array.from({ length: 100 }, (_, i) => acked.size - 99 + i))
    t.strictSame(uplinks.filter(({ seq, userSeq }) => acked.get(seq) !== 0 && acked.get(seq) !== userSeq), [])
  })
  await t.test('is gone on with by the next node, still full', async t => {
    t.strictSame(await node.kill('SIGTERM'), { code: 0, signal: null })
    const next = await startProcess(t, directory, retention)
    await until(() => ann.open(next), 50)
    const before = acked.size
    ann.busy = true
    await until(() => acked.size > before + 20)
    t.strictSame(await next.kill('SIGTERM'), { code: 0, signal: null })
  })
})

async function push (node: NodeProcess, i: number, bytes: number): Promise<void> {
  await request(node, '/v1/downlinks', { to: { userIds: ['bob'] }, messageId: `m${i}`, payload: 'x'.repeat(bytes) })
}
