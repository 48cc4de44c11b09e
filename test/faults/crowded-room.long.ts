import t from 'tap'
import { complaintsOf } from '../lasting.js'
import { auditOfDirectory } from './audit.js'
import { type CrowdClient, gaugeOf, keepAlive, openCrowd, settled } from './crowd.js'
import { goodNeighbour, memoryOf, mib } from './neighbour.js'
import { startProcess } from './node-process.js'

const heartbeatMs = 20_000

t.test('A room with 15,000 members of which a hundred never read', { timeout: 850_000 }, async t => {
  const [members, deaf, memoryMaxBytes] = [14_900, 100, 256 << 20]
  const directory = t.testdir()
  const node = await startProcess(t, directory, {
    LEDGERLINE_CONNECTIONS_MAX: '16000', LEDGERLINE_HEARTBEAT_MS: String(heartbeatMs),
  })
  const neighbour = await goodNeighbour(t, node)
  const readers = await openCrowd(t, node, { name: 'reader', count: members, rooms: ['crowd'] })
  const stopReaders = keepAlive(t, readers, heartbeatMs)
  const silent = await openCrowd(t, node, { name: 'silent', count: deaf / 2, rooms: ['loud', 'crowd'] })
  const pinging = await openCrowd(t, node, { name: 'pinging', count: deaf / 2, rooms: ['loud', 'crowd'] })
  const stopPinging = keepAlive(t, pinging, heartbeatMs)
  const before = memoryOf(node)
  const allGiven = async (to: readonly CrowdClient[], roomId: string, roomSeq: number) => {
    await neighbour.goesOnUntil(() => to.every(client => client.heard(roomId).roomSeq === roomSeq))
    t.strictSame(to.map(client => client.heard(roomId)).filter(({ posts, missed, wrong }) =>
      posts !== roomSeq || missed > 0 || wrong !== ''), [], 'each post, in order')
  }
  for (const client of [...silent, ...pinging]) client.stopReading()

  await t.test('keeps no more for those than their bound', async t => {
    // More than the kernel takes for who does not read.
    const loud = 10_000
    const [poster] = await openCrowd(t, node, { name: 'loud', count: 1, rooms: ['loud'] })
    const payload = Buffer.alloc(1_000, 'a')
    while (poster!.acked < loud) {
      for (let n = 0; n < 200; n++) poster!.post('loud', payload)
      await neighbour.goesOnUntil(() => poster!.acked === poster!.sent)
    }
    await allGiven([poster!], 'loud', loud)
    // 256 KiB each, and what a room keeps.
    t.ok(memoryOf(node).ownBytes - before.ownBytes < deaf * (256 << 10) + (64 << 20), 'in bytes')
    t.equal(await gaugeOf(node, 'connections_closed_total{code="slow-consumer"}'), 0)
  })

  await t.test('gives every post to those that read, those of the largest size too', async t => {
    const [poster] = await openCrowd(t, node, { name: 'poster', count: 1, rooms: ['crowd'] })
    const sizes = [...Array.from({ length: 100 }, () => 1_000), 65_500, 65_500, ...Array.from({ length: 20 }, () => 10)]
    for (const bytes of sizes) {
      poster!.post('crowd', Buffer.alloc(bytes, 'p'))
      if (poster!.sent % 20 === 0) await neighbour.goesOnUntil(() => poster!.acked === poster!.sent)
    }
    await allGiven([poster!, ...readers], 'crowd', sizes.length)
    t.ok(await gaugeOf(node, 'room_bytes') < 2 * (1 << 20) + (1 << 18), 'and keeps 1 MiB of either room')
  })

  await t.test('ends those that are silent as well, with heartbeat-timeout', async t => {
    await neighbour.goesOnUntil(async () =>
      await gaugeOf(node, 'connections_closed_total{code="heartbeat-timeout"}') === silent.length)
    t.equal(await gaugeOf(node, 'connections_closed_total{code="slow-consumer"}'), 0)
  })

  await t.test('lets those that are not go on once they read, and tells them how much is gone', async t => {
    for (const client of pinging) client.read()
    const last = readers[0]!.heard('crowd').roomSeq
    await neighbour.goesOnUntil(() => pinging.every(client =>
      client.heard('loud').roomSeq === 10_000 && client.heard('crowd').roomSeq === last))
    for (const client of pinging) {
      const { posts, missed } = client.heard('loud')
      t.equal(posts + missed, 10_000)
      t.ok(missed > 0)
      t.match(client.heard('crowd'), { posts: last, missed: 0, wrong: '' })
    }
  })

  stopReaders()
  stopPinging()
  t.equal(neighbour.trouble, '', 'a neighbour is acked all the time')
  const { peakBytes } = memoryOf(node)
  t.comment(`memory ${mib(before.peakBytes)} with all members, ${mib(peakBytes)} at most; ` +
    `the neighbour's slowest ack of ${neighbour.acked} after ${neighbour.slowestMs.toFixed(0)} ms`)
  t.ok(peakBytes - before.peakBytes < memoryMaxBytes, `takes less than ${mib(memoryMaxBytes)} for it`)
  t.strictSame(complaintsOf(node.lines), [])
  for (const client of [...readers, ...silent, ...pinging]) client.close()
  neighbour.close()
  await settled(node)
  await node.kill('SIGTERM')
  await auditOfDirectory(t, directory)
})
