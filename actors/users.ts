import type { EventLog, Follower, Following } from '../ledger/log.js'
import type { Entry } from '../schemas/facts.js'
import { ledger } from '../schemas/streams.js'
import type { Question } from './links.js'
import { Partition, type PartitionDeps, type PartitionProgress } from './partition.js'
import { StoppedUsers } from './stopped-users.js'

const checkpointEveryMs = 1_000
/** An assignment is not ended sooner, whatever happens to it: each folds again what the one before has folded. */
const assignedMsMin = 1_000

/** The `users` role of a node: the partitions of the ledger that it owns, and their user actors. */
export interface Users {
  ask (question: Question): void
  /** Users with an actor just now. */
  activeUsers (): number
  /** How far each partition is that this node owns. */
  progress (): PartitionProgress[]
  /** Gives every partition back, saved. */
  stop (): Promise<void>
}

/** Follows the ledger with this node's share of the partitions. */
export async function startUsers (log: EventLog, deps: PartitionDeps): Promise<Users> {
  const partitions = new Map<number, Partition>()
  const stopped = new Map<number, StoppedUsers>()
  /** Undefined until the first assignment is complete, and which ones were lost before. */
  const member: { following?: Following, readonly lostEarly: Set<number> } = { lostEarly: new Set() }
  const reassign = (number: number) => {
    if (member.following) member.following.reassign(number)
    else member.lostEarly.add(number)
  }

  const follower: Follower<Entry> = {
    async assigned (number) {
      const stoppedHere = stopped.get(number) ?? new StoppedUsers()
      stopped.set(number, stoppedHere)
      const sinceMs = performance.now()
      const partition = await Partition.open(number, deps, stoppedHere, () => {
        setTimeout(reassign, sinceMs + assignedMsMin - performance.now(), number).unref()
      })
      partitions.set(number, partition)
      await deps.links.owns('ledger', number)
      return partition.next
    },
    received: block => partitions.get(block.partition)!.received(block),
    leaving: number => { partitions.get(number)?.leave() },
    async revoked (number) {
      const partition = partitions.get(number)
      partitions.delete(number)
      deps.links.disowns('ledger', number)
      await partition?.revoke()
    },
  }

  const following = await log.follow(ledger, 'users', follower)
  member.following = following
  for (const number of member.lostEarly) following.reassign(number)
  const sweep = setInterval(() => {
    const nowMs = Date.now()
    for (const partition of partitions.values()) {
      partition.checkpoint()
      partition.repeatCloses(nowMs)
      partition.passivateIdle(nowMs)
    }
  }, checkpointEveryMs)

  return {
    ask (question) { partitions.get(question.partition)?.ask(question) },
    activeUsers () {
      let users = 0
      for (const partition of partitions.values()) users += partition.activeUsers
      return users
    },
    progress: () => Array.from(partitions.values(), ({ progress }) => progress),
    async stop () {
      clearInterval(sweep)
      await following.stop()
    },
  }
}
