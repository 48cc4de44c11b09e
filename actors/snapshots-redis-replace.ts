import { randomBytes } from 'node:crypto'
import type { Cluster, Redis } from 'ioredis'
import { parseField, parseHead, replacementOf, type Replacement, type Scripts } from './snapshots-redis-scripts.js'
import { ofPartition, type PartId, type RebuildableSnapshots, type SavedHead, type SavedState } from './snapshots.js'

interface Place {
  keyOf (partition: number): string
  stagedKeyOf (partition: number): string
  readonly identity: string
  readonly callBytesMax: number
}

const fieldsPerStep = 250
const stagedMs = 60_000

/** What a rebuild finds and puts right in Redis. */
export function redisReplacements (
  redis: Redis | Cluster, scripts: Scripts, { keyOf, stagedKeyOf, identity, callBytesMax }: Place
): Pick<RebuildableSnapshots, 'keys' | 'heads' | 'partIds' | 'replace'> {
  async function keysFrom (partition: number, cursor: string): Promise<[string, Buffer[]]> {
    const [next, fields] = await scripts.snapshotsFieldsBuffer(keyOf(partition), [cursor, String(fieldsPerStep)])
    return [next.toString(), fields]
  }

  async function * keys (partition: number) {
    for (let cursor = '0'; ;) {
      const [next, fields] = await keysFrom(partition, cursor)
      for (const field of fields) {
        const key = parseField(field)
        if (key && key.userId !== ofPartition) yield key
      }
      if (next === '0') return
      cursor = next
    }
  }

  async function * heads (partition: number) {
    for (let cursor = '0'; ;) {
      const [next, found] = await scripts.snapshotsHeadsBuffer(keyOf(partition), [cursor, String(fieldsPerStep)])
      const page: SavedHead[] = []
      for (let i = 0; i < found.length; i += 2) {
        const { userId } = parseField(found[i]!)!
        if (userId !== ofPartition) page.push({ userId, head: parseHead(found[i + 1]!).head })
      }
      yield page
      cursor = next.toString()
      if (cursor === '0') return
    }
  }

  async function partIds (partition: number, userIds: ReadonlySet<string>): Promise<Map<string, PartId[]>> {
    const ids = new Map(Array.from(userIds, userId => [userId, [] as PartId[]]))
    for await (const { userId, part } of keys(partition)) if (part !== undefined) ids.get(userId)?.push(part)
    return ids
  }

  async function replace (
    partition: number, checkpoint: bigint, states: ReadonlyMap<string, SavedState | undefined>
  ): Promise<ReadonlySet<string>> {
    const stored = await partIds(partition, new Set(states.keys()))
    const replacements = Array.from(states, ([userId, right]) => {
      return replacementOf(userId, checkpoint, right, stored.get(userId)!)
    })
    const replaced = new Set<string>()
    for (const together of inCalls(replacements, callBytesMax)) {
      if (!await put(partition, checkpoint, together)) break
      for (const { userId } of together) replaced.add(userId)
    }
    return replaced
  }

  /** What is too large for one call waits beside it, and is moved into its place in one step. */
  async function put (partition: number, checkpoint: bigint, users: readonly Replacement[]): Promise<boolean> {
    const stagedKey = stagedKeyOf(partition)
    const all = users.flatMap(({ put }) => put)
    const isLarge = users.reduce((sum, { bytes }) => sum + bytes, 0) > callBytesMax
    await redis.unlink(stagedKey)
    if (isLarge) {
      for (let i = 0, bytes = 0, from = 0; i < all.length; i += 2) {
        bytes += all[i + 1]!.length
        if (bytes < callBytesMax / 2 && i + 2 < all.length) continue
        await redis.hset(stagedKey, ...all.slice(from, i + 2))
        await redis.pexpire(stagedKey, stagedMs)
        from = i + 2
        bytes = 0
      }
    }
    const removed = users.flatMap(({ removed }) => removed)
    const argv = [
      identity, String(checkpoint), newGeneration(), String(isLarge ? all.length / 2 : 0),
      String(removed.length), ...removed, ...(isLarge ? [] : all),
    ]
    return await scripts.snapshotsReplace(keyOf(partition), stagedKey, argv) === 1
  }

  return { keys, heads, partIds, replace }
}

/** As many as fit together into a call; one that is larger is alone. */
function * inCalls (users: readonly Replacement[], callBytesMax: number): Iterable<Replacement[]> {
  let together: Replacement[] = []
  let bytes = 0
  for (const user of users) {
    if (together.length > 0 && bytes + user.bytes > callBytesMax) {
      yield together
      together = []
      bytes = 0
    }
    together.push(user)
    bytes += user.bytes
  }
  if (together.length > 0) yield together
}

export function newGeneration (): string { return randomBytes(9).toString('base64url') }
