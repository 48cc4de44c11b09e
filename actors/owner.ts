import type { EventLog, Follower, Following } from '../ledger/log.js'
import type { KindTypes } from './kind.js'
import { Partition, type PartitionDeps, type PartitionProgress } from './partition.js'
import { StoppedActors } from './stopped-actors.js'

const sweepEveryMs = 1_000
/** An assignment is not ended sooner, whatever happens to it: each folds again what the one before has folded. */
const assignedMsMin = 1_000

/** The partitions of one kind's stream that a node owns, and their actors. */
export interface Owner<K extends KindTypes> {
  ask (question: K['question']): void
  /** Users or rooms with an actor just now. */
  active (): number
  /** How far each partition is that this node owns. */
  progress (): PartitionProgress[]
  /** Gives every partition back, saved. */
  stop (): Promise<void>
}

/** Follows the stream of the kind with this node's share of the partitions. */
export async function startOwner<K extends KindTypes> (log: EventLog, deps: PartitionDeps<K>): Promise<Owner<K>> {
  const { kind, links } = deps
  const partitions = new Map<number, Partition<K>>()
  const stopped = new Map<number, StoppedActors>()
  /** Undefined until the first assignment is complete, and which ones were lost before. */
  const member: { following?: Following, readonly lostEarly: Set<number> } = { lostEarly: new Set() }
  const reassign = (number: number) => {
    if (member.following) member.following.reassign(number)
    else member.lostEarly.add(number)
  }

  const follower: Follower<K['entry']> = {
    async assigned (number) {
      const stoppedHere = stopped.get(number) ?? new StoppedActors()
      stopped.set(number, stoppedHere)
      const sinceMs = performance.now()
      const partition = await Partition.open(number, deps, stoppedHere, () => {
        setTimeout(reassign, sinceMs + assignedMsMin - performance.now(), number).unref()
      })
      partitions.set(number, partition)
      await links.owns(kind.owned, number)
      return partition.next
    },
    received: block => partitions.get(block.partition)!.received(block),
    leaving: number => { partitions.get(number)?.leave() },
    async revoked (number) {
      const partition = partitions.get(number)
      partitions.delete(number)
      links.disowns(kind.owned, number)
      await partition?.revoke()
    },
  }

  const following = await log.follow(kind.stream, kind.group, follower)
  member.following = following
  for (const number of member.lostEarly) following.reassign(number)
  const sweep = setInterval(() => {
    const nowMs = Date.now()
    for (const partition of partitions.values()) {
      partition.checkpoint()
      partition.sweep(nowMs)
      partition.passivateIdle(nowMs)
    }
  }, sweepEveryMs)

  return {
    ask (question) { partitions.get(question.partition)?.ask(question) },
    active () {
      let active = 0
      for (const partition of partitions.values()) active += partition.active
      return active
    },
    progress: () => Array.from(partitions.values(), ({ progress }) => progress),
    async stop () {
      clearInterval(sweep)
      await following.stop()
    },
  }
}
