import type { Cluster, Redis } from 'ioredis'
import type { PartId, SavedState, StateChanges } from './snapshots.js'

/*
  One hash a partition, `{prefix.P}:states`:

    identity, generation, next      -> what it was made of, who may write it, and the checkpoint
    HEAD => ':' USERID              -> 0x01 VERSION ':' and the head; of an older build, the whole state alone
      VERSION => decimal: the `next` of the save that wrote it. A save that is behind it leaves the user as he is.
    PART => ':' USERID 0xff PARTID  -> one part
    EARLY => ':' USERID 0xff        -> PARTIDs, with commas: stored ahead of a head, and by no head's save since then
*/

type Arg = string | Buffer

/** What one call of the script `save` does to some users. */
export interface Call {
  readonly args: Arg[]
  bytes: number
}

/**
 * KEYS: the hash; the one of older builds. ARGV: identity, and what is left under the older key. An older build finds
 * no hash there, gets an error for whatever it does, and waits: it would begin the numbers of its users anew.
 */
const open = `
  local kind = redis.call('TYPE', KEYS[2]).ok
  if kind == 'string' then return end
  if kind == 'hash' and redis.call('HGET', KEYS[2], 'identity') == ARGV[1]
      and redis.call('HGET', KEYS[1], 'identity') ~= ARGV[1] then
    redis.call('UNLINK', KEYS[1])
    redis.call('RENAME', KEYS[2], KEYS[1])
  end
  redis.call('UNLINK', KEYS[2])
  redis.call('SET', KEYS[2], ARGV[2])`

/**
 * KEYS: the hash. ARGV: identity, generation, the checkpoint known, the next one, '1' where nothing may be stored yet,
 * '1' in the last call of a save, then what `callsOf` makes of the users. Running it twice changes nothing.
 */
const save = `
  local hash, next = KEYS[1], tonumber(ARGV[4])
  local stored = redis.call('HMGET', hash, 'identity', 'generation', 'next')
  if stored[1] ~= ARGV[1] then
    if ARGV[5] ~= '1' then return 'lost' end
    redis.call('UNLINK', hash)
    redis.call('HSET', hash, 'identity', ARGV[1], 'generation', ARGV[2], 'next', ARGV[3])
  elseif stored[2] ~= ARGV[2] or tonumber(stored[3]) < tonumber(ARGV[3]) then
    return 'lost'
  elseif tonumber(stored[3]) > next then
    return 'ignored'
  end
  local i = 6
  local function take ()
    i = i + 1
    return ARGV[i]
  end
  local function takeAll (width)
    local first = i + 2
    i = i + 1 + width * tonumber(ARGV[i + 1])
    return first, i
  end
  while i < #ARGV do
    local kind, field, head, early, ids = take(), take(), take(), take(), take()
    local puts, putsEnd = takeAll(2)
    local gone, goneEnd = takeAll(1)
    local needed, neededEnd = takeAll(1)
    local before = redis.call('HGET', hash, field)
    if (before and tonumber(string.match(before, '^\\1(%d+):')) or 0) <= next then
      for at = needed, neededEnd do
        if redis.call('HEXISTS', hash, ARGV[at]) == 0 then return 'again' end
      end
      for at = puts, putsEnd, 2 do redis.call('HSET', hash, ARGV[at], ARGV[at + 1]) end
      if kind == 'early' then
        local noted = redis.call('HGET', hash, early)
        local known = ',' .. (noted or '') .. ','
        for id in string.gmatch(ids, '[^,]+') do
          if not string.find(known, ',' .. id .. ',', 1, true) then noted = (noted and noted .. ',' or '') .. id end
        end
        redis.call('HSET', hash, early, noted)
      else
        if head == '' then redis.call('HDEL', hash, field) else redis.call('HSET', hash, field, head) end
        for at = gone, goneEnd do redis.call('HDEL', hash, ARGV[at]) end
        local noted = redis.call('HGET', hash, early)
        if noted then
          local own, kept = {}, {}
          for at = puts, putsEnd, 2 do own[ARGV[at]] = true end
          for at = needed, neededEnd do own[ARGV[at]] = true end
          for id in string.gmatch(noted, '[^,]+') do
            -- What is left is of another owner: his head comes later, or never.
            if not own[early .. id] and redis.call('HEXISTS', hash, early .. id) == 1 then kept[#kept + 1] = id end
          end
          if #kept > 0 then redis.call('HSET', hash, early, table.concat(kept, ','))
          else redis.call('HDEL', hash, early) end
        end
      end
    end
  end
  if ARGV[6] == '1' then redis.call('HSET', hash, 'next', ARGV[4]) end
  return 'saved'`

