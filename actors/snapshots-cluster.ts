import { setTimeout as delay } from 'node:timers/promises'
import { endingOfMany } from '../ledger/ending.js'
import { ChangelogFenced, type Changelog } from '../ledger/changelog.js'
import { GatewayError } from '../schemas/errors.js'
import { SnapshotsHome } from './snapshots-home.js'
import { parseField } from './snapshots-redis-scripts.js'
import type { RedisSnapshots } from './snapshots-redis.js'
import { type RebuildableSnapshots, SnapshotsLost, type StateChanges } from './snapshots.js'
import { wholeInParts } from './user/parts.js'

export interface ClusterSnapshotsOptions {
  /** Where states are at home. */
  readonly changelog: Changelog
  /** Where they are read from; it may lose all of them. */
  readonly copy: RedisSnapshots
  /** Names the ledger. States made of another one count as not there. */
  readonly identity: string
  /** A save failed, and is tried again. */
  readonly onFailed?: (error: unknown, partition: number) => void
  /** A save that may have failed before has gone home, or is given up. */
  readonly onSaved?: (partition: number) => void
  /** The copy of a partition was made anew, or the home of what was there before it. */
  readonly onFilled?: (partition: number, what: 'copy' | 'home', ms: number) => void
  /** First wait before a save is tried again; it doubles up to 20 times that. */
  readonly retryMs?: number
}

/** A whole state of more may be more than the home takes of one record, whose bound is not less than twice that. */
const wholeBytesMax = 64 << 10

interface Assignment {
  readonly home: SnapshotsHome
  /** What is on its way home. The copy does not know of it yet: who loads one of its users waits. */
  readonly pending: Set<ReadonlyMap<string, StateChanges>>
  writing: Promise<unknown>
}

/**
 * Snapshots of a cluster: at home in a changelog, which outlives Redis and the retention of the ledger, with a copy in
 * Redis for random access. A save goes home first. Whoever is assigned a partition compares the two, and fills the copy
 * where it is behind: in a time that goes with the users of the partition, not with the length of the ledger.
 */
export function clusterSnapshots (
  options: ClusterSnapshotsOptions
): RebuildableSnapshots & { close (): void } {
  const { changelog, copy, identity, onFailed = () => {}, onSaved = () => {}, onFilled = () => {} } = options
  const { retryMs = 100 } = options
  const assignments = new Map<number, Assignment>()
  const closed = endingOfMany()

  /** What versions before saved whole has no bound in bytes; in parts it has. */
  async function splitLarge (partition: number, copied: bigint): Promise<void> {
    const large = new Set<string>()
    for await (const { key, value } of copy.fields(partition)) {
      const field = parseField(key)
      if (field && field.part === undefined && value!.length > wholeBytesMax) large.add(field.userId)
    }
    for (const userId of large) {
      const whole = await copy.saved(partition, userId, () => [])
      const state = whole && wholeInParts(whole.head)
      if (state) await copy.replace(partition, copied, new Map([[userId, state]]))
    }
    if (large.size > 0 && await copy.checkpoint(partition) !== copied) {
      throw new GatewayError('not-ready', `Redis: the states of partition ${partition} have changed`)
    }
  }

  async function assigned (partition: number): Promise<Assignment> {
    const home = await SnapshotsHome.open(changelog, partition, identity)
    const copied = await copy.checkpoint(partition)
    const startMs = performance.now()
    if (home.isNew && copied > 0n) {
      await splitLarge(partition, copied)
      await home.seed(copied, copy.fields(partition))
      onFilled(partition, 'home', performance.now() - startMs)
    } else if (home.next !== copied) {
      await copy.fill(partition, home.next, home.read())
      // It may be lost again by now, and a copy that is empty must not say that it knows nobody.
      if (await copy.checkpoint(partition) !== home.next) {
        throw new GatewayError('not-ready', `Redis: the states of partition ${partition} are gone again`)
      }
      onFilled(partition, 'copy', performance.now() - startMs)
    }
    const assignment: Assignment = { home, pending: new Set(), writing: Promise.resolve() }
    assignments.set(partition, assignment)
    return assignment
  }

  async function owned (partition: number): Promise<Assignment> {
    return assignments.get(partition) ?? await assigned(partition)
  }

  async function knownToCopy (partition: number, userId: string): Promise<void> {
    const { pending, writing } = await owned(partition)
    for (const changes of pending) {
      if (!changes.has(userId)) continue
      await writing
      return
    }
  }

  async function goHome (
    partition: number, { home }: Assignment, next: bigint, changes: ReadonlyMap<string, StateChanges>
  ): Promise<void> {
    for (let waitMs = retryMs; ; waitMs = Math.min(2 * waitMs, 20 * retryMs)) {
      try {
        return await home.write(next, changes)
      } catch (error) {
        if (error instanceof ChangelogFenced) {
          throw new SnapshotsLost(`snapshots of partition ${partition}: ${error.message}`, { cause: error })
        }
        closed.signal.throwIfAborted()
        onFailed(error, partition)
      }
      await delay(waitMs, undefined, { signal: closed.signal }).catch(() => {})
      closed.signal.throwIfAborted()
    }
  }

  return {
    async checkpoint (partition) { return (await assigned(partition)).home.next },

    async load (partition, userId, partsOf) {
      await knownToCopy(partition, userId)
      return await copy.load(partition, userId, partsOf)
    },

    async parts (partition, userId, ids) {
      await knownToCopy(partition, userId)
      return await copy.parts(partition, userId, ids)
    },

    async save (partition, next, changes) {
      const assignment = await owned(partition)
      const { pending } = assignment
      pending.add(changes)
      let saved: Promise<void> | undefined
      const write = assignment.writing.then(async () => {
        if (next < assignment.home.next) return
        await goHome(partition, assignment, next, changes)
        saved = copy.save(partition, next, changes)
        saved.catch(() => {}) // who saves is told below
      }).finally(() => {
        pending.delete(changes)
        onSaved(partition)
      })
      assignment.writing = write.catch(() => {}) // its caller is told; the next one is tried on its own
      await write
      await saved
    },

    savedTo: partition => copy.savedTo(partition),
    saved: (partition, userId, partsOf) => copy.saved(partition, userId, partsOf),
    savedParts: (partition, userId, ids) => copy.savedParts(partition, userId, ids),
    keys: partition => copy.keys(partition),
    heads: partition => copy.heads(partition),
    partIds: (partition, userIds) => copy.partIds(partition, userIds),

    async replace (partition, checkpoint, states) {
      const home = await SnapshotsHome.open(changelog, partition, identity)
      if (home.next !== checkpoint) return new Set()
      const stored = await copy.partIds(partition, new Set(states.keys()))
      await home.replace(states, stored)
      return await copy.replace(partition, checkpoint, states)
    },

    close () {
      closed.abort(new Error('the snapshots are closed'))
      copy.close()
    },
  }
}
