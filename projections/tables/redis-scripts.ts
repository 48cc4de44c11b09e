import type { Cluster, Redis } from 'ioredis'
import { bucketPrefix, bucketsMax, nodePrefix, nodesKey, userPrefix } from './route-index.js'

/*
  A script sees a table as empty, with the position 0, when its hash has another identity or is not there. `live` is the
  generation that the table then has; '' for none. Every key that a script touches is named in KEYS, so that Redis
  Cluster can tell when some of them are on their way to another node; hence the caller has to know the generation, and
  is told when it is another. Only the rows of an index are found on the way: they have the tag of the others, and a
  step that meets one on its way to another node is taken again like any that ends halfway. Positions are compared as
  doubles: exact up to 2^53.
*/
const liveGeneration = `
  local known = redis.call('HMGET', KEYS[1], 'identity', 'live')
  local live = known[1] == ARGV[1] and known[2] or ''`

/**
 * The index of route-index.ts, in the generation that is the second of ARGV. Each function may run again after it ended
 * halfway.
 */
const indexing = `
  local rows = KEYS[1] .. ':' .. ARGV[2] .. ':'
  local users = rows .. '${userPrefix}'
  local function bucketOf(connection)
    local first, second = string.byte(connection, 1, 2)
    return rows .. '${bucketPrefix}' .. string.format('%d', 4 * (first or 0) + (second or 0) % 4)
  end
  local function nodeOf(json)
    if not json or string.sub(json, 1, 1) ~= '{' then return nil end
    local route = cjson.decode(json)
    if type(route.nodeId) ~= 'string' or type(route.nodeEpoch) ~= 'number' then return nil end
    return route.nodeId .. '/' .. string.format('%.0f', route.nodeEpoch)
  end
  local function enter(node, connection, row)
    local user = cjson.encode(string.sub(row, #users + 1))
    redis.call('HSET', bucketOf(connection), connection, user)
    redis.call('HSET', rows .. '${nodePrefix}' .. node, connection, user)
    redis.call('HSET', rows .. '${nodesKey}', node, 1)
  end
  local function leave(node, connection)
    redis.call('HDEL', rows .. '${nodePrefix}' .. node, connection)
    if redis.call('EXISTS', rows .. '${nodePrefix}' .. node) == 0 then
      redis.call('HDEL', rows .. '${nodesKey}', node)
    end
  end
  local function move(row, connection, json)
    if string.sub(row, 1, #users) ~= users then return end
    local before, after = nodeOf(redis.call('HGET', row, connection)), nodeOf(json)
    if before and before ~= after then leave(before, connection) end
    if after then enter(after, connection, row)
    elseif before then redis.call('HDEL', bucketOf(connection), connection) end
  end`

/** Of KEYS and ARGV as `apply` has them. A row is written after what it is found by, which its old value tells. */
const writeRows = `${indexing}
  for i = 8, #ARGV, 3 do
    local row = KEYS[3 + ARGV[i]]
    if ARGV[7] == '2' then move(row, ARGV[i + 1], ARGV[i + 2]) end
    if ARGV[i + 2] == '' then redis.call('HDEL', row, ARGV[i + 1])
    else redis.call('HSET', row, ARGV[i + 1], ARGV[i + 2]) end
  end
  if ARGV[7] == '1' then
    for i = 3, #KEYS do
      local key = string.sub(KEYS[i], #KEYS[2] + 2)
      if redis.call('EXISTS', KEYS[i]) == 1 then redis.call('SADD', KEYS[2], key)
      else redis.call('SREM', KEYS[2], key) end
    end
  end`

/** Moves what stood where `stored` says along with the position, to the fifth of ARGV. */
const moveAlong = `
  if ARGV[7] == '2' then
    for _, mark in ipairs({'index:' .. ARGV[2], 'fill:' .. ARGV[2]}) do
      if redis.call('HGET', KEYS[1], mark) == stored then redis.call('HSET', KEYS[1], mark, ARGV[5]) end
    end
  end`

/** A new generation has an index from its first row on. */
const beginIndex = "redis.call('HSET', KEYS[1], 'index:' .. ARGV[2], '0')"

/**
 * KEYS: the table's hash, the list of keys or the hash again, rows. ARGV: identity, generation, whether that may begin,
 * from, next, atMs, what is kept beside the rows; then for each write the place of its row, the field, and the JSON, or
 * '' to remove it.
 *
 * The position goes last: were the script to end halfway, as in a cluster that is being resharded, the step is taken
 * again.
 */
const apply = `${liveGeneration}
  if live ~= ARGV[2] and not (live == '' and ARGV[3] == '1') then return {'generation', live} end
  local stored = live == '' and '0' or redis.call('HGET', KEYS[1], 'next:' .. live) or '0'
  if tonumber(stored) >= tonumber(ARGV[5]) then return {'kept'} end
  if tonumber(stored) < tonumber(ARGV[4]) then return {'behind', stored} end
  if known[1] ~= ARGV[1] then redis.call('DEL', KEYS[1]) end
  if live == '' and ARGV[7] == '2' then ${beginIndex} end
  ${writeRows}
  ${moveAlong}
  redis.call('HSET', KEYS[1], 'identity', ARGV[1], 'live', ARGV[2],
    'next:' .. ARGV[2], ARGV[5], 'atMs:' .. ARGV[2], ARGV[6])
  return {'kept'}`