/**
 * KEYS: the hash; one with parts that are too large for one call. ARGV: identity, the checkpoint that must be stored, a
 * new generation, then what `replacementsOf` makes of the users. With the generation the owner loses what it remembers.
 */
const replace = `
  local hash, staged = KEYS[1], KEYS[2]
  local stored = redis.call('HMGET', hash, 'identity', 'next')
  if stored[1] ~= ARGV[1] or stored[2] ~= ARGV[2] then return 0 end
  local moved = redis.call('HKEYS', staged)
  if #moved ~= tonumber(ARGV[4]) then return redis.error_reply('ERR what was staged is gone') end
  redis.call('HSET', hash, 'generation', ARGV[3])
  local i = 5
  for at = i + 1, i + tonumber(ARGV[i]) do redis.call('HDEL', hash, ARGV[at]) end
  i = i + 1 + tonumber(ARGV[i])
  for at = i, #ARGV, 2 do redis.call('HSET', hash, ARGV[at], ARGV[at + 1]) end
  for _, field in ipairs(moved) do redis.call('HSET', hash, field, redis.call('HGET', staged, field)) end
  redis.call('UNLINK', staged)
  return 1`

/**
 * KEYS: a draft. ARGV: how many of these calls it has had, and has with this one; how long it is kept, ms; how many
 * arguments come with fields and values; those, and then fields that go. A draft that has had another number has lost
 * something, and 0 is returned; the same call twice changes nothing.
 */
const draft = `
  local draft, last = KEYS[1], 4 + tonumber(ARGV[4])
  local had = redis.call('HGET', draft, 'calls') or '0'
  if had ~= ARGV[1] and had ~= ARGV[2] then return 0 end
  for at = 5, last, 2 do redis.call('HSET', draft, ARGV[at], ARGV[at + 1]) end
  for at = last + 1, #ARGV do redis.call('HDEL', draft, ARGV[at]) end
  redis.call('HSET', draft, 'calls', ARGV[2])
  redis.call('PEXPIRE', draft, ARGV[3])
  return 1`

/**
 * KEYS: the hash; a draft of all of it. ARGV: identity, generation and checkpoint of the draft; generation and
 * checkpoint that the hash must still have for the draft to take its place, empty where it was not there; how many
 * calls the draft must have had.
 */
const adopt = `
  local hash, draft = KEYS[1], KEYS[2]
  local stored = redis.call('HMGET', hash, 'generation', 'next')
  if (stored[1] or '') ~= ARGV[4] or (stored[2] or '') ~= ARGV[5]
      or (redis.call('HGET', draft, 'calls') or '0') ~= ARGV[6] then
    redis.call('UNLINK', draft)
    return 0
  end
  redis.call('HDEL', draft, 'calls')
  redis.call('HSET', draft, 'identity', ARGV[1], 'generation', ARGV[2], 'next', ARGV[3])
  redis.call('PERSIST', draft)
  redis.call('UNLINK', hash)
  redis.call('RENAME', draft, hash)
  return 1`

