import type { EventLog, Follower, Following } from '../ledger/log.js'
import type { Entry } from '../schemas/facts.js'
import { ledger } from '../schemas/streams.js'
import type { Question } from './links.js'
import { Partition, type PartitionDeps, type PartitionProgress } from './partition.js'

const checkpointEveryMs = 1_000

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
  /** Undefined until the first assignment is complete. */
  const member: { following?: Following } = {}

  const follower: Follower<Entry> = {
    async assigned (number) {
      const partition = await Partition.open(number, deps, () => { member.following?.reassign(number) })
      partitions.set(number, partition)
      await deps.links.owns(number)
      return partition.next
    },
    received: block => partitions.get(block.partition)!.received(block),
    leaving: number => { partitions.get(number)?.leave() },
    async revoked (number) {
      const partition = partitions.get(number)
      partitions.delete(number)
      deps.links.disowns(number)
      await partition?.revoke()
    },
  }

  member.following = await log.follow(ledger, 'users', follower)
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
      await member.following?.stop()
    },
  }
}
