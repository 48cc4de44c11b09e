import { statSync } from 'node:fs'
import t from 'tap'
import { greedyClient } from './greedy-client.js'
import { type NodeProcess, request, startProcess } from './node-process.js'
import { handedBytes, untilQuiet } from './process-io.js'

const mib = 2 ** 20
/** Nothing is written that is not asked for, and all of it may wait. */
const quiet = {
  LEDGERLINE_LEASE_MS: '600000',
  LEDGERLINE_HEARTBEAT_MS: '3600000',
  LEDGERLINE_OUTBOX_BYTES_MAX: String(128 * mib),
}
const skip = process.platform === 'linux' ? false : 'it reads /proc'

t.test('Small pushes to a user for whom 60 MB wait, who never came', { skip }, async t => {
  const node = await startProcess(t, t.testdir(), quiet)
  await push(node, 'full', 1_000, 60_000)
  await untilQuiet(node)
  const empty = await writtenBy(node, () => push(node, 'empty', 8, 1))
  const full = await writtenBy(node, () => push(node, 'full', 8, 1))
  t.comment(`${empty} bytes for one with nothing, ${full} for this one`)
  t.ok(full < mib, 'write what has changed, and not what waits')
})

t.test('A user with 64 devices that have left', { skip }, async t => {
  const directory = t.testdir()
  const node = await startProcess(t, directory, quiet)
  const devices = Array.from({ length: 64 }, (_, i) => `d${i}`)
  for (const deviceId of devices) {
    const client = await greedyClient(t, node, { userId: 'ann', deviceId, payloadBytes: 1 })
    client.leave()
  }
  await push(node, 'ann', 1_000, 20_000)
  await untilQuiet(node)
  const stored = 512 * statSync(`${directory}/data.mdb`).blocks
  t.comment(`${Math.round(stored / mib)} MiB on the disk`)
  t.ok(stored < 150 * mib, 'has each payload once in the ledger and once in the saved state, not once for each device')
  const bytes = await writtenBy(node, () => push(node, 'ann', 4, 1))
  t.comment(`${bytes} bytes for four small ones`)
  t.ok(bytes < mib, 'and small pushes write what has changed')
})

async function push (node: NodeProcess, userId: string, count: number, bytes: number): Promise<void> {
  const payload = 'x'.repeat(bytes)
  let left = count
  const pushing = async () => {
    while (left-- > 0) {
      const { status } = await request(node, '/v1/downlinks', { to: { userIds: [userId] }, payload })
      if (status !== 202) throw new Error(`a push was answered with ${status}`)
    }
  }
  await Promise.all(Array.from({ length: count > 100 ? 20 : 1 }, pushing))
}

async function writtenBy (node: NodeProcess, act: () => Promise<void>): Promise<number> {
  const before = handedBytes(node)
  await act()
  await untilQuiet(node)
  return handedBytes(node) - before
}