/** KEYS: the hash. ARGV: cursor and count. As HSCAN, without the values. */
const fields = `
  local found = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
  local fields = {}
  for i = 1, #found[2], 2 do fields[#fields + 1] = found[2][i] end
  return {found[1], fields}`

/** KEYS: the hash. ARGV: cursor and count. As HSCAN, of heads alone. */
const heads = `
  local found = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
  local heads = {}
  for i = 1, #found[2], 2 do
    local field = found[2][i]
    if string.sub(field, 1, 1) == ':' and not string.find(field, '\\255', 1, true) then
      heads[#heads + 1] = field
      heads[#heads + 1] = found[2][i + 1]
    end
  end
  return {found[1], heads}`

export interface Scripts {
  snapshotsOpen (key: string, olderKey: string, argv: readonly Arg[]): Promise<null>
  snapshotsReplace (key: string, stagedKey: string, argv: readonly Arg[]): Promise<0 | 1>
  snapshotsSave (key: string, argv: readonly Arg[]): Promise<'lost' | 'ignored' | 'again' | 'saved'>
  snapshotsDraft (draftKey: string, argv: readonly Arg[]): Promise<0 | 1>
  snapshotsAdopt (key: string, draftKey: string, argv: readonly Arg[]): Promise<0 | 1>
  snapshotsFieldsBuffer (key: string, argv: readonly Arg[]): Promise<[Buffer, Buffer[]]>
  snapshotsHeadsBuffer (key: string, argv: readonly Arg[]): Promise<[Buffer, Buffer[]]>
}

export function scriptsOf (redis: Redis | Cluster): Scripts {
  redis.defineCommand('snapshotsOpen', { numberOfKeys: 2, lua: open })
  redis.defineCommand('snapshotsSave', { numberOfKeys: 1, lua: save })
  redis.defineCommand('snapshotsDraft', { numberOfKeys: 1, lua: draft })
  redis.defineCommand('snapshotsAdopt', { numberOfKeys: 2, lua: adopt })
  redis.defineCommand('snapshotsReplace', { numberOfKeys: 2, lua: replace })
  redis.defineCommand('snapshotsFields', { numberOfKeys: 1, lua: fields })
  redis.defineCommand('snapshotsHeads', { numberOfKeys: 1, lua: heads })
  return redis as unknown as Scripts
}

/**
 * The calls of a save, each of `callBytesMax` where it can be. What no head names yet goes ahead of a head that has no
 * room for it in its own call, and that one is taken only where all of it is there.
 */
export function callsOf (next: bigint, changes: ReadonlyMap<string, StateChanges>, callBytesMax: number): Call[] {
  const calls: Call[] = []
  for (const [userId, { head, added, changed, gone }] of changes) {
    const group = partArgs(userId, changed)
    const own = (head?.length ?? 0) + bytesOf(group) + bytesOf(goneArgs(userId, gone))
    const together = partArgs(userId, added)
    const isEarly = own + bytesOf(together) > callBytesMax
    if (isEarly) {
      for (const piece of piecesOf(added, callBytesMax / 2)) {
        const ids = [...piece.keys()].join()
        addTo(calls, callBytesMax, [
          'early', headField(userId), '', earlyField(userId), ids, ...partArgs(userId, piece), '0', '0',
        ])
      }
    }
    const puts = isEarly ? group : [String(added.size + changed.size), ...together.slice(1), ...group.slice(1)]
    addTo(calls, callBytesMax, [
      'group', headField(userId), head ? versioned(next, head) : '', earlyField(userId), '', ...puts,
      ...goneArgs(userId, gone), ...(isEarly ? goneArgs(userId, [...added.keys()]) : ['0']),
    ])
  }
  if (calls.length === 0) calls.push({ args: [], bytes: 0 })
  return calls
}

/** Of one user: what is removed, and what is put in its place. */
export interface Replacement {
  readonly userId: string
  readonly removed: readonly Arg[]
  readonly put: readonly Arg[]
  readonly bytes: number
}

