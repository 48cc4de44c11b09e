import { setTimeout as delay } from 'node:timers/promises'
import { randomBytes } from 'node:crypto'
import type { Cluster, Redis } from 'ioredis'
import { GatewayError } from '../schemas/errors.js'
import { ofPartition, type RebuildableSnapshots, SnapshotsLost } from './snapshots.js'

export interface RedisSnapshotsOptions {
  /** What every key begins with. Letters, digits, `.`, `_` and `-`. */
  readonly prefix: string
  /** Names the ledger. Snapshots made of another one count as not there. */
  readonly identity: string
  /** The first offset that the partition does not have yet. A checkpoint beyond it is of a ledger that is gone. */
  readonly endOf?: (partition: number) => Promise<bigint>
  /** A save failed, and is tried again. */
  readonly onFailed?: (error: unknown, partition: number) => void
  /** A save that may have failed before has succeeded, or is given up. */
  readonly onSaved?: (partition: number) => void
  /** First wait before a save is tried again; it doubles up to 20 times that. */
  readonly retryMs?: number
}

export interface RedisSnapshots extends RebuildableSnapshots {
  /** Saves that wait for Redis are rejected. The connection is the caller's. */
  close (): void
}

interface Save { readonly next: bigint, readonly states: ReadonlyMap<string, Buffer> }

/** What is stored for a partition, as its owner knows it since it asked for the checkpoint. */
interface Assignment {
  /** The stored generation; the one to begin while nothing is stored. */
  readonly generation: string
  /** The checkpoint read or saved last: what is stored must never be below it again. */
  next: bigint
  /** Set once the store went back, or the checkpoint was asked for again. */
  over: string | undefined
  /** Saves on their way or waiting to be tried again, oldest first. */
  readonly pending: Save[]
  last: Promise<void>
}

const fieldsPerStep = 1000

const none = '' // no generation

/**
 * KEYS: the partition's hash. ARGV: identity, generation, the checkpoint known, the next one, then field and state of
 * each user. Running it twice changes nothing.
 */
const save = `
  local stored = redis.call('HMGET', KEYS[1], 'identity', 'generation', 'next')
  if stored[1] ~= ARGV[1] then
    if ARGV[3] ~= '0' then return 'lost' end
    redis.call('UNLINK', KEYS[1])
  elseif stored[2] ~= ARGV[2] or tonumber(stored[3]) < tonumber(ARGV[3]) then
    return 'lost'
  elseif tonumber(stored[3]) > tonumber(ARGV[4]) then
    return 'ignored'
  end
  for i = 5, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
  redis.call('HSET', KEYS[1], 'identity', ARGV[1], 'generation', ARGV[2], 'next', ARGV[4])
  return 'saved'`

/** KEYS: the partition's hash. ARGV: identity and generation of snapshots to give up. */
const abandon = `
  local stored = redis.call('HMGET', KEYS[1], 'identity', 'generation')
  if stored[1] == ARGV[1] and stored[2] == ARGV[2] then redis.call('UNLINK', KEYS[1]) end`

/**
 * KEYS: the partition's hash. ARGV: identity, the checkpoint that must be stored, a new generation, then for each user
 * field and state, or '' to remove it. With the generation the owner loses what it remembers.
 */
const replace = `
  local stored = redis.call('HMGET', KEYS[1], 'identity', 'next')
  if stored[1] ~= ARGV[1] or stored[2] ~= ARGV[2] then return 0 end
  for i = 4, #ARGV, 2 do
    if ARGV[i + 1] == '' then redis.call('HDEL', KEYS[1], ARGV[i])
    else redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
  end
  redis.call('HSET', KEYS[1], 'generation', ARGV[3])
  return 1`

interface Scripts {
  snapshotsReplace (key: string, argv: ReadonlyArray<string | Buffer>): Promise<0 | 1>
  snapshotsSave (key: string, argv: ReadonlyArray<string | Buffer>): Promise<'lost' | 'ignored' | 'saved'>
  snapshotsAbandon (key: string, argv: readonly string[]): Promise<null>
}

/**
 * Snapshots in Redis: one hash per partition, with the checkpoint and the states side by side, so that they can only be
 * lost together.
 *
 * A Redis that lost what it had must not answer "unknown user": the user's numbers would start again from 1. So the
 * store remembers the checkpoint of each partition, and every answer is read together with the stored one.
 */