/**
 * Answers questions, each about one table's part of one partition.
 *
 * KEYS: for each its hash and what else it reads. ARGV: the identity; then for each its kind, a generation, and how
 * many keys it has besides the hash. An answer begins with the live generation. Where that is the one asked for, `rows`
 * has the rows behind it, and `list` the keys that are listed; `position` has that of the live one, whichever it is,
 * and up to where its index was kept.
 */
const read = `
  local answers, at = {}, 1
  for i = 2, #ARGV, 3 do
    local meta, count = KEYS[at], tonumber(ARGV[i + 2])
    local known = redis.call('HMGET', meta, 'identity', 'live')
    local live = known[1] == ARGV[1] and known[2] or ''
    local answer = {live}
    if live ~= '' and ARGV[i] == 'position' then
      local position = redis.call('HMGET', meta, 'next:' .. live, 'atMs:' .. live, 'index:' .. live)
      answer[2], answer[3], answer[4] = position[1] or '0', position[2] or '0', position[3] or ''
    elseif live ~= '' and live == ARGV[i + 1] then
      for j = 1, count do
        answer[1 + j] = redis.call(ARGV[i] == 'list' and 'SMEMBERS' or 'HGETALL', KEYS[at + j])
      end
    end
    answers[#answers + 1] = answer
    at = at + 1 + count
  end
  return answers`

/** KEYS: the table's hash. ARGV: a generation. Gives the table up, unless another generation has begun meanwhile. */
const abandon = `
  if redis.call('HGET', KEYS[1], 'live') == ARGV[1] then redis.call('DEL', KEYS[1]) end`

const nowMs = `
  local time = redis.call('TIME')
  local nowMs = time[1] * 1000 + math.floor(time[2] / 1000)`

const forgetDraft = `
  local old = redis.call('HGET', KEYS[1], 'draft')
  if old then redis.call('HDEL', KEYS[1], 'draft', 'draftUntil', 'next:' .. old, 'atMs:' .. old, 'index:' .. old) end`

/**
 * KEYS: the table's hash. ARGV: identity, generation, ms until it is given up, what is kept beside the rows. Whether
 * that is the draft now.
 */
const draftBegin = `${nowMs}
  if redis.call('HGET', KEYS[1], 'identity') ~= ARGV[1] then
    redis.call('DEL', KEYS[1])
  elseif tonumber(redis.call('HGET', KEYS[1], 'draftUntil') or '0') > nowMs then
    return 0
  end
  ${forgetDraft}
  redis.call('HSET', KEYS[1], 'identity', ARGV[1], 'draft', ARGV[2], 'draftUntil', nowMs + ARGV[3])
  if ARGV[4] == '2' then ${beginIndex} end
  return 1`

/**
 * KEYS and ARGV as those of `apply`, but that the third of ARGV is for how many ms longer the draft is kept. With an
 * empty `next` the rows alone are written.
 */
const draftApply = `${nowMs}
  local known = redis.call('HMGET', KEYS[1], 'identity', 'draft', 'next:' .. ARGV[2])
  if known[1] ~= ARGV[1] or known[2] ~= ARGV[2] then return {'generation', known[2] or ''} end
  local stored = known[3] or '0'
  if ARGV[5] ~= '' then
    if tonumber(stored) >= tonumber(ARGV[5]) then return {'kept'} end
    if tonumber(stored) < tonumber(ARGV[4]) then return {'behind', stored} end
  end
  ${writeRows}
  redis.call('HSET', KEYS[1], 'draftUntil', nowMs + ARGV[3])
  if ARGV[5] == '' then return {'kept'} end
  ${moveAlong}
  redis.call('HSET', KEYS[1], 'next:' .. ARGV[2], ARGV[5], 'atMs:' .. ARGV[2], ARGV[6])
  return {'kept'}`

/** KEYS: the table's hash. ARGV: identity, generation, blocks that it may be behind. */
const draftAdopt = `${liveGeneration}
  if known[1] ~= ARGV[1] or redis.call('HGET', KEYS[1], 'draft') ~= ARGV[2] then return 'generation' end
  local next = live == '' and '0' or redis.call('HGET', KEYS[1], 'next:' .. live) or '0'
  local draftNext = redis.call('HGET', KEYS[1], 'next:' .. ARGV[2]) or '0'
  if tonumber(draftNext) + tonumber(ARGV[3]) < tonumber(next) then return 'behind' end
  redis.call('HDEL', KEYS[1], 'draft', 'draftUntil', 'next:' .. live, 'atMs:' .. live,
    'index:' .. live, 'fill:' .. live, 'filler:' .. live)
  redis.call('HSET', KEYS[1], 'live', ARGV[2])
  return 'adopted'`

