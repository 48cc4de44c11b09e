import { Cluster, type Redis } from 'ioredis'
import { grants } from '../redis-refusals.js'
import { type Finding, Findings, type Wish } from './finding.js'

/** Sharded pub/sub came with it. */
const versionMin = 7
const usedShareMax = 0.8
const roundTripMsMax = 20
const roundTrips = 10
const skewMsMax = 1_000

const safeEviction = 'noeviction'
/** What only looks, and the one that tells what a user may: of the classes that a node does without. */
const asked = '+config|get +acl|whoami +acl|dryrun'

/** Every command that a node sends, with arguments that it could have; `ACL DRYRUN` says whether the user may. */
const commandsOf = (prefix: string): ReadonlyArray<readonly string[]> => [
  ['HGET', `{${prefix}.0}:states`, 'f'],
  ['HSET', `{${prefix}.0}:states`, 'f', 'v'],
  ['HSCAN', `{${prefix}.0}:states`, '0'],
  ['UNLINK', `{${prefix}.0}:states`],
  ['SADD', `{${prefix}.0}:keys`, 'm'],
  ['EVALSHA', '0'.repeat(40), '1', `{${prefix}.0}:states`],
  ['SCRIPT', 'LOAD', 'return 1'],
  ['SPUBLISH', `${prefix}:node:n`, 'm'],
  ['SSUBSCRIBE', `${prefix}:node:n`],
]

/**
 * Looks at each master of the Redis that a node would use.
 *
 * @param prefix of the node's keys and channels
 */
export async function redisFindings (
  redis: Redis | Cluster, prefix: string, nowMs: () => number = Date.now
): Promise<Finding[]> {
  const masters = redis instanceof Cluster ? redis.nodes('master') : [redis]
  const all: Finding[] = []
  for (const master of masters) {
    const { host, port } = master.options
    const findings = new Findings(masters.length === 1 ? 'redis' : `redis ${host}:${port}`)
    await lookAt(master, prefix, findings)
    all.push(...findings.all)
  }
  all.push(...await clockFinding(masters[0]!, nowMs))
  return all
}

async function lookAt (redis: Redis, prefix: string, findings: Findings): Promise<void> {
  const info = await infoOf(redis)
  const version = info.get('redis_version') ?? '0'
  findings.judge('version', version, Number.parseInt(version, 10) >= versionMin, {
    verdict: 'fatal',
    wanted: `${versionMin}.0 or newer`,
    why: 'Nodes talk over sharded pub/sub (SPUBLISH), which older ones do not have: no client could connect.',
    fix: 'upgrade it, or name another with REDIS_URL',
  })
  const role = info.get('role') ?? 'not told'
  findings.judge('role', role, role === 'master', {
    verdict: 'fatal',
    wanted: 'master',
    why: 'A replica takes no writes, and what is published on it does not reach the others.',
    fix: 'REDIS_URL with the master, or redis+sentinel:// with the sentinels that know it',
  })
  lookAtMemory(info, findings)
  lookAtPersistence(info, findings)
  await lookAtConfig(redis, findings)
  await lookAtAccess(redis, prefix, findings)
  await lookAtSpeed(redis, findings)
}

function lookAtMemory (info: ReadonlyMap<string, string>, findings: Findings): void {
  const policy = info.get('maxmemory_policy')
  const max = Number(info.get('maxmemory') ?? 0)
  const used = Number(info.get('used_memory') ?? 0)
  const wish: Wish = {
    verdict: max === 0 ? 'warning' : 'fatal',
    wanted: safeEviction,
    why: 'Another policy deletes saved states of users and the tables when memory is short.',
    fix: `redis-cli CONFIG SET maxmemory-policy ${safeEviction}, and in its configuration`,
  }
  if (policy === undefined) findings.unknown('maxmemory-policy', 'INFO does not tell', wish)
  else findings.judge('maxmemory-policy', policy, policy === safeEviction, wish)
  if (max === 0) return
  findings.judge('used memory', `${Math.round(100 * used / max)} % of ${max >> 20} MiB`, used < max * usedShareMax, {
    wanted: `less than ${100 * usedShareMax} %`,
    why: 'With all of it used Redis refuses writes: states can not be saved, and no node reports.',
    fix: 'redis-cli CONFIG SET maxmemory BYTES, on a machine that has them',
  })
}

