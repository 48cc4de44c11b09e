import type { Cluster, Redis } from 'ioredis'

/*
  A script sees a table as empty, with the position 0, when its hash has another identity or is not there. `live` is the
  generation that the table then has; '' for none. Every key that a script touches is named in KEYS, so that Redis
  Cluster can tell when some of them are on their way to another node; hence the caller has to know the generation, and
  is told when it is another. Positions are compared as doubles: exact up to 2^53.
*/
const liveGeneration = `
  local known = redis.call('HMGET', KEYS[1], 'identity', 'live')
  local live = known[1] == ARGV[1] and known[2] or ''`

/**
 * KEYS: the table's hash, the index or the hash again, rows. ARGV: identity, generation, whether that may begin,
 * from, next, atMs, whether there is an index; then for each write the place of its row, the field, and the JSON, or ''
 * to remove it.
 *
 * The position goes last: were the script to end halfway, as in a cluster that is being resharded, the step is taken
 * again.
 */
const apply = `${liveGeneration}
  if live ~= ARGV[2] and not (live == '' and ARGV[3] == '1') then return {'generation', live} end
  local stored = live == '' and '0' or redis.call('HGET', KEYS[1], 'next:' .. live) or '0'
  if tonumber(stored) >= tonumber(ARGV[5]) then return {'kept'} end
  if tonumber(stored) < tonumber(ARGV[4]) then return {'behind', stored} end
  if live == '' then redis.call('DEL', KEYS[1]) end
  for i = 8, #ARGV, 3 do
    local row = KEYS[3 + ARGV[i]]
    if ARGV[i + 2] == '' then redis.call('HDEL', row, ARGV[i + 1])
    else redis.call('HSET', row, ARGV[i + 1], ARGV[i + 2]) end
  end
  if ARGV[7] == '1' then
    for i = 3, #KEYS do
      local key = string.sub(KEYS[i], #KEYS[2] + 2)
      if redis.call('EXISTS', KEYS[i]) == 1 then redis.call('SADD', KEYS[2], key)
      else redis.call('SREM', KEYS[2], key) end
    end
  end
  redis.call('HSET', KEYS[1], 'identity', ARGV[1], 'live', ARGV[2],
    'next:' .. ARGV[2], ARGV[5], 'atMs:' .. ARGV[2], ARGV[6])
  return {'kept'}`

/** KEYS: the table's hash, rows. ARGV: identity, generation. Answers the live generation; if that one, the rows. */
const read = `${liveGeneration}
  local answer = {live}
  if live == '' or live ~= ARGV[2] then return answer end
  for i = 2, #KEYS do answer[i] = redis.call('HGETALL', KEYS[i]) end
  return answer`

/** KEYS: the table's hash, the index. ARGV: identity, generation. Answers as `read`, with the keys of the rows. */
const list = `${liveGeneration}
  if live == '' or live ~= ARGV[2] then return {live} end
  return {live, redis.call('SMEMBERS', KEYS[2])}`

/** KEYS: the table's hash. ARGV: a generation. Gives the table up, unless another generation has begun meanwhile. */
const abandon = `
  if redis.call('HGET', KEYS[1], 'live') == ARGV[1] then redis.call('DEL', KEYS[1]) end`

type Args = ReadonlyArray<string | number>

export interface TableScripts {
  tableApply (keyCount: number, keys: Args, argv: Args): Promise<['kept'] | ['behind' | 'generation', string]>
  tableRead (keyCount: number, keys: Args, argv: Args): Promise<[string, ...string[][]]>
  tableList (keyCount: number, keys: Args, argv: Args): Promise<[string, string[]?]>
  tableAbandon (keyCount: number, keys: Args, argv: Args): Promise<null>
}

export function tableScripts (redis: Redis | Cluster): TableScripts {
  redis.defineCommand('tableApply', { lua: apply })
  redis.defineCommand('tableRead', { lua: read })
  redis.defineCommand('tableList', { lua: list })
  redis.defineCommand('tableAbandon', { lua: abandon })
  return redis as unknown as TableScripts
}
