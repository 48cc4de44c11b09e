import { readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { complaintsOf } from '../lasting.js'
import { greedyClient, type GreedyClient } from './greedy-client.js'
import { goodNeighbour, memoryOf, mib } from './neighbour.js'
import { type NodeProcess, readUplinks, request, startProcess, until } from './node-process.js'
import { cannotMount, mounted } from './small-disk.js'

const skip = process.platform === 'linux' ? false : 'it reads /proc'

t.test('100 clients that send large uplinks as fast as they can and never read', { skip }, async t => {
  const node = await startProcess(t, t.testdir(), { LEDGERLINE_OVERLOAD_WAIT_MS: '0' }) // it is their memory that is looked at
  const neighbour = await goodNeighbour(t, node)
  const sizes = [30_000, 40_000, 50_000, 65_000]
  const clients: GreedyClient[] = []
  for (let i = 0; i < 100; i++) {
    clients.push(await greedyClient(t, node, { userId: `u${i}`, payloadBytes: sizes[i % 4]!, reads: false }))
  }
  const peak = watchMemory(t, node)
  for (const client of clients) client.begin()
  await neighbour.goesOnUntil(async () => await uplinksOf(node) > 4_000)
  t.equal(neighbour.trouble, '', 'leave a neighbour his acks')
  t.comment(`memory ${mib(peak())} at most`)
  t.ok(peak() < 600 << 20, 'and take no more memory than what is read and not dealt with may')
  t.strictSame(complaintsOf(node.lines), [])
})

t.test('Ten clients that send uplinks of 65 KB with no limits', { skip }, async t => {
  const node = await startProcess(t, t.testdir(), {
    LEDGERLINE_BYTE_RATE: '0', LEDGERLINE_USER_BYTE_RATE: '0', LEDGERLINE_OVERLOAD_WAIT_MS: '0',
  })
  const clients: GreedyClient[] = []
  for (let i = 0; i < 10; i++) clients.push(await greedyClient(t, node, { userId: `u${i}`, payloadBytes: 65_000 }))
  const peak = watchMemory(t, node)
  for (const client of clients) client.begin()
  await until(async () => await uplinksOf(node) > 1_000, 50)
  for (const client of clients) client.leave()
  t.comment(`memory ${mib(peak())} at most`)
  t.ok(peak() < 600 << 20, 'wait for what the node can store')
  let accepted = -1
  await until(async () => {
    const before = accepted
    accepted = await uplinksOf(node)
    return accepted === before
  }, 500)
  await until(async () => (await readUplinks(node)).length === accepted, 500)
  t.pass('and `uplinks` has all that was accepted')
  t.strictSame(complaintsOf(node.lines), [])
})

for (const [what, seqOf] of [
  ['behind a hole', (sent: number) => sent + 2],
  ['that it has sent before', (sent: number) => 1 + sent % 10],
] as const) {
  t.test(`A client that sends uplinks ${what} as fast as it can`, { skip }, async t => {
    const directory = t.testdir()
    const node = await startProcess(t, directory)
    const client = await greedyClient(t, node, { userId: 'ann', payloadBytes: 100, seqOf })
    const before = writtenBytes(node)
    client.begin()
    await until(() => client.sent >= 200_000)
    client.stop()
    const bytes = writtenBytes(node) - before
    t.comment(`${bytes} bytes written`)
    t.ok(bytes < 8 << 20, 'has the node store none of them')
    t.ok((await readUplinks(node)).length <= 10)
    t.notOk(client.isClosed)
  })
}

t.test('A client that sends more than the disk has room for', { skip: cannotMount }, async t => {
  const node = await startProcess(t, mounted(t, 'size=160m'), { LEDGERLINE_BYTE_RATE: '0', LEDGERLINE_USER_BYTE_RATE: '0' })
  const client = await greedyClient(t, node, { userId: 'ann', payloadBytes: 60_000 })
  client.begin()
  const sent = 250 << 20
  await until(async () => await uplinksOf(node) * 60_000 > sent || client.isClosed, 50)
  t.notOk(client.isClosed, 'is acked all the time')
  t.equal((await request(node, '/readyz')).status, 200)
  t.strictSame(node.lines.filter(line => /disk is full/.test(JSON.stringify(line))), [],
    'for old blocks go before the disk is full')
})

t.test('60 KB pushed to 1,000 users, six times', { skip }, async t => {
  const node = await startProcess(t, t.testdir())
  const neighbour = await goodNeighbour(t, node)
  const userIds = Array.from({ length: 1_000 }, (_, i) => `u${i}`)
  const peak = watchMemory(t, node)
  let pushed = 0
  const pushing = (async () => {
    for (; pushed < 6; pushed++) {
      const { status } = await request(node, '/v1/downlinks', { to: { userIds }, payload: 'x'.repeat(60_000) })
      t.equal(status, 202)
    }
  })()
  await neighbour.goesOnUntil(() => pushed === 6)
  await pushing
  t.equal(neighbour.trouble, '', 'leave a neighbour his acks')
  t.comment(`memory ${mib(peak())} at most; the neighbour's slowest ack after ${neighbour.slowestMs.toFixed(0)} ms`)
  t.ok(peak() < 800 << 20, 'and no memory for a copy of each')
  t.strictSame(complaintsOf(node.lines), [])
})

/** @returns what the process had in pages of its own at most, seen every 20 ms since */
function watchMemory (t: Test, node: NodeProcess): () => number {
  let peakBytes = 0
  const look = () => { peakBytes = Math.max(peakBytes, memoryOf(node).ownBytes) }
  const timer = setInterval(look, 20)
  t.teardown(() => { clearInterval(timer) })
  return () => {
    look()
    return peakBytes
  }
}

async function uplinksOf (node: NodeProcess): Promise<number> {
  const { text } = await request(node, '/metrics')
  return Number(/^ledgerline_uplinks_total (\d+)$/m.exec(text)![1])
}

/** Bytes of pages that the process made dirty in files. */
function writtenBytes ({ pid }: NodeProcess): number {
  return Number(/^write_bytes: (\d+)/m.exec(readFileSync(`/proc/${pid}/io`, 'latin1'))![1])
}
