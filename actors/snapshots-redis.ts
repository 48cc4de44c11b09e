import { setTimeout as delay } from 'node:timers/promises'
import type { Cluster, Redis } from 'ioredis'
import { endingOfMany } from '../ledger/ending.js'
import { GatewayError } from '../schemas/errors.js'
import { type Copyable, redisCopies } from './snapshots-redis-fill.js'
import { newGeneration, redisReplacements } from './snapshots-redis-replace.js'
import { callsOf, earlyField, headField, parseHead, partField, scriptsOf } from './snapshots-redis-scripts.js'
import { pickParts, waitingOf } from './snapshots-waiting.js'
import {
  type LoadedState, type PartId, type PartsOf, type RebuildableSnapshots, SnapshotsLost, type StateChanges,
} from './snapshots.js'

export interface RedisSnapshotsOptions {
  /** What every key begins with. Letters, digits, `.`, `_` and `-`. */
  readonly prefix: string
  /** Names the ledger. Snapshots made of another one count as not there. */
  readonly identity: string
  /** A save failed, and is tried again. */
  readonly onFailed?: (error: unknown, partition: number) => void
  /** A save that may have failed before has succeeded, or is given up. */
  readonly onSaved?: (partition: number) => void
  /** First wait before a save is tried again; it doubles up to 20 times that. */
  readonly retryMs?: number
  /** What one call takes, unless a single user's changes are more: while a script runs, Redis answers nobody. */
  readonly callBytesMax?: number
}

export interface RedisSnapshots extends RebuildableSnapshots, Copyable {
  /** Saves that wait for Redis are rejected. The connection is the caller's. */
  close (): void
}

interface Save { readonly next: bigint, readonly changes: ReadonlyMap<string, StateChanges> }

/** What is stored for a partition, as its owner knows it since it asked for the checkpoint. */
interface Assignment {
  /** The stored generation; the one to begin while nothing is stored. */
  readonly generation: string
  /** The checkpoint read or saved last: what is stored must never be below it again. */
  next: bigint
  /** Something is stored. */
  begun: boolean
  /** Set once the store went back, or the checkpoint was asked for again. */
  over: string | undefined
  /** Saves on their way or waiting to be tried again, oldest first. */
  readonly pending: Save[]
  last: Promise<void>
}

/** What was read in one moment. */
interface Reading {
  readonly generation: string
  readonly next: bigint
  /** The fields that were asked for. */
  readonly values: ReadonlyArray<Buffer | null>
}

const partsPerRead = 100
/** Left under the key of an older build. */
const fence = 'The states are in parts now, under another key, and only a newer Ledgerline can use them.'

const none = '' // no generation

/**
 * Snapshots in Redis: one hash per partition, with the checkpoint and the states side by side, so that they can only be
 * lost together.
 *
 * A Redis that lost what it had must not answer "unknown user": the user's numbers would start again from 1. So the
 * store remembers the checkpoint of each partition, and every answer is read together with the stored one.
 *
 * Two owners may save at the same time, one of them not knowing that it is none any more. Both make the same state of
 * the same entries, and what changed since an earlier place makes of any state between the two places the later one. So
 * it is enough that no user goes back: each head has the `next` that it was saved with.
 */
