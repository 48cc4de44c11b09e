import t from 'tap'
import { complaintsOf } from '../lasting.js'
import { auditOfDirectory } from './audit.js'
import { gaugeOf, openCrowd, settled } from './crowd.js'
import { goodNeighbour, memoryOf, mib } from './neighbour.js'
import { request, startProcess, until } from './node-process.js'

t.test('A room that gets 10,000 posts a second', { timeout: 400_000 }, async t => {
  // Beside what it has before. It is 203 to 257 MiB on a quiet machine, as the collector has its turns, and 96 MiB of
  // that is the young generation.
  const memoryMaxBytes = 320 << 20
  const [posters, members, rate, seconds] = [100, 50, 10_000, 10]
  const directory = t.testdir()
  const node = await startProcess(t, directory, { LEDGERLINE_FRAME_RATE: '100' })
  // Who posts at the same priority may be refused for what they all do.
  const neighbour = await goodNeighbour(t, node, { priority: 1 })
  const readers = await openCrowd(t, node, { name: 'reader', count: members, rooms: ['hot'] })
  const authors = await openCrowd(t, node, { name: 'author', count: posters, rooms: [] })
  const before = memoryOf(node)
  const payload = Buffer.alloc(200, 'a')
  const beganAt = performance.now()
  let offered = 0
  const posting = setInterval(() => {
    const due = Math.min(rate * seconds, Math.floor((performance.now() - beganAt) * rate / 1_000))
    for (; offered < due; offered++) {
      const author = authors[offered % posters]!
      if (author.waitUntilMs <= Date.now() && author.sent - author.acked < 256) author.post('hot', payload)
    }
  }, 5)
  t.teardown(() => { clearInterval(posting) })
  await neighbour.goesOnUntil(() =>
    offered === rate * seconds && authors.every(({ acked, sent }) => acked === sent))
  t.equal(neighbour.trouble, '', 'a neighbour is acked all the time')
  clearInterval(posting)

  const codes = new Map<string, number>()
  for (const { refused } of authors) {
    for (const [code, times] of refused) codes.set(code, (codes.get(code) ?? 0) + times)
  }
  const accepted = authors.reduce((sum, { acked }) => sum + acked, 0)
  t.comment(`${offered} offered, ${accepted} accepted; refused so often: ${JSON.stringify([...codes])}`)
  t.strictSame([...codes.keys()].filter(code => !['throttled', 'overloaded'].includes(code)), [])
  t.equal(authors.filter(({ isClosed }) => isClosed).length, 0, 'nobody is closed')
  const numbered = async () => (await request(node, '/v1/rooms/hot')).body.roomSeq
  await until(async () => await numbered() >= accepted, 100)
  t.equal(await numbered(), accepted, 'each that was accepted is numbered, once')
  await neighbour.goesOnUntil(() => readers.every(reader => reader.heard('hot').roomSeq === accepted))
  for (const reader of readers) {
    const { posts, missed } = reader.heard('hot')
    t.equal(posts + missed, accepted, 'members have all, or are told how many are gone')
  }
  t.ok(await gaugeOf(node, 'room_bytes') < (1 << 20) + (1 << 18), 'a room keeps 1 MiB')
  t.equal(neighbour.trouble, '', 'and afterwards')
  const { peakBytes } = memoryOf(node)
  t.comment(`memory ${mib(before.peakBytes)} before, ${mib(peakBytes)} at most; ` +
    `the neighbour's slowest ack of ${neighbour.acked} after ${neighbour.slowestMs.toFixed(0)} ms`)
  t.ok(peakBytes - before.peakBytes < memoryMaxBytes, `takes less than ${mib(memoryMaxBytes)} for it`)
  t.strictSame(complaintsOf(node.lines), [])
  for (const client of [...authors, ...readers]) client.close()
  neighbour.close()
  await settled(node)
  await node.kill('SIGTERM')
  await auditOfDirectory(t, directory)
})