/** @param stored the ids of all parts that are stored of the user */
export function replacementOf (
  userId: string, checkpoint: bigint, right: SavedState | undefined, stored: readonly PartId[]
): Replacement {
  const gone = stored.filter(id => right?.parts.has(id) !== true).map(id => partField(userId, id))
  const put = right
    ? [headField(userId), versioned(checkpoint, right.head), ...partArgs(userId, right.parts).slice(1)]
    : []
  const removed = [...right ? [] : [headField(userId)], earlyField(userId), ...gone]
  return { userId, removed, put, bytes: bytesOf(removed) + bytesOf(put) }
}

/** Apart from the names of the fields that are nobody's state. */
export function headField (userId: string): string { return `:${userId}` }

export function partField (userId: string, id: PartId): Buffer {
  const bytes = Buffer.byteLength(userId)
  const field = Buffer.allocUnsafe(2 + bytes + id.length)
  field[0] = userMark
  field.write(userId, 1)
  field[1 + bytes] = partMark
  field.write(id, 2 + bytes, 'latin1')
  return field
}

export function earlyField (userId: string): Buffer { return partField(userId, '') }

/** @returns undefined for a field that is neither a head nor a part */
export function parseField (field: Buffer): { userId: string, part: PartId | undefined } | undefined {
  if (field[0] !== userMark) return undefined
  const mark = field.indexOf(partMark)
  if (mark < 0) return { userId: field.toString('utf8', 1), part: undefined }
  if (mark === field.length - 1) return undefined
  return { userId: field.toString('utf8', 1, mark), part: field.toString('latin1', mark + 1) }
}

/** @returns version -1n for what an older build stored */
export function parseHead (value: Buffer): { version: bigint, head: Buffer } {
  if (value[0] !== versionMark) return { version: -1n, head: value }
  const end = value.indexOf(':')
  return { version: BigInt(value.toString('latin1', 1, end)), head: value.subarray(end + 1) }
}

const userMark = 0x3a // ':'
const partMark = 0xff // never in UTF-8
const versionMark = 0x01

/** The value of a head: with the `next` of the save that wrote it. */
export function versioned (next: bigint, head: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`\x01${next}:`), head])
}

/** Their count, then field and value of each. */
function partArgs (userId: string, parts: ReadonlyMap<PartId, Uint8Array>): Arg[] {
  const args: Arg[] = [String(parts.size)]
  for (const [id, part] of parts) {
    args.push(partField(userId, id), Buffer.from(part.buffer, part.byteOffset, part.byteLength))
  }
  return args
}

/** Their count, then the field of each. */
function goneArgs (userId: string, ids: readonly PartId[]): Arg[] {
  return [String(ids.length), ...ids.map(id => partField(userId, id))]
}

function * piecesOf (parts: ReadonlyMap<PartId, Uint8Array>, bytesMax: number): Iterable<Map<PartId, Uint8Array>> {
  let piece = new Map<PartId, Uint8Array>()
  let bytes = 0
  for (const [id, part] of parts) {
    if (piece.size > 0 && bytes + part.length > bytesMax) {
      yield piece
      piece = new Map()
      bytes = 0
    }
    piece.set(id, part)
    bytes += part.length + fieldBytes
  }
  if (piece.size > 0) yield piece
}

/** About what the name of a field takes. */
const fieldBytes = 256

function addTo (calls: Call[], callBytesMax: number, args: readonly Arg[]): void {
  const bytes = bytesOf(args)
  let call = calls.at(-1)
  if (!call || call.bytes + bytes > callBytesMax) calls.push(call = { args: [], bytes: 0 })
  for (const arg of args) call.args.push(arg)
  call.bytes += bytes
}

function bytesOf (args: readonly Arg[]): number {
  let bytes = 0
  for (const arg of args) bytes += typeof arg === 'string' ? Buffer.byteLength(arg) : arg.length
  return bytes
}