export function redisSnapshots (redis: Redis | Cluster, options: RedisSnapshotsOptions): RedisSnapshots {
  const { prefix, identity, onFailed = () => {}, onSaved = () => {} } = options
  const { retryMs = 100, callBytesMax = 512 * 1024 } = options
  if (!/^[\w.-]+$/.test(prefix)) throw new RangeError(`prefix: got "${prefix}", want letters, digits, ".", "_" and "-"`)
  const scripts = scriptsOf(redis)
  const assignments = new Map<number, Assignment>()
  const closed = endingOfMany()

  const keyOf = (partition: number) => `{${prefix}.${partition}}:states`
  const olderKeyOf = (partition: number) => `{${prefix}.${partition}}:snapshots`
  const stagedKeyOf = (partition: number) => `{${prefix}.${partition}}:replacing`

  async function read (partition: number, fields: ReadonlyArray<string | Buffer>): Promise<Reading> {
    const [whose, generation, next, ...values] = await redis
      .hmgetBuffer(keyOf(partition), 'identity', 'generation', 'next', ...fields).catch(notReady)
    if (whose?.toString() !== identity || !generation || !next) {
      return { generation: none, next: 0n, values: fields.map(() => null) }
    }
    return { generation: generation.toString(), next: BigInt(next.toString()), values }
  }

  async function assigned (partition: number): Promise<Assignment> {
    await scripts.snapshotsOpen(keyOf(partition), olderKeyOf(partition), [identity, fence]).catch(notReady)
    const { generation, next } = await read(partition, [])
    const assignment: Assignment = {
      generation: generation || newGeneration(),
      next,
      begun: generation !== none,
      over: undefined,
      pending: [],
      last: Promise.resolve(),
    }
    const before = assignments.get(partition)
    if (before) before.over ??= 'assigned again'
    assignments.set(partition, assignment)
    return assignment
  }

  function refuse (assignment: Assignment, partition: number, reason: string): never {
    assignment.over ??= reason
    throw new SnapshotsLost(`snapshots of partition ${partition}: ${assignment.over}`)
  }

  /** As `read` for the owner, who must not take what is lost for what never was. */
  async function readOwn (
    partition: number, assignment: Assignment, fields: ReadonlyArray<string | Buffer>
  ): Promise<Reading> {
    const { next: known, begun } = assignment
    const reading = await read(partition, fields)
    const isAnother = reading.generation === none ? begun : reading.generation !== assignment.generation
    if (reading.next < known || isAnother) {
      refuse(assignment, partition, `the store went back from ${known} to ${reading.next}`)
    }
    return reading
  }

  /** Calls `send` until all of a save is stored. */
  async function written (partition: number, assignment: Assignment, { next, changes }: Save): Promise<void> {
    const calls = callsOf(next, changes, callBytesMax)
    let sent = 0
    for (let waitMs = retryMs; ; waitMs = Math.min(2 * waitMs, 20 * retryMs)) {
      try {
        while (sent < calls.length) {
          if (assignment.over !== undefined) refuse(assignment, partition, assignment.over)
          closed.signal.throwIfAborted()
          const outcome = await scripts.snapshotsSave(keyOf(partition), [
            identity, assignment.generation, String(assignment.next), String(next), assignment.begun ? '0' : '1',
            sent === calls.length - 1 ? '1' : '0', ...calls[sent]!.args,
          ])
          if (outcome === 'lost') refuse(assignment, partition, `the store went back from ${assignment.next}`)
          if (outcome === 'again') break
          assignment.begun = true
          sent = outcome === 'ignored' ? calls.length : sent + 1
        }
        if (sent === calls.length) {
          if (next > assignment.next) assignment.next = next
          return
        }
        sent = 0 // another owner has removed what went ahead
      } catch (error) {
        if (error instanceof SnapshotsLost) throw error
        closed.signal.throwIfAborted()
        onFailed(error, partition) // it may have been saved all the same, and is saved again then
      }
      await delay(waitMs, undefined, { signal: closed.signal }).catch(() => {}) // closed: the loop ends
    }
  }

  async function find (
    partition: number, userId: string, partsOf: PartsOf, pending: readonly Save[], read: Read
  ): Promise<LoadedState | undefined> {
    const mine = pending.filter(({ changes }) => changes.has(userId))
    const waiting = waitingOf(mine.map(({ changes }) => changes.get(userId)!))
    const waitingNext = mine.at(-1)?.next ?? -1n
    const lacking = (ids: readonly PartId[]) => ids.filter(id => waiting?.parts.has(id) !== true)
    if (waiting?.head) {
      const wanted = partsOf(waiting.head)
      const parts = pickParts(wanted, waiting, () => undefined)
      if (lacking(wanted).length === 0) return { head: waiting.head, parts, others: [] }
    }
    for (;;) {
      const { values: [value, early] } = await read(partition, [headField(userId), earlyField(userId)])
      // Where another owner is ahead of what waits here, that will be ignored.
      const isBehind = waiting !== undefined && (!value || parseHead(value).version <= waitingNext)
      const head = isBehind ? waiting.head : value && parseHead(value).head
      if (!head) return undefined
      const wanted = partsOf(head)
      const stored = await readParts(partition, userId, isBehind ? lacking(wanted) : wanted, read, now => {
        if (isBehind) return !now || parseHead(now).version <= waitingNext
        return now !== null && now.equals(value!)
      })
      if (!stored) continue // written meanwhile: these would be parts of another time
      const names = new Set(wanted)
      const others = early?.toString('latin1').split(',').filter(id => !names.has(id)) ?? []
      return { head, parts: isBehind ? pickParts(wanted, waiting, id => stored.get(id)) : stored, others }
    }
  }

  /** @returns undefined where the head that was stored at the time of a reading is another one */
  async function readParts (
    partition: number, userId: string, ids: readonly PartId[], read: Read, isStill: (head: Buffer | null) => boolean
  ): Promise<Map<PartId, Buffer> | undefined> {
    const parts = new Map<PartId, Buffer>()
    for (let i = 0; i < ids.length; i += partsPerRead) {
      const some = ids.slice(i, i + partsPerRead)
      const { values } = await read(partition, [headField(userId), ...some.map(id => partField(userId, id))])
      if (!isStill(values[0]!)) return undefined
      for (const [j, id] of some.entries()) if (values[j + 1]) parts.set(id, values[j + 1]!)
    }
    return parts
  }

  async function owned (partition: number): Promise<Assignment> {
    const assignment = assignments.get(partition) ?? await assigned(partition)
    if (assignment.over !== undefined) refuse(assignment, partition, assignment.over)
    return assignment
  }

  return {
    async checkpoint (partition) { return (await assigned(partition)).next },

    async load (partition, userId, partsOf) {
      const assignment = await owned(partition)
      const readOwned: Read = (partition, fields) => readOwn(partition, assignment, fields)
      return await find(partition, userId, partsOf, assignment.pending, readOwned)
    },

    async parts (partition, userId, ids) {
      const assignment = await owned(partition)
      const waiting = waitingOf(assignment.pending.flatMap(({ changes }) => changes.get(userId) ?? []))
      const readOwned: Read = (partition, fields) => readOwn(partition, assignment, fields)
      const lacking = ids.filter(id => waiting?.parts.has(id) !== true)
      const parts = await readParts(partition, userId, lacking, readOwned, () => true)
      return pickParts(ids, waiting, id => parts!.get(id))
    },

    async save (partition, next, changes) {
      const assignment = await owned(partition)
      const { pending } = assignment
      if (next < (pending.at(-1)?.next ?? assignment.next)) return
      const save = { next, changes }
      pending.push(save)
      const saved = assignment.last.then(() => written(partition, assignment, save))
        .finally(() => {
          pending.splice(pending.indexOf(save), 1)
          onSaved(partition)
        })
      assignment.last = saved.catch(() => {}) // its caller is told; the next one is tried on its own
      await saved
    },

    async savedTo (partition) { return (await read(partition, [])).next },

    saved: async (partition, userId, partsOf) => await find(partition, userId, partsOf, [], read),

    async savedParts (partition, userId, ids) {
      return (await readParts(partition, userId, ids, read, () => true))!
    },

    ...redisReplacements(redis, scripts, { keyOf, stagedKeyOf, identity, callBytesMax }),
    ...redisCopies(redis, scripts, { keyOf, identity, callBytesMax }),

    close () { closed.abort(new Error('the snapshots are closed')) },
  }
}

type Read = (partition: number, fields: ReadonlyArray<string | Buffer>) => Promise<Reading>

function notReady (cause: Error): never { throw new GatewayError('not-ready', `Redis: ${cause.message}`, { cause }) }
