import type { Test } from 'tap'
import { openStoredLog } from '../../../ledger/embedded/reader.js'
import type { NodeProcess } from '../../faults/node-process.js'
import { startProcess } from '../../faults/node-process.js'
import { ackedUpTo, alive, connected, type Speaker, uplinks } from '../../gateway/edge/dialects.js'
import { openLog } from '../../gateway/edge/facts.js'
import { jwtSecret, TestNode, until } from '../../gateway/node.js'
import { judgeSettled, Place, quiet } from './met.js'
import type { Judged } from './planted.js'
import { judge } from './told.js'

const users = 8
const leaseMs = 600
const preload = new URL('./die-before-writing.js', import.meta.url).href

/** One gateway after the other on one data directory; each ends in another way, with messages under way. */
export async function killedFaults (t: Test, directory: string): Promise<Judged[]> {
  const judged: Judged[] = []
  const start = async () => {
    const running = await startProcess(t, directory, {
      NODE_OPTIONS: `--import ${preload}`,
      LEDGERLINE_JWT_SECRET: jwtSecret,
      LEDGERLINE_API_KEYS: 'the-key-of-a-test-node',
      LEDGERLINE_LEASE_MS: `${leaseMs}`,
      // So that what is for several users is one append.
      LEDGERLINE_PARTITIONS: '1',
    })
    const stop = async () => { await running.kill('SIGKILL') }
    return { running, node: new TestNode({ ...running, stop }, []) }
  }
  const places = (node: TestNode, fault: string) =>
    Array.from({ length: users }, (_, i) => new Place(t, node, fault, `${fault} ${i}`))
  const judgeStopped = async (...of: Place[]) => {
    const log = await openStoredLog(directory)
    judged.push(...await judge(log, of.flatMap(({ planted }) => planted)))
    await log.close()
  }
  const judgeRunning = async (node: TestNode, ...of: Place[]) => {
    const log = await openLog(node)
    judged.push(...await judgeSettled(log, of.flatMap(({ planted }) => planted)))
    await log.close()
  }

  let { running, node } = await start()
  const lost = places(node, 'kill -9, and nobody starts it again')
  const stopped: Speaker[] = []
  for (const place of lost) {
    const { client } = await place.connect()
    await place.push('m', 'unreported/node-silent')
    t.match(await client.next(), { op: 'downlink' })
    place.plantUplinks(1, 2, 'never-reached-us/node-silent')
    stopped.push(client)
  }
  const log = await openLog(node)
  await quiet(log) // all is reported
  await log.close()
  // The kernel takes what they send, and nobody reads it.
  process.kill(running.pid, 'SIGSTOP')
  for (const client of stopped) client.sendAll(uplinks(1, 2))
  await running.kill('SIGKILL')
  await new Promise(resolve => setTimeout(resolve, 2 * leaseMs))
  await judgeStopped(...lost)

  ;({ running, node } = await start())
  const again = lost.map(({ userId }) => new Place(t, node, 'kill -9 before the append, and a new start', userId))
  for (const place of again) {
    place.plantDownlink('m', 'unacked/node-lost')
    place.plantUplinks(1, 2, 'never-reached-us/node-lost')
  }
  await judgeRunning(node, ...again)

  const [stored, handedOn, resent] = ['kill -9 between append and ack', 'the same, and a new start', 'the same, and sent again']
    .map(fault => new Place(t, node, fault, 'stored'))
  const { client } = await stored!.connect()
  stored!.plantUplinks(1, users, 'unpublished')
  handedOn!.plantUplinks(1, users, 'accepted')
  resent!.plantUplinks(1, users, 'accepted')
  await dieBeforeWriting(running, () => { client.sendAll(uplinks(1, users)) })
  await judgeStopped(stored!)

  ;({ running, node } = await start())
  await judgeRunning(node, handedOn!)
  const { client: back } = await connected(t, node, 'TCP', 'stored')
  back.sendAll(uplinks(1, users))
  await ackedUpTo(back, users)
  await judgeRunning(node, resent!)

  const unwritten = places(node, 'kill -9 between append and write')
  for (const place of unwritten) {
    const { client } = await place.connect()
    await alive(t, client)
    place.plantDownlink('m', 'unreported/node-lost')
  }
  const userIds = unwritten.map(({ userId }) => userId)
  await dieBeforeWriting(running, () => {
    node.request('POST', '/v1/downlinks', { to: { userIds }, messageId: 'm', payload: 'hi' }).catch(() => {})
  })
  ;({ running, node } = await start())
  await judgeRunning(node, ...unwritten)

  const asked = places(node, 'the gateway is stopped')
  for (const place of asked) {
    const { client } = await place.connect()
    await place.push('m', 'unacked/migrating')
    t.match(await client.next(), { op: 'downlink' })
  }
  await running.kill('SIGTERM')
  await judgeStopped(...asked)
  return judged
}

async function dieBeforeWriting (running: NodeProcess, provoke: () => void): Promise<void> {
  process.kill(running.pid, 'SIGUSR2')
  await until('it is told', () => running.lines.some(({ msg }) => msg === 'dies when it writes'))
  provoke()
  let gone = false
  running.exit.then(() => { gone = true }, () => {})
  await until('it dies', () => gone)
}