/** KEYS: the table's hash. ARGV: the generation of a draft to give up, if it is that still. */
const draftDiscard = `
  if redis.call('HGET', KEYS[1], 'draft') ~= ARGV[1] then return end
  ${forgetDraft}`

/** KEYS: the table's hash. ARGV: a generation. Whether its rows are of use; a draft whose time is over is given up. */
const isKnown = `${nowMs}
  if redis.call('HGET', KEYS[1], 'live') == ARGV[1] then return 1 end
  if redis.call('HGET', KEYS[1], 'draft') ~= ARGV[1] then return 0 end
  if tonumber(redis.call('HGET', KEYS[1], 'draftUntil')) > nowMs then return 1 end
  ${forgetDraft}
  return 0`

/**
 * KEYS: the table's hash. ARGV: identity, generation, a name for this filling. Empties an index that was not kept all
 * the while, to be filled again.
 */
const indexBegin = `${liveGeneration}
  if live ~= ARGV[2] then return 0 end
  local next = redis.call('HGET', KEYS[1], 'next:' .. live) or '0'
  if redis.call('HGET', KEYS[1], 'index:' .. live) == next then return 0 end
  local rows = KEYS[1] .. ':' .. live .. ':'
  for _, node in ipairs(redis.call('HKEYS', rows .. '${nodesKey}')) do
    redis.call('UNLINK', rows .. '${nodePrefix}' .. node)
  end
  redis.call('UNLINK', rows .. '${nodesKey}')
  for bucket = 0, ${bucketsMax - 1} do
    redis.call('UNLINK', rows .. '${bucketPrefix}' .. string.format('%d', bucket))
  end
  redis.call('HSET', KEYS[1], 'fill:' .. live, next, 'filler:' .. live, ARGV[3])
  return 1`

const isFilling = `${liveGeneration}
  if live ~= ARGV[2] or redis.call('HGET', KEYS[1], 'filler:' .. live) ~= ARGV[3] then return 0 end`

/** KEYS: the table's hash, rows of users. ARGV as above. Whether this filling goes on. */
const indexFill = `${isFilling}
  ${indexing}
  for i = 2, #KEYS do
    local fields = redis.call('HGETALL', KEYS[i])
    for at = 1, #fields, 2 do
      local node = nodeOf(fields[at + 1])
      if node then enter(node, fields[at], KEYS[i]) end
    end
  end
  return 1`

/** KEYS: the table's hash. ARGV as above. The index is whole, unless a version that does not keep it was here since. */
const indexEnd = `${isFilling}
  local next = redis.call('HGET', KEYS[1], 'next:' .. live) or '0'
  if redis.call('HGET', KEYS[1], 'fill:' .. live) == next then
    redis.call('HSET', KEYS[1], 'index:' .. live, next)
  end
  redis.call('HDEL', KEYS[1], 'fill:' .. live, 'filler:' .. live)
  return 1`

type Args = ReadonlyArray<string | number>

/** The live generation, '' for none, and what `read` has behind it. */
export type ReadAnswer = [live: string, ...found: Array<string | string[]>]

export interface TableScripts {
  tableApply (keyCount: number, keys: Args, argv: Args): Promise<['kept'] | ['behind' | 'generation', string]>
  tableRead (keyCount: number, keys: Args, argv: Args): Promise<ReadAnswer[]>
  tableAbandon (keyCount: number, keys: Args, argv: Args): Promise<null>
  draftBegin (keyCount: number, keys: Args, argv: Args): Promise<0 | 1>
  draftApply (keyCount: number, keys: Args, argv: Args): Promise<['kept'] | ['behind' | 'generation', string]>
  draftAdopt (keyCount: number, keys: Args, argv: Args): Promise<'adopted' | 'behind' | 'generation'>
  draftDiscard (keyCount: number, keys: Args, argv: Args): Promise<null>
  indexBegin (keyCount: number, keys: Args, argv: Args): Promise<0 | 1>
  indexFill (keyCount: number, keys: Args, argv: Args): Promise<0 | 1>
  indexEnd (keyCount: number, keys: Args, argv: Args): Promise<0 | 1>
  generationKnown (keyCount: number, keys: Args, argv: Args): Promise<0 | 1>
}

export function tableScripts (redis: Redis | Cluster): TableScripts {
  redis.defineCommand('tableApply', { lua: apply })
  redis.defineCommand('tableRead', { lua: read })
  redis.defineCommand('tableAbandon', { lua: abandon })
  redis.defineCommand('draftBegin', { lua: draftBegin })
  redis.defineCommand('draftApply', { lua: draftApply })
  redis.defineCommand('draftAdopt', { lua: draftAdopt })
  redis.defineCommand('draftDiscard', { lua: draftDiscard })
  redis.defineCommand('indexBegin', { lua: indexBegin })
  redis.defineCommand('indexFill', { lua: indexFill })
  redis.defineCommand('indexEnd', { lua: indexEnd })
  redis.defineCommand('generationKnown', { lua: isKnown })
  return redis as unknown as TableScripts
}
