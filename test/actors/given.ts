import type { Test } from 'tap'
import { type ConnectionMessage, localLinks } from '../../actors/links.js'
import type { PartitionDeps } from '../../actors/partition.js'
import { partitionLimits } from '../../actors/partition-limits.js'
import { SlicedWork } from '../../actors/sliced-work.js'
import { embeddedSnapshots } from '../../actors/snapshots-embedded.js'
import type { Snapshots } from '../../actors/snapshots.js'
import { startActors } from '../../actors/system.js'
import type { UserTypes } from '../../actors/user/actor.js'
import { users } from '../../actors/user/kind.js'
import { WaitProbe } from '../../actors/wait-probe.js'
import { embeddedLog } from '../../ledger/embedded/log.js'
import { openStore } from '../../ledger/embedded/store.js'
import type { EventLog } from '../../ledger/log.js'
import type { Entry, Fact } from '../../schemas/facts.js'
import type { UplinkAccepted } from '../../schemas/records.js'
import { uplinks } from '../../schemas/streams.js'

/** What happens around user actors over the real store and the real actor system. */
export interface Given {
  readonly log: EventLog
  readonly snapshots: Snapshots
  readonly deps: PartitionDeps<UserTypes>
  /** Sent to edges so far, in short. */
  readonly sent: string[]
  readonly setAside: Array<{ readonly userId: string, readonly offset: bigint, readonly message: string }>
  /** Users, and uplinks, that the partition went on without. */
  readonly usersAside: string[]
  readonly uplinksAside: string[]
  readonly failures: string[]
  /** Ends the process, as far as the data directory can tell. */
  close (): Promise<void>
}

/** The entries of these tests are of 1970, and not history for that. */
export const limits = { ...partitionLimits, historyAgeMs: Infinity }

/** Every stream has one partition, so that a test knows where things are. */
export async function given (
  t: Test, directory: string, overrides: Partial<PartitionDeps<UserTypes>> = {}
): Promise<Given> {
  const store = await openStore({ directory, headroomBytes: 1 << 16 })
  const system = startActors()
  t.teardown(async () => {
    await store.close() // gives the partitions back, for which their actors are needed
    system.stop()
  })
  const log = embeddedLog(store, { partitions: 1 })
  const snapshots = embeddedSnapshots(store)
  const sent: string[] = []
  const setAside: Given['setAside'] = []
  const usersAside: string[] = []
  const uplinksAside: string[] = []
  const failures: string[] = []
  const links = localLinks()
  links.connections = message => sent.push(inShort(message)) > 0
  const deps: PartitionDeps<UserTypes> = {
    kind: users({
      log,
      settled: () => {},
      resumeBytesMax: limits.resumeBytesMax,
      postSetAside: ({ roomId }, { message }) => { uplinksAside.push(`post in ${roomId}: ${message}`) },
    }),
    log,
    snapshots,
    system,
    links,
    limits,
    checkpoints: new SlicedWork(),
    folds: new WaitProbe(),
    setAside: ({ userId }, _partition, offset, { message }) => { setAside.push({ userId, offset, message }) },
    keySetAside: (userId, _partition, _offset, { message }) => { usersAside.push(`${userId}: ${message}`) },
    derivedSetAside: (record, _partition, { message }) => {
      const { userId, userSeq } = record as UplinkAccepted
      uplinksAside.push(`${userId} ${userSeq}: ${message}`)
    },
    failed: (what, { message }) => { failures.push(`${what}: ${message}`) },
    ...overrides,
  }
  return { log, snapshots, deps, sent, setAside, usersAside, uplinksAside, failures, close: () => store.close() }
}

export function inShort (message: ConnectionMessage): string {
  const { connectionId } = message
  switch (message.type) {
    case 'welcome': return `welcome ${connectionId} up ${message.uplinkSeq} down ${message.downlinkSeq}..${message.lastSeq}`
    case 'ackUplinks': return `ack ${connectionId} ${message.seq}=${message.userSeqs.join(',')}`
    case 'refuseUplink': return `refuse ${connectionId} expected ${message.expectedSeq}`
    case 'deliver': return `deliver ${connectionId} ${message.seq} ${message.downlink.messageId}`
    case 'closeConnection': return `close ${connectionId} ${message.code}`
    default: return `${message.type} ${connectionId}`
  }
}

export function of (userId: string, ...facts: Fact[]): Entry[] {
  return facts.map(fact => ({ userId, atMs: 1, fact }))
}

/** A fact that no fold survives, or only at its `times + 1`st attempt: whoever looks at its seq fails. */
export function poison (connectionId: string, seq: number, times = Infinity): Fact {
  let attempts = 0
  return {
    type: 'UplinkReceived',
    connectionId,
    get seq () {
      if (++attempts <= times) throw new Error('poison')
      return seq
    },
    service: '',
    payload: Buffer.from('poison'),
    priority: 0,
    roomId: '',
  }
}

/** `log`, but with facts in the place of others: bytes that break a fold are not easily made. */
export function tampered (log: EventLog, replace: (entry: Entry) => Fact | undefined): EventLog {
  const changed = (entry: any) => entry.fact ? { ...entry, fact: replace(entry) ?? entry.fact } : entry
  const of = (block: any) => ({ ...block, items: block.items.map(changed) })
  return {
    partitions: stream => log.partitions(stream),
    append: (...args) => log.append(...args),
    bounds: (...args) => log.bounds(...args),
    offsetAt: (...args) => log.offsetAt(...args),
    derivedFrom: (...args) => log.derivedFrom(...args),
    health: () => log.health(),
    close: () => log.close(),
    follow: (stream, group, follower) => log.follow(stream, group, {
      assigned: (partition, committed, index) => follower.assigned(partition, committed, index),
      received: block => follower.received(of(block)),
      leaving: partition => { follower.leaving?.(partition) },
      revoked: partition => follower.revoked(partition),
    }),
    async * read (stream, partition, range) {
      for await (const block of log.read(stream, partition, range)) yield of(block)
    },
  }
}

/** What the `uplinks` stream holds: `userId seq=userSeq`. */
export async function published (log: EventLog): Promise<string[]> {
  const found: UplinkAccepted[] = []
  for await (const { items } of log.read(uplinks, 0, { from: 0n })) found.push(...items)
  return found.map(({ userId, seq, userSeq }) => `${userId} ${seq}=${userSeq}`)
}

export async function until (condition: () => unknown): Promise<void> {
  while (!await condition()) await new Promise(resolve => setTimeout(resolve, 2))
}
