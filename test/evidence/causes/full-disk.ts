import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { startProcess, until } from '../../faults/node-process.js'
import { factsOf, openLog } from '../../gateway/edge/facts.js'
import { jwtSecret, TestNode } from '../../gateway/node.js'
import { judgeSettled, Place } from './met.js'
import type { Judged } from './planted.js'

const mib = 1 << 20
const uplinks = 5

/** A disk fills up under a gateway, and has space again: what was refused meanwhile is known then. */
export async function fullDiskFaults (t: Test): Promise<Judged[]> {
  const directory = mounted(t)
  const ballast = join(directory, 'lost+found')
  writeFileSync(ballast, Buffer.alloc(8 * mib))
  const running = await startProcess(t, directory, { LEDGERLINE_JWT_SECRET: jwtSecret, LEDGERLINE_API_KEYS: 'the-key-of-a-test-node' })
  const node = new TestNode({ ...running, stop: async () => { await running.kill('SIGKILL') } }, [])
  const refused = new Place(t, node, 'the disk is full', 'ann')
  const { client } = await refused.connect()
  const fill = async (messageId: string) => {
    const body = { to: { userIds: ['filler'] }, messageId, payload: 'x'.repeat(60_000) }
    return (await node.request('POST', '/v1/downlinks', body)).status
  }
  for (let i = 0; await fill(`filler${i}`) === 202;) i++
  const body = { to: { userIds: ['ann'] }, messageId: 'm', payload: 'x'.repeat(60_000) }
  t.match(await node.request('POST', '/v1/downlinks', body), { status: 503 })
  refused.plantDownlink('m', 'never-requested')
  client.sendAll(Array.from({ length: uplinks }, (_, i) => ({ op: 'uplink', seq: i + 1, payload: 'x'.repeat(60_000) })))
  const first = await client.next()
  t.match(first, { op: 'uplinkRefused', code: 'ledger-unavailable' })
  // Those behind it are refused with it or, where they are read later, because it is missing.
  refused.plantUplinks(first.expectedSeq, first.expectedSeq, 'ledger-unavailable')
  rmSync(ballast)
  const isTold = ({ type, toSeq }: { type: string, toSeq?: number }) => type === 'UplinksRefused' && toSeq === uplinks
  await until(async () => (await factsOf(node, 'ann')).some(isTold), 100)
  const log = await openLog(node)
  const judged = await judgeSettled(log, refused.planted)
  await log.close()
  return judged
}

/** One line that says what it takes; false where a small disk can be mounted. */
export function cannotMount (): string | false {
  const directory = mkdtempSync(join(tmpdir(), 'ledgerline-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', directory], { stdio: 'ignore' })
    execFileSync('umount', [directory], { stdio: 'ignore' })
    return false
  } catch {
    return 'it takes root, and the right to mount a tmpfs'
  } finally {
    rmdirSync(directory)
  }
}

function mounted (t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'ledgerline-'))
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', directory])
  t.teardown(() => {
    execFileSync('umount', ['--lazy', directory])
    rmdirSync(directory)
  })
  return directory
}
