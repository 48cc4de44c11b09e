import type { Test } from 'tap'
import { localLinks } from '../../../actors/links.js'
import { partitionLimits } from '../../../actors/partition-limits.js'
import { SlicedWork } from '../../../actors/sliced-work.js'
import { embeddedSnapshots } from '../../../actors/snapshots-embedded.js'
import { startActors } from '../../../actors/system.js'
import { startOwner } from '../../../actors/owner.js'
import { users } from '../../../actors/user/kind.js'
import { WaitProbe } from '../../../actors/wait-probe.js'
import { inquire } from '../../../evidence/inquiry.js'
import { followDownlinks } from '../../../gateway/downlinks.js'
import { embeddedLog } from '../../../ledger/embedded/log.js'
import { openStore } from '../../../ledger/embedded/store.js'
import type { EventLog, LogReader } from '../../../ledger/log.js'
import { noReport } from '../../../projections/nodes.js'
import type { Entry } from '../../../schemas/facts.js'
import type { NodeFact } from '../../../schemas/node-facts.js'
import { partitionOf } from '../../../schemas/partitioning.js'
import { downlinks, ledger, nodes } from '../../../schemas/streams.js'
import { randomFrom, until } from '../../faults/node-process.js'
import { type Judged, labelOf, type Planted } from './planted.js'
import { dayMs, minuteMs, Story } from './story.js'
import { toldFaults } from './told-faults.js'

const partitions = 4
const frameBytesMax = 4_096

/** Tells stories of every fault into a real log, which real user actors follow, and asks for each message. */
export async function tellAll (t: Test, directory: string, seed: number, perFault: number): Promise<Judged[]> {
  const store = await openStore({ directory })
  t.teardown(() => store.close())
  const log = embeddedLog(store, { partitions })
  const random = randomFrom(seed)
  const nowMs = Date.now()
  await startNodes(log, nowMs)
  const stories = toldFaults.flatMap(({ fault, messages = 1, isLate = false, tell }) =>
    Array.from({ length: Math.ceil(perFault / messages) }, (_, i) => {
      const beginsMs = nowMs - dayMs - Math.trunc(4 * dayMs * random())
      const story = new Story(`${fault} ${i}`, fault, { epochMs: nowMs - 20 * dayMs }, random, beginsMs)
      tell(story)
      return { story, isLate }
    }))

  const entriesOf = (late: boolean) =>
    stories.filter(({ isLate }) => isLate === late).flatMap(({ story }) => story.entries)
  await append(log, entriesOf(false), random)
  await publish(t, log, store)
  await append(log, entriesOf(true), random)
  const rejected = await reject(log, perFault)
  return await judge(log, [...stories.flatMap(({ story }) => story.planted), ...rejected])
}

/** The same for a ledger whose beginning is deleted. */
export async function tellForgotten (t: Test, directory: string, count: number): Promise<Judged[]> {
  const store = await openStore({ directory })
  t.teardown(() => store.close())
  let nowMs = Date.now() - 2 * dayMs
  const log = embeddedLog(store, {
    partitions: 1, now: () => nowMs, steady: () => nowMs, streams: { [ledger.name]: { retentionMs: minuteMs } },
  })
  const random = randomFrom(1)
  const planted: Planted[] = []
  const entries: Entry[] = []
  for (let i = 0; i < count; i++) {
    const story = new Story(`forgotten ${i}`, 'retention has deleted it', { epochMs: nowMs }, random, nowMs)
    const phone = story.device()
    if (i % 2 === 0) story.plantDownlink(story.request(), 'not-kept')
    else story.plantUplink(phone, phone.uplink(), 'not-kept')
    planted.push(...story.planted)
    entries.push(...story.entries)
  }
  // So much that the index has places to cut at.
  await append(log, entries, random, 1)
  nowMs += dayMs
  const { userId, entries: [last] } = later('somebody else', nowMs, random)
  await log.append(ledger, partitionOf(userId, 1), [last!])
  await log.sweep()
  t.ok((await log.bounds(ledger, 0)).first > 0n, 'the beginning is deleted')
  return await judge(log, planted)
}

function later (userId: string, nowMs: number, random: () => number): Story {
  const story = new Story(userId, '', { epochMs: nowMs }, random, nowMs)
  story.device()
  return story
}

export async function judge (log: LogReader, planted: readonly Planted[]): Promise<Judged[]> {
  const judged = []
  for (const each of planted) {
    const { verdict } = await inquire(log, each.userId, each.inquiry)
    judged.push({ ...each, found: labelOf(verdict), text: verdict.text })
  }
  return judged
}

