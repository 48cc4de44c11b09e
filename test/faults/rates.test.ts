import t from 'tap'
import { complaintsOf } from '../lasting.js'
import { auditOfDirectory } from './audit.js'
import { startFlood } from './flood.js'
import { goodNeighbour, memoryOf, mib } from './neighbour.js'
import { request, startProcess, tokenFor, until } from './node-process.js'

/** What a connection, and all of a user, may send by default: docs/limits.md. */
const frameBurst = 200
const userFrameRate = 400
const userFrameBurst = 1_600

const grownBytesMax = 100 << 20

for (const { who, devicesOfUser } of [
  { who: 'One connection', devicesOfUser: 1 },
  { who: 'One user with 50 connections', devicesOfUser: 50 },
]) {
  t.test(`${who} that sends all it can, whatever it is told, and comes back wherever it is put out`, async t => {
    const directory = t.testdir()
    const node = await startProcess(t, directory, { LEDGERLINE_FRAME_RATE: '100', LEDGERLINE_ACCEPT_RATE: '200' })
    const neighbour = await goodNeighbour(t, node)
    const before = memoryOf(node)
    const startMs = performance.now()
    const flood = await startFlood(t, Number(new URL(node.tcp).port), tokenFor, { users: 1, devicesOfUser })
    let rounds = 0
    await neighbour.goesOnUntil(() => ++rounds >= 100)
    const { text } = await request(node, '/metrics')
    const seconds = (performance.now() - startMs) / 1_000
    const { opened, said } = flood
    flood.stop()
    t.equal(neighbour.trouble, '', 'its neighbour is acked all the time')
    t.match(said, /throttled/, 'it is told why its uplinks are refused')
    t.match(said, /rate-limited/, 'and why its connection is ended')
    t.ok(opened > devicesOfUser, `it came back: ${opened} connections`)
    const taken = Number(/^ledgerline_uplinks_total (\d+)/m.exec(text)![1]) - neighbour.acked
    const allowed = userFrameBurst + seconds * userFrameRate + devicesOfUser * frameBurst
    t.ok(taken <= allowed, `${taken} uplinks were taken in ${seconds.toFixed(1)} s, of ${Math.round(allowed)} at most`)
    const { peakBytes } = memoryOf(node)
    t.ok(peakBytes - before.peakBytes < grownBytesMax, `memory: ${mib(before.peakBytes)}, then ${mib(peakBytes)}`)
    t.comment(`the neighbour: ${neighbour.acked} acks, the slowest after ${neighbour.slowestMs.toFixed(0)} ms`)
    neighbour.close()
    await until(async () => /^ledgerline_connections 0$/m.test((await request(node, '/metrics')).text), 100)
    t.strictSame(complaintsOf(node.lines), [], 'and none of it is a fault of ours')
    await node.kill('SIGTERM')
    await auditOfDirectory(t, directory)
  })
}

/** What a connection may send by default. */
const byteRate = 1 << 20
const byteBurst = 4 << 20
const payloadBytes = 60_000

t.test('One connection that sends as many bytes as it can is read as fast as it may send', async t => {
  const directory = t.testdir()
  const node = await startProcess(t, directory, { LEDGERLINE_FRAME_RATE: '100' })
  const neighbour = await goodNeighbour(t, node)
  const startMs = performance.now()
  const flood = await startFlood(t, Number(new URL(node.tcp).port), tokenFor, { users: 1, payloadBytes })
  const taken = async () => {
    const { text } = await request(node, '/metrics')
    return payloadBytes * (Number(/^ledgerline_uplinks_total (\d+)/m.exec(text)![1]) - neighbour.acked)
  }
  await neighbour.goesOnUntil(async () => await taken() > byteBurst + 4 * byteRate)
  const bytes = await taken()
  const seconds = (performance.now() - startMs) / 1_000
  t.equal(neighbour.trouble, '', 'its neighbour is acked all the time')
  // A read may go into debt.
  t.ok(bytes <= byteBurst + seconds * byteRate + 128 * 1_024, `${mib(bytes)} were taken in ${seconds.toFixed(1)} s`)
  t.equal(flood.opened, 1)
  flood.stop()
  neighbour.close()
  await until(async () => /^ledgerline_connections 0$/m.test((await request(node, '/metrics')).text), 100)
  t.strictSame(complaintsOf(node.lines), [])
  await node.kill('SIGTERM')
  await auditOfDirectory(t, directory)
})