export function redisSnapshots (redis: Redis | Cluster, options: RedisSnapshotsOptions): RedisSnapshots {
  const { prefix, identity, endOf, onFailed = () => {}, onSaved = () => {}, retryMs = 100 } = options
  if (!/^[\w.-]+$/.test(prefix)) throw new RangeError(`prefix: got "${prefix}", want letters, digits, ".", "_" and "-"`)
  redis.defineCommand('snapshotsSave', { numberOfKeys: 1, lua: save })
  redis.defineCommand('snapshotsAbandon', { numberOfKeys: 1, lua: abandon })
  redis.defineCommand('snapshotsReplace', { numberOfKeys: 1, lua: replace })
  const scripts = redis as unknown as Scripts
  const assignments = new Map<number, Assignment>()
  const closed = new AbortController()

  const keyOf = (partition: number) => `{${prefix}.${partition}}:snapshots`

  async function stored (partition: number, userId?: string) {
    const fields = ['identity', 'generation', 'next', ...(userId === undefined ? [] : [fieldOf(userId)])]
    const [whose, generation, next, state] = await redis.hmgetBuffer(keyOf(partition), ...fields)
      .catch((cause: Error) => { throw new GatewayError('not-ready', `Redis: ${cause.message}`, { cause }) })
    if (whose?.toString() !== identity || !generation || !next) return { generation: none, next: 0n, state: undefined }
    return { generation: generation.toString(), next: BigInt(next.toString()), state: state ?? undefined }
  }

  async function assigned (partition: number): Promise<Assignment> {
    let { generation, next } = await stored(partition)
    if (endOf && next > await endOf(partition)) { // asked for after the checkpoint was read, so it is not behind it
      await scripts.snapshotsAbandon(keyOf(partition), [identity, generation])
      ;({ generation, next } = await stored(partition))
    }
    const assignment: Assignment = {
      generation: generation || newGeneration(),
      next,
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

  async function written (partition: number, assignment: Assignment, { next, states }: Save): Promise<void> {
    const fields = [...states].flatMap(([userId, state]) => [fieldOf(userId), state])
    for (let waitMs = retryMs; ; waitMs = Math.min(2 * waitMs, 20 * retryMs)) {
      if (assignment.over !== undefined) refuse(assignment, partition, assignment.over)
      closed.signal.throwIfAborted()
      try {
        const known = [identity, assignment.generation, String(assignment.next), String(next)]
        const outcome = await scripts.snapshotsSave(keyOf(partition), [...known, ...fields])
        if (outcome === 'lost') break
        if (next > assignment.next) assignment.next = next
        return
      } catch (error) {
        onFailed(error, partition) // it may have been saved all the same, and is saved again then
      }
      await delay(waitMs, undefined, { signal: closed.signal }).catch(() => {}) // closed: the loop ends
    }
    refuse(assignment, partition, `the store went back from ${assignment.next}`)
  }

  return {
    async checkpoint (partition) { return (await assigned(partition)).next },

    async load (partition, userId) {
      const assignment = assignments.get(partition) ?? await assigned(partition)
      if (assignment.over !== undefined) refuse(assignment, partition, assignment.over)
      const waiting = assignment.pending.findLast(({ states }) => states.has(userId))
      if (waiting) return waiting.states.get(userId)
      const known = assignment.next
      const { generation, next, state } = await stored(partition, userId)
      if (next < known || (generation !== none && generation !== assignment.generation)) {
        refuse(assignment, partition, `the store went back from ${known} to ${next}`)
      }
      return state
    },

    async save (partition, next, states) {
      const assignment = assignments.get(partition) ?? await assigned(partition)
      const { pending } = assignment
      if (assignment.over !== undefined) refuse(assignment, partition, assignment.over)
      if (next < (pending.at(-1)?.next ?? assignment.next)) return
      const save = { next, states }
      pending.push(save)
      const saved = assignment.last.then(() => written(partition, assignment, save))
        .finally(() => {
          pending.splice(pending.indexOf(save), 1)
          onSaved(partition)
        })
      assignment.last = saved.catch(() => {}) // its caller is told; the next one is tried on its own
      await saved
    },

    async savedTo (partition) { return (await stored(partition)).next },

    async saved (partition, userId) { return (await stored(partition, userId)).state },

    async * users (partition) {
      for (let cursor = '0'; ;) {
        const [next, fields] = await redis.hscan(keyOf(partition), cursor, 'COUNT', fieldsPerStep)
        for (let i = 0; i < fields.length; i += 2) {
          if (fields[i]!.startsWith(':') && fields[i] !== fieldOf(ofPartition)) yield fields[i]!.slice(1)
        }
        if (next === '0') return
        cursor = next
      }
    },

    async replace (partition, checkpoint, states) {
      const fields = [...states].flatMap(([userId, state]) => [fieldOf(userId), state ?? ''])
      const argv = [identity, String(checkpoint), newGeneration(), ...fields]
      return await scripts.snapshotsReplace(keyOf(partition), argv) === 1
    },

    close () { closed.abort(new Error('the snapshots are closed')) },
  }
}

function newGeneration (): string { return randomBytes(9).toString('base64url') }

/** Apart from the names of the fields that are nobody's state. */
function fieldOf (userId: string): string { return `:${userId}` }