/** By time, and in blocks of one to eight, as traffic would make them. */
async function append (log: EventLog, entries: readonly Entry[], random: () => number, blockMax = 8): Promise<void> {
  const byPartition = new Map<number, Entry[]>()
  for (const entry of [...entries].sort((a, b) => a.atMs - b.atMs)) {
    const partition = partitionOf(entry.userId, log.partitions(ledger))
    byPartition.set(partition, [...byPartition.get(partition)?.splice(0) ?? [], entry])
  }
  for (const [partition, rest] of byPartition) {
    const appends = []
    while (rest.length > 0) {
      appends.push(log.append(ledger, partition, rest.splice(0, 1 + Math.trunc(blockMax * random()))))
    }
    await Promise.all(appends)
  }
}

/** One that reports, and one that does not any more. */
async function startNodes (log: EventLog, nowMs: number): Promise<void> {
  const epoch = nowMs - 20 * dayMs
  const texts = { region: '', roles: 'all', version: '', wsUrl: '', tcpUrl: '' }
  const started: NodeFact = { type: 'NodeStarted', ...texts, connectionsMax: 1, leaseMs: minuteMs }
  const load = { ...noReport, connections: 1 }
  for (const [nodeId, reportedAtMs] of [['n1', nowMs], ['silent', nowMs - dayMs]] as const) {
    const node = { nodeId, epoch }
    await log.append(nodes, partitionOf(nodeId, log.partitions(nodes)), [
      { ...node, atMs: epoch, fact: started },
      { ...node, atMs: reportedAtMs, fact: { type: 'NodeReported', ...load } },
    ])
  }
}

/** Lets user actors fold what there is, so that it stands in `uplinks` what they accept. */
async function publish (t: Test, log: EventLog, store: Parameters<typeof embeddedSnapshots>[0]): Promise<void> {
  const snapshots = embeddedSnapshots(store)
  const system = startActors()
  t.teardown(() => { system.stop() })
  const owner = await startOwner(log, {
    kind: users({
      log,
      settled () {},
      resumeBytesMax: partitionLimits.resumeBytesMax,
      postSetAside ({ roomId }, error) { t.fail(`a post in ${roomId} was set aside: ${error}`) },
    }),
    log,
    snapshots,
    system,
    links: localLinks(),
    limits: partitionLimits,
    checkpoints: new SlicedWork(),
    folds: new WaitProbe(),
    setAside ({ userId }, _partition, _offset, error) { t.fail(`an entry of ${userId} was set aside: ${error}`) },
    keySetAside (userId, _partition, _offset, error) { t.fail(`${userId} was set aside: ${error}`) },
    derivedSetAside ({ userId }, _partition, error) { t.fail(`an uplink of ${userId} was set aside: ${error}`) },
    failed (what, error) { t.fail(`${what}: ${error}`) },
  })
  await until(async () => {
    for (let partition = 0; partition < partitions; partition++) {
      if (await snapshots.checkpoint(partition) < (await log.bounds(ledger, partition)).next) return false
    }
    return true
  }, 20)
  await owner.stop()
}

/** Commands that no push role can take. */
async function reject (log: EventLog, count: number): Promise<Planted[]> {
  const following = await followDownlinks({
    log,
    frameBytesMax,
    push: () => { throw new Error('nothing here can be sent') },
    pushInOrder: () => { throw new Error('nothing here can be sent') },
    postInOrder: () => { throw new Error('nothing here names a room') },
    hasApp: app => app === '',
    health: { begin (name, reason) { throw new Error(`${name}: ${reason}`) }, end () {} },
    rejected: () => {},
  })
  const planted: Planted[] = []
  for (let i = 0; i < count; i++) {
    const isLarge = i % 2 === 0
    const messageId = `rejected${i}`
    const userId = `user of ${messageId}`
    await log.append(downlinks, partitionOf(userId, log.partitions(downlinks)), [{
      messageId,
      userIds: ['another user', userId],
      service: '',
      payload: Buffer.alloc(isLarge ? frameBytesMax : 1),
      ttlMs: isLarge ? minuteMs : 0,
      delivery: 'durable',
      platforms: [],
      exceptDevices: [],
      devices: [],
      app: '',
      receipts: true,
      offlineAfterMs: -1,
      replaces: '',
      roomId: '',
    }])
    const fault = isLarge ? 'its command has too large a payload' : 'its command has no time to live'
    planted.push({
      fault, userId, inquiry: { messageId }, expected: isLarge ? 'rejected/payload-too-large' : 'rejected/bad-request',
    })
  }
  const done = async () => (await judge(log, planted)).every(({ found }) => found !== 'unknown-user')
  await until(done, 20)
  await following.stop()
  return planted
}