function lookAtPersistence (info: ReadonlyMap<string, string>, findings: Findings): void {
  const isLoading = info.get('loading') === '1'
  const failed = [
    info.get('rdb_last_bgsave_status') === 'err' ? 'its last snapshot' : '',
    info.get('aof_last_write_status') === 'err' ? 'its last write to the append-only file' : '',
  ].filter(what => what !== '')
  const found = isLoading ? 'it is loading its data' : failed.length > 0 ? `${failed.join(' and ')} failed` : 'no trouble'
  findings.judge('disk', found, found === 'no trouble', {
    wanted: 'no trouble',
    why: 'With stop-writes-on-bgsave-error, as by default, a failed snapshot makes it refuse all writes.',
    fix: 'see the log of Redis; free room on its disk',
  })
}

async function lookAtConfig (redis: Redis, findings: Findings): Promise<void> {
  const wish: Wish = {
    wanted: '0, or more than 60 s',
    why: 'It closes connections that are idle for so long, and messages for a node may be lost meanwhile.',
    fix: 'redis-cli CONFIG SET timeout 0',
  }
  try {
    const [, timeout = '0'] = await redis.config('GET', 'timeout') as string[]
    findings.judge('timeout', `${timeout} s`, Number(timeout) === 0 || Number(timeout) > 60, wish)
  } catch (err) {
    findings.unknown('timeout', (err as Error).message, wish)
  }
}

async function lookAtAccess (redis: Redis, prefix: string, findings: Findings): Promise<void> {
  const wish = (what: string, user: string): Wish => ({
    verdict: 'fatal',
    wanted: `all that a node sends, on keys ~{${prefix}.*, ~${prefix}:* and channels &${prefix}:*`,
    why: `${what} fails without it.`,
    fix: grants(prefix, user, asked),
  })
  let user: string
  try {
    user = await redis.call('ACL', 'WHOAMI') as string
  } catch (err) {
    findings.unknown('permissions', (err as Error).message, wish('Whatever is not allowed', 'USER'))
    return
  }
  const denied: string[] = []
  for (const command of commandsOf(prefix)) {
    try {
      const answer = await redis.call('ACL', 'DRYRUN', user, ...command) as string
      if (answer !== 'OK') denied.push(answer)
    } catch (err) {
      findings.unknown('permissions', (err as Error).message, wish('Whatever is not allowed', user))
      return
    }
  }
  findings.judge('permissions', denied[0] ?? `${user} may do all that is needed`, denied.length === 0,
    wish('What is denied', user))
}

async function lookAtSpeed (redis: Redis, findings: Findings): Promise<void> {
  const times: number[] = []
  for (let i = 0; i < roundTrips; i++) {
    const startMs = performance.now()
    await redis.ping()
    times.push(performance.now() - startMs)
  }
  const ms = times.sort((a, b) => a - b)[roundTrips >> 1]!
  findings.judge('round trip', `${ms.toFixed(1)} ms`, ms < roundTripMsMax, {
    wanted: `less than ${roundTripMsMax} ms`,
    why: 'A connect and a message between nodes wait for one.',
    fix: 'put nodes and Redis into one region',
  })
}

/** Its clock is what all nodes can compare theirs with. */
async function clockFinding (redis: Redis, nowMs: () => number): Promise<Finding[]> {
  const findings = new Findings('clock')
  const before = nowMs()
  const [seconds, micros] = await redis.time() as unknown as [string, string]
  const theirs = Number(seconds) * 1_000 + Number(micros) / 1_000
  const skew = Math.round((before + nowMs()) / 2 - theirs)
  findings.judge('against Redis', `${Math.abs(skew)} ms ${skew < 0 ? 'behind' : 'ahead'}`, Math.abs(skew) <= skewMsMax, {
    wanted: `at most ${skewMsMax} ms apart`,
    why: 'Leases, token checks and times in the ledger go by the clock of each node.',
    fix: 'run chrony or systemd-timesyncd on every machine',
  })
  return findings.all
}

async function infoOf (redis: Redis): Promise<ReadonlyMap<string, string>> {
  const text = await redis.info()
  return new Map(text.split(/\r?\n/).flatMap(line => {
    const colon = line.indexOf(':')
    return colon > 0 ? [[line.slice(0, colon), line.slice(colon + 1)] as const] : []
  }))
}
